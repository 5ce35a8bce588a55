"""Watches over the drills of this folder: an Airflow DAG."""

from airflow_dr_provider.factory import build_watch_dag

dag = build_watch_dag(__file__)
