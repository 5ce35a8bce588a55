"""The drill of the spec beside this file: an Airflow DAG."""

from airflow_dr_provider.factory import drill_dag

dag = drill_dag(__file__)
