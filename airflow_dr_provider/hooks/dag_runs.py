"""What Airflow knows of the DAG runs that walk drills."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from airflow_dr_provider.state.records import Owner

_OVER = ("success", "failed")


def dag_run_ended(owner: Owner) -> bool:
    """Whether a run's walker is a DAG run that has ended, or that Airflow doesn't have any more.

    Only within a task, which asks Airflow's API. Airflow ends a DAG run after its teardowns (not so one that exceeded its
    ``dagrun_timeout``, whose teardowns it skips), so that what such a run holds afterwards nobody will release.
    """
    if owner.kind != "airflow":
        return False
    dag_id, _, run_id = owner.name.partition("/")
    try:
        return RuntimeTaskInstance.get_dagrun_state(dag_id, run_id) in _OVER
    except AirflowRuntimeError as error:
        return (error.error.detail or {}).get("status_code") == 404
