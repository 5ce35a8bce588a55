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
from pathlib import Path
from typing import Any

from airflow_dr_provider.demo.scene import free_port

_COMPONENTS = ("api-server", "scheduler", "dag-processor")
_PATIENCE_SECONDS = 120.0


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
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


class Cluster:
    """Airflow's components as processes of this one, each in a session of its own.

    ``airflow standalone`` leaves some of them behind when it is ended; here the whole session of each is ended.

    :param home: AIRFLOW_HOME; made when missing.
    :param environment: what the tasks need beside Airflow's own settings.
    """

    def __init__(self, home: Path, dags: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._token = ""
        self.environment = airflow_environment(home, dags, self.port, environment)

    def __enter__(self) -> Cluster:
        self.home.mkdir(exist_ok=True)
        try:
            self._airflow("db", "migrate")
            for component in _COMPONENTS:
                self._start(component)
            self._await_healthy()
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

    def _start(self, component: str) -> None:
        with (self.home / f"{component}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    ["airflow", component],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _await_healthy(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self.check_alive()
            with contextlib.suppress(OSError, ValueError):
                health = self._get("/api/v2/monitor/health", authorised=False)
                if all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")):
                    return
            time.sleep(0.2)
        raise RuntimeError(f"Airflow did not get healthy in {_PATIENCE_SECONDS:.0f} s; its logs are in {self.home}.")

    def check_alive(self) -> None:
        """Make sure that no component has ended.

        :raises RuntimeError: with the end of the log of one that has.
        """
        for component, process in zip(_COMPONENTS, self._processes, strict=False):
            if process.poll() is not None:
                tail = (self.home / f"{component}.log").read_text(errors="replace")[-800:]
                raise RuntimeError(f"airflow {component} ended with {process.returncode}: {tail}")

    # -- its API -------------------------------------------------------------------------------------------------------
    def _get(self, path: str, *, authorised: bool = True, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if authorised:
            if not self._token:
                self._token = self._get("/auth/token", authorised=False)["access_token"]
            headers["Authorization"] = f"Bearer {self._token}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.address + path, data=data, headers=headers)  # noqa: S310 - our own loopback
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - our own loopback
            return json.load(response)

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a DAG as its page would; the DAG run's id. Waits until the DAG processor has read the DAG."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            self.check_alive()
            try:
                run = self._get(f"/api/v2/dags/{dag_id}/dagRuns", body={"logical_date": None, "conf": conf or {}})
                return str(run["dag_run_id"])
            except urllib.error.HTTPError as error:
                if error.code != 404 or time.monotonic() > deadline:
                    raise RuntimeError(f"{dag_id} can't be triggered: {error} {error.read().decode()[:400]}") from error
            time.sleep(0.2)

    def state(self, dag_id: str, dag_run_id: str) -> str:
        """The state of a DAG run."""
        return str(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}")["state"])

    def tasks(self, dag_id: str, dag_run_id: str) -> dict[str, str]:
        """The state of every task of a DAG run."""
        found = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances?limit=200")
        return {entry["task_id"]: str(entry["state"]) for entry in found["task_instances"]}

    def import_errors(self) -> list[str]:
        """What Airflow says of DAG files that can't be read."""
        return [str(entry["stack_trace"]) for entry in self._get("/api/v2/importErrors")["import_errors"]]

    # -- the end -------------------------------------------------------------------------------------------------------
    def stop(self) -> None:
        """End every component with all that it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            deadline = time.monotonic() + 5
            for process in self._processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
        self._processes.clear()
