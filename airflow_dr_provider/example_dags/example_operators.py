"""Each operator of a drill by itself: one attempt, written by hand.

What has to be kept: the setup (``reserve``) only writes down what will be made, and the teardown belongs to it; nothing but
teardowns and tasks that need all above them to succeed lies right below a setup; the verdict is a teardown of the opening, so
that it decides the state of the run even when a person has marked it; no ``dagrun_timeout``, which skips teardowns.
"""

from __future__ import annotations

from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TriggerRule

from airflow_dr_provider.operators.drill import DrillReportOperator, DrillVerdictOperator, StartDrillOperator
from airflow_dr_provider.operators.pitr_restore import PITRRestoreOperator
from airflow_dr_provider.operators.pitr_select import PITRSelectOperator
from airflow_dr_provider.operators.router import DrillRouterOperator
from airflow_dr_provider.operators.sandbox import SandboxProvisionOperator, SandboxReserveOperator, SandboxTeardownOperator
from airflow_dr_provider.sensors.validation_gate import ValidationGateSensor
from airflow_dr_provider.spec.loader import load_spec

with DAG(
    dag_id="example_dr_operators",
    description="One attempt of a disaster recovery drill, operator by operator",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["dr", "example"],
) as dag:
    spec = load_spec(Path(__file__).with_name("example_orders.yaml"))
    # Without parameters of the DAG: the moment of the disaster is now, and no fault is injected.
    start = StartDrillOperator(task_id="start", spec=spec, as_of="", inject="", form=False)
    # rung: the attempt's place in the chain, from 0. This spec has one tier and one candidate, so there is only the first.
    select = PITRSelectOperator(task_id="select", rung=0)
    reserve = SandboxReserveOperator(task_id="reserve", rung=0)
    provision = SandboxProvisionOperator(task_id="provision", rung=0)
    restore = PITRRestoreOperator(task_id="restore", rung=0)
    gate = ValidationGateSensor(task_id="gate", rung=0, timeout=1200)
    teardown = SandboxTeardownOperator(task_id="teardown", rung=0).as_teardown(setups=reserve)
    # Writes the move of the chain to the log, quarantines a backup that failed, and says where to go.
    decide = DrillRouterOperator(task_id="decide", rung=0, entries={0: "select"}, trigger_rule=TriggerRule.ALL_DONE)
    triage = EmptyOperator(task_id="triage")
    report = DrillReportOperator(task_id="report", trigger_rule=TriggerRule.ALL_DONE)
    verdict = DrillVerdictOperator(task_id="verdict").as_teardown(setups=start, on_failure_fail_dagrun=True)

    start >> select >> reserve >> provision >> restore >> gate >> teardown
    [gate, teardown] >> decide >> [triage, report]
    triage >> report >> verdict
    teardown >> verdict
