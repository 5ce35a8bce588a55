"""The text of the thin DAG files: all that Airflow's DAGs folder needs beside a spec."""

from __future__ import annotations

THIN_DAG = '''\
"""The drill of the spec beside this file: an Airflow DAG."""

from airflow_dr_provider.factory import drill_dag

dag = drill_dag(__file__)
'''

THIN_REAPER = '''\
"""Removes sandboxes that outlived their lease or their drill: an Airflow DAG."""

from airflow_dr_provider.factory import build_reaper_dag

dag = build_reaper_dag(__file__)
'''

THIN_WATCH = '''\
"""Watches over the drills of this folder: an Airflow DAG."""

from airflow_dr_provider.factory import build_watch_dag

dag = build_watch_dag(__file__)
'''
