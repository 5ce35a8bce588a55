"""Specs become DAGs."""

from __future__ import annotations

from airflow_dr_provider.factory.dag import build_drill_dag
from airflow_dr_provider.factory.loading import drill_dag, load_drills, report_bad_specs
from airflow_dr_provider.factory.reaper import build_reaper_dag
from airflow_dr_provider.factory.task_group import drill_task_group
from airflow_dr_provider.factory.watch import build_watch_dag

__all__ = [
    "build_drill_dag",
    "build_reaper_dag",
    "build_watch_dag",
    "drill_dag",
    "drill_task_group",
    "load_drills",
    "report_bad_specs",
]
