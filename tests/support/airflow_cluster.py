"""A real Airflow for tests: every component in a session of its own, driven over its REST API as a user would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from airflow_dr_provider.demo.cluster import Cluster, session_members

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
ROOT = Path(__file__).parents[2]
SETTINGS = {
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    # How soon a scheduler that was killed is known to be dead: not so soon that one on a busy machine takes itself for dead and
    # resets its own tasks. The heartbeat of tasks is left as it is: with a shorter one an API server that is away for seconds
    # costs tasks that had nothing wrong.
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
    "AIRFLOW__CORE__KILLED_TASK_CLEANUP_TIME": "15",
}
OVER = ("success", "failed")
PATIENCE = 600.0
"""Seconds that nothing takes on a machine with nothing else to do; waiting ends when the condition is there."""


class AirflowCluster(Cluster):
    """See :class:`airflow_dr_provider.demo.cluster.Cluster`; here also with what a test does to it."""

    def __init__(
        self,
        home: Path,
        dags: Path,
        environment: dict[str, str],
        *,
        components: Iterable[str] = COMPONENTS,
        settings: dict[str, str] | None = None,
    ) -> None:
        path = os.pathsep.join((str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])))
        super().__init__(home, dags, {**environment, "PYTHONPATH": path}, components=tuple(components))
        self.environment |= SETTINGS | (settings or {})
        self._killed: list[subprocess.Popen[bytes]] = []

    # -- a user --------------------------------------------------------------------------------------------------------
    def run_path(self, dag_id: str, run_id: str) -> str:
        return f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"

    def mark_run(self, dag_id: str, run_id: str, state: str) -> None:
        """What *Mark as …* does on a run."""
        self.ask(self.run_path(dag_id, run_id), method="PATCH", body={"state": state})

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """What *Mark as …* does on a task."""
        path = f"{self.run_path(dag_id, run_id)}/taskInstances/{task_id}"
        self.ask(path, method="PATCH", body={"new_state": state})

    def clear(self, dag_id: str, run_id: str, *task_ids: str, downstream: bool = False) -> list[str]:
        """What *Clear* does; the tasks that run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "include_downstream": downstream,
            "only_failed": False,
        }
        cleared = self.ask(f"/api/v2/dags/{dag_id}/clearTaskInstances", method="POST", body=body)
        return sorted(entry["task_id"] for entry in cleared["task_instances"])

    def pause(self, dag_id: str, paused: bool = True) -> None:
        self.ask(f"/api/v2/dags/{dag_id}", method="PATCH", body={"is_paused": paused})

    def answer(self, dag_id: str, run_id: str, option: str, comment: str | None = None) -> None:
        """Answer the triage question."""
        path = f"{self.run_path(dag_id, run_id)}/taskInstances/triage/-1/hitlDetails"
        self.ask(path, method="PATCH", body={"chosen_options": [option], "params_input": {"comment": comment}})

    def details(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Every task instance of a run, as the API tells it."""
        found = self.ask(f"{self.run_path(dag_id, run_id)}/taskInstances?limit=200")
        return {entry["task_id"]: entry for entry in found["task_instances"]}

    # -- waiting -------------------------------------------------------------------------------------------------------
    def until(self, what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait for a condition; its value. Airflow's API may be away meanwhile.

        :raises AssertionError: when it takes too long.
        """
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            self.check_alive()
            with contextlib.suppress(OSError):
                value = condition()
                if value:
                    return value
            time.sleep(0.1)
        raise AssertionError(f"{what}: not after {patience:.0f} s")

    def await_end(self, dag_id: str, run_id: str, patience: float = PATIENCE) -> str:
        """Wait until a run is over and none of its tasks is under way; its state."""

        def over() -> str | None:
            state = self.state(dag_id, run_id)
            return state if state in OVER and not self.under_way(dag_id, run_id) else None

        try:
            return str(self.until(f"{dag_id} {run_id} is over", over, patience))
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.state(dag_id, run_id)}, {self.tasks(dag_id, run_id)}") from None

    def under_way(self, dag_id: str, run_id: str) -> list[str]:
        """Tasks that run or are about to."""
        waiting = ("running", "queued", "scheduled", "restarting", "up_for_retry", "awaiting_input", "deferred")
        return [task for task, state in self.tasks(dag_id, run_id).items() if state in waiting]

    # -- accidents -----------------------------------------------------------------------------------------------------
    def kill(self, component: str, *, with_tasks: bool = False) -> None:
        """Kill a component as a crash would: the process alone, or with everything that it started."""
        process = self._processes.pop(component)
        doomed = session_members(process.pid) if with_tasks else [process.pid]
        for member in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        process.wait(10)
        self._killed.append(process)

    def ask_to_end(self, component: str) -> subprocess.Popen[bytes]:
        """Ask a component to end in order; its process."""
        process = self._processes.pop(component)
        process.terminate()
        self._killed.append(process)
        return process

    def stop(self) -> None:
        """End every component, those that were killed and left something included."""
        super().stop()
        for process in self._killed:
            for member in session_members(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
        self._killed.clear()
