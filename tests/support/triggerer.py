"""A real triggerer with PostgreSQL as its metadata database, and tasks that it waits for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_dr_provider.demo.cluster import airflow_environment
from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.demo.scene import METADATA_SETTINGS, free_port
from tests.support.deferred import DAG, RUN_ID

ROOT = Path(__file__).parents[2]


@dataclass
class Triggerers:
    """Airflow's database and the triggerers that work for it."""

    folder: Path
    metadata: DemoProduction
    environment: dict[str, str]
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def defer(self, waits: list[dict[str, Any]]) -> None:
        """Leave a deferred task for each wait."""
        file = self.folder / "waits.json"
        file.write_text(json.dumps(waits))
        self._call(sys.executable, "-m", "tests.support.deferred", str(file))

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a triggerer; it is ready when it has taken the tasks."""
        with (self.folder / "triggerer.log").open("ab") as log:
            process = subprocess.Popen(
                ["airflow", "triggerer", "--skip-serve-logs"],
                env={**self.environment, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._running.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
        """End a triggerer with everything in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def states(self) -> dict[int, tuple[str | None, datetime | None, Any]]:
        """State, time of being scheduled again, and the event, of each task instance by its map index."""
        rows = self.sql(
            f"SELECT map_index, state, scheduled_dttm, next_kwargs::text FROM task_instance WHERE run_id = '{RUN_ID}'"
        )
        return {index: (state, at, json.loads(kwargs) if kwargs else None) for index, state, at, kwargs in rows}

    def await_state(self, state: str | None, number: int, timeout: float = 120) -> None:
        """Wait until so many tasks are in a state."""
        deadline = time.monotonic() + timeout
        while sum(found == state for found, _, _ in self.states().values()) < number:
            if time.monotonic() > deadline:
                tail = (self.folder / "triggerer.log").read_text(errors="replace")[-3000:]
                raise AssertionError(f"not {number} tasks {state}: {self.states()}\n{tail}")
            time.sleep(0.2)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the metadata database."""
        import psycopg

        with psycopg.connect(self.metadata.url("airflow"), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _call(self, *command: str) -> None:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, cwd=self.folder)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-3000:]}")


@contextlib.contextmanager
def triggerers(folder: Path, **environment: str) -> Iterator[Triggerers]:
    """The database, migrated, with the DAG in it; every triggerer is ended after the block."""
    home, dags, place = folder / "airflow", folder / "dags", folder / "metadata"
    for made in (home, dags, place):
        made.mkdir(mode=0o755)
    (dags / "waits.py").write_text(DAG)
    with DemoProduction(place, port=free_port(), tcp=True, settings=METADATA_SETTINGS) as metadata:
        metadata.create(schema="CREATE DATABASE airflow")
        told = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.url("airflow", "postgresql+psycopg2"),
            "PYTHONPATH": os.pathsep.join((str(ROOT), environment.pop("PYTHONPATH", ""))).rstrip(os.pathsep),
            **environment,
        }
        made_ready = Triggerers(folder, metadata, airflow_environment(home, dags, free_port(), told))
        try:
            made_ready._call("airflow", "db", "migrate")
            made_ready._call("airflow", "dags", "reserialize")
            yield made_ready
        finally:
            for process in made_ready._running:
                made_ready.end(process, signal.SIGKILL)
