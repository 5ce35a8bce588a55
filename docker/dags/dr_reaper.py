"""Removes sandboxes that outlived their lease or their drill: an Airflow DAG."""

from airflow_dr_provider.factory import build_reaper_dag

dag = build_reaper_dag(__file__)
