"""A real Airflow of its own, for the demonstration: metadata database, scheduler, DAG processor, API server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_dr_provider.demo.scene import free_port
from airflow_dr_provider.preload import LOCAL_SETTINGS

_COMPONENTS = ("api-server", "scheduler", "dag-processor")
_PATIENCE_SECONDS = 240.0


def airflow_environment(home: Path, dags: Path, port: int, environment: dict[str, str]) -> dict[str, str]:
    """The environment of Airflow's processes: its own home, ports of the loopback, no password, no example DAGs.

    :param port: of the API server and its page.
    """
    address = f"http://127.0.0.1:{port}"
    logs = free_port(), free_port()
    return {
        # Compiled modules are kept: without them each of Airflow's processes parses 5 s worth of source again.
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        **environment,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(logs[0]),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(logs[1]),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        # A failed task's supervisor may miss its end by a moment and then sleeps for so many seconds before it looks again.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # After so many in vain it ends the task: three seconds without an API server would do.
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "120",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def prepare_home(home: Path) -> None:
    """Make Airflow's home, with the settings that let tasks begin sooner."""
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "config" / "airflow_local_settings.py").write_text(LOCAL_SETTINGS)


class Cluster:
    """Airflow's components as processes of this one, each in a session of its own.

    ``airflow standalone`` leaves some of them behind when it is ended; here the whole session of each is ended.

    :param home: AIRFLOW_HOME; made when missing.
    :param environment: what the tasks need beside Airflow's own settings.
    :param components: by the names of their commands.
    """

    def __init__(self, home: Path, dags: Path, environment: dict[str, str], *, components: Sequence[str] = _COMPONENTS) -> None:
        self.home = home
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.components = tuple(components)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._token = ""
        self.environment = airflow_environment(home, dags, self.port, environment)

    def __enter__(self) -> Cluster:
        prepare_home(self.home)
        try:
            self._airflow("db", "migrate")
            for component in self.components:
                self.start(component)
            self.await_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _airflow(self, *arguments: str) -> None:
        done = subprocess.run(
            ["airflow", *arguments], env=self.environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode != 0:
            raise RuntimeError(f"airflow {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-800:]}")

    def start(self, component: str, command: str | None = None, environment: dict[str, str] | None = None) -> None:
        """Start a component, in a session of its own; its output goes to a log in the home.

        :param command: of ``airflow``; the component's own name when left out.
        :param environment: what this component alone is told.
        """
        with (self.home / f"{component}.log").open("ab") as log:
            self._processes[component] = subprocess.Popen(
                ["airflow", *(command or component).split()],
                env=self.environment | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_healthy(self) -> None:
        """Wait until every component says that it works.

        :raises RuntimeError: when one has ended, or it takes too long.
        """
        parts = ["metadatabase", *(component.replace("-", "_") for component in self.components)]
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self.check_alive()
            with contextlib.suppress(OSError, ValueError):
                health = self.ask("/api/v2/monitor/health", authorised=False)
                if all(health[part]["status"] == "healthy" for part in parts if part in health):
                    return
            time.sleep(0.2)
        raise RuntimeError(f"Airflow did not get healthy in {_PATIENCE_SECONDS:.0f} s; its logs are in {self.home}.")

    def check_alive(self) -> None:
        """Make sure that no component has ended.

        :raises RuntimeError: with the end of the log of one that has.
        """
        for component, process in self._processes.items():
            if process.poll() is not None:
                tail = (self.home / f"{component}.log").read_text(errors="replace")[-800:]
                raise RuntimeError(f"airflow {component} ended with {process.returncode}: {tail}")

    # -- its API -------------------------------------------------------------------------------------------------------
    def ask(self, path: str, *, authorised: bool = True, method: str | None = None, body: dict[str, Any] | None = None) -> Any:
        """What the API answers."""
        headers = {"Content-Type": "application/json"}
        if authorised:
            if not self._token:
                self._token = self.ask("/auth/token", authorised=False)["access_token"]
            headers["Authorization"] = f"Bearer {self._token}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.address + path, data=data, headers=headers, method=method)  # noqa: S310 - our own loopback
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - our own loopback
            return json.load(response)

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a DAG as its page would; the DAG run's id. Waits until the DAG processor has read the DAG."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            self.check_alive()
            try:
                run = self.ask(f"/api/v2/dags/{dag_id}/dagRuns", body={"logical_date": None, "conf": conf or {}})
                return str(run["dag_run_id"])
            except urllib.error.HTTPError as error:
                if error.code != 404 or time.monotonic() > deadline:
                    raise RuntimeError(f"{dag_id} can't be triggered: {error} {error.read().decode()[:400]}") from error
            time.sleep(0.2)

    def state(self, dag_id: str, dag_run_id: str) -> str:
        """The state of a DAG run."""
        return str(self.ask(f"/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}")["state"])

    def tasks(self, dag_id: str, dag_run_id: str) -> dict[str, str]:
        """The state of every task of a DAG run."""
        found = self.ask(f"/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances?limit=200")
        return {entry["task_id"]: str(entry["state"]) for entry in found["task_instances"]}

    def import_errors(self) -> list[str]:
        """What Airflow says of DAG files that can't be read."""
        return [str(entry["stack_trace"]) for entry in self.ask("/api/v2/importErrors")["import_errors"]]

    # -- the end -------------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        """End every component with all that it started."""
        for process in self._processes.values():
            signal_session(process, signal.SIGTERM)
        deadline = time.monotonic() + 5
        for process in self._processes.values():
            end_session(process, max(0.0, deadline - time.monotonic()))
        self._processes.clear()


# -- sessions ----------------------------------------------------------------------------------------------------------
def end_session(process: subprocess.Popen[bytes], patience: float = 5.0) -> None:
    """End a process and everything in its session; what outlives a polite request is killed.

    By session and not by process group: each task that Airflow runs has a group of its own.
    """
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        signal_session(process, number)
        deadline = time.monotonic() + seconds
        while session_members(process.pid) and time.monotonic() < deadline:
            process.poll()
            time.sleep(0.05)
    process.poll()


def signal_session(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and to everything in its session."""
    for member in session_members(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, number)


def session_members(leader: int) -> list[int]:
    """Processes whose session is the leader's (proc(5), field 6 of stat), zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found
