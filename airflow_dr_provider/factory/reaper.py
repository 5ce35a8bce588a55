"""The reaper: removes from outside what no teardown could."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_dr_provider.operators.reaper import SandboxReaperOperator


def build_reaper_dag(*, dag_id: str = "dr_reaper", schedule: str | None = "*/10 * * * *") -> DAG:
    """A DAG that passes over the ledger and destroys what outlived its lease or its run.

    No teardown inside a drill's DAG is enough: a task may be killed while a resource is being made, and a run that times out
    skips its teardowns.
    """
    with DAG(
        dag_id=dag_id,
        description="Destroys sandboxes whose lease ran out or whose drill is over",
        schedule=schedule,
        catchup=False,
        max_active_runs=1,
        tags=["dr"],
        params={"dry_run": Param(False, type="boolean", title="Only say what would be removed")},
        default_args={"owner": "dr"},
    ) as dag:
        SandboxReaperOperator(task_id="reap")
    return dag
