"""Deferred tasks in Airflow's metadata database, as a worker would have left them: run in that Airflow's environment.

``python -m tests.support.deferred WAITS``: WAITS is a file with a JSON list of waits; the run's id is printed.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

DAG_ID, TASK_ID, RUN_ID = "waits", "gate", "manual__waits"
DAG = f'''\
from airflow.sdk import DAG
from airflow_dr_provider.sensors.validation_gate import ValidationGateSensor

with DAG("{DAG_ID}", schedule=None, catchup=False):
    ValidationGateSensor.partial(task_id="{TASK_ID}", drill_run_id="none").expand(rung=[0, 1])
'''


def main(waits: str) -> None:
    """Insert one DAG run with a deferred task instance and a trigger for each wait."""
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagrun import DagRun
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    from airflow_dr_provider.triggers.sandbox import SandboxTrigger

    now = datetime.now(UTC)
    with create_session() as session:
        version = DagVersion.get_latest_version(DAG_ID, session=session)
        task = SerializedDagModel.get_dag(DAG_ID, session=session).get_task(TASK_ID)
        run = DagRun(
            dag_id=DAG_ID, run_id=RUN_ID, run_after=now, start_date=now, state=DagRunState.RUNNING,
            run_type=DagRunType.MANUAL, triggered_by=DagRunTriggeredByType.TEST,
        )  # fmt: skip
        session.add(run)
        session.flush()
        for index, waiting in enumerate(json.loads(Path(waits).read_text())):
            trigger = Trigger.from_object(SandboxTrigger(waiting=waiting))
            session.add(trigger)
            session.flush()
            instance = TaskInstance(task, version.id, RUN_ID, TaskInstanceState.DEFERRED, index)
            instance.try_number = 1
            instance.start_date = now
            instance.trigger_id = trigger.id
            instance.trigger_timeout = now + timedelta(hours=6)
            instance.next_method = "execute_complete"
            instance.next_kwargs = {}
            session.add(instance)


if __name__ == "__main__":
    main(*sys.argv[1:])
