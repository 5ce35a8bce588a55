"""A drill inside a DAG of one's own: something before it, something only after a proved recovery, something in any case."""

from __future__ import annotations

from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TriggerRule

from airflow_dr_provider.factory import drill_task_group
from airflow_dr_provider.spec.loader import load_spec

with DAG(
    dag_id="example_drill_in_own_dag",
    description="A disaster recovery drill as a part of something larger",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["dr", "example"],
) as dag:
    announce = EmptyOperator(task_id="announce")
    drill = drill_task_group(load_spec(Path(__file__).with_name("example_orders.yaml")), group_id="drill")
    # Below the group's verdict: only when a recovery was proved and nothing is left.
    release = EmptyOperator(task_id="release")
    # In any case.
    tidy_up = EmptyOperator(task_id="tidy_up", trigger_rule=TriggerRule.ALL_DONE)

    announce >> drill >> [release, tidy_up]
