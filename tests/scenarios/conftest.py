"""One real repository and one generated DAG a worker; for each scenario a state store and a work folder of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.demo.scene import remains
from airflow_dr_provider.factory.thin import THIN_DAG, THIN_REAPER
from airflow_dr_provider.runner import run_drill
from airflow_dr_provider.spec.loader import load_spec, load_text
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.store import Store
from tests.support.drills import QUIET

TIERS = ("primary", "secondary", "cold")
SPEC = """\
version: 1
drill: matrix
objectives: {{rto: 30m, rpo: 1h, mtd: 4h}}
source:
  repository: {{kind: basebackup, backups: {folder}/backups, archive: {folder}/archive}}
  heartbeat: {{table: dr_heartbeat, column: beat_at}}
target: {{recover_to: latest}}
tiers:
  - {{name: primary, role: staging, sandbox: {{kind: process}}, timeout: 3m, profile: light, cache_warming: light}}
  - {{name: secondary, role: isolated, sandbox: {{kind: process}}, timeout: 3m, profile: light, cache_warming: light}}
  - {{name: cold, role: cold_storage, sandbox: {{kind: process}}, timeout: 3m, profile: light, cache_warming: light}}
smoke:
  - {{name: orders_present, sql: "SELECT count(*) > 0 FROM orders"}}
"""
SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY);
INSERT INTO orders SELECT generate_series(1, 100);
CREATE TABLE dr_heartbeat (id int PRIMARY KEY, beat_at timestamptz NOT NULL);
INSERT INTO dr_heartbeat VALUES (1, clock_timestamp());
"""


@dataclass
class Ended:
    """How a run ended, whichever face walked it.

    :param log: the run's transitions: source, destination, reason and signature of each.
    :param state: the DAG run's state, and None for the runner.
    :param tasks: the tasks' states, empty for the runner.
    """

    record: dict[str, Any]
    log: list[tuple[str, str, str, str | None]]
    left: list[str]
    state: str | None = None
    tasks: dict[str, str | None] = field(default_factory=dict)

    @property
    def moves(self) -> list[tuple[str, str, str]]:
        """The chain's own moves, without the stages and the triage's answer."""
        return [(source, to, why) for source, to, why, _ in self.log if "/" not in source and source != "manual_triage"]


@dataclass(frozen=True)
class Stage:
    """Where scenarios are played.

    :param dag: the generated DAG, as Airflow parsed it.
    :param other: another spec for it to start from.
    """

    folder: Path
    disaster: datetime
    spec: Path
    dag: Any
    other: DrillSpec | None = None

    def by_airflow(
        self,
        place: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        conf: dict[str, Any] | None = None,
        marked: str = "triage",
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Ended:
        """Let the DAG run.

        :param marked: tasks that count as successful without being run (a regular expression). Nobody answers a question here.
        :param meanwhile: what somebody else does while the run waits.
        """
        monkeypatch.setenv("AIRFLOW_DR_STATE", f"sqlite:///{place}/state.db")
        monkeypatch.setenv("AIRFLOW_DR_WORKDIR", str(place / "work"))
        monkeypatch.setattr(time, "sleep", _brisk(meanwhile))
        # ``dag.test()`` writes what is asked of a run into the DAG's own form, which here the next run would begin with.
        monkeypatch.setattr(self.dag, "params", deepcopy(self.dag.params))
        asked = {"as_of": self.disaster.isoformat()} if conf is None else conf
        with _as(self.dag, self.other or self.dag.task_dict["start"].spec) as dag:
            run = dag.test(logical_date=_moment(), run_conf=asked, mark_success_pattern=marked)
        tasks = {task.task_id: getattr(task.state, "value", task.state) for task in run.get_task_instances()}
        ended = self._ended(place)
        ended.state, ended.tasks = getattr(run.state, "value", run.state), tasks
        return ended

    def with_spec(self, text: str) -> Stage:
        """The same with another spec, whose DAG has the same tasks."""
        return replace(self, other=load_text(text, source="variant", base=self.folder))

    def reap(self, place: Path, monkeypatch: pytest.MonkeyPatch, dag: Any, *, dry_run: bool) -> list[str]:
        """Let the reaper pass; what is left after it."""
        monkeypatch.setenv("AIRFLOW_DR_STATE", f"sqlite:///{place}/state.db")
        monkeypatch.setenv("AIRFLOW_DR_WORKDIR", str(place / "work"))
        run = dag.test(logical_date=_moment(), run_conf={"dry_run": dry_run})
        assert getattr(run.state, "value", run.state) == "success"
        return self._ended(place).left

    def by_runner(self, place: Path) -> Ended:
        """Let the runner walk the same chain."""
        store = Store.open(f"sqlite:///{place}/state.db")
        try:
            services = Services(store=store, workdir=place / "work")
            asyncio.run(run_drill(services, load_spec(self.spec), as_of=self.disaster))
        finally:
            store.close()
        return self._ended(place)

    def _ended(self, place: Path) -> Ended:
        store = Store.open(f"sqlite:///{place}/state.db")
        try:
            runs = store.runs("matrix")
            log = [
                (entry.source, entry.destination, entry.reason, entry.signature)
                for run in runs[:1]
                for entry in store.transitions(run.id)
            ]
            assert all(store.broken_link(run.id) is None for run in runs)
            left = [f"ledger {resource.name}: {resource.state}" for resource in store.unreleased()]
        finally:
            store.close()
        left += remains(place / "work")
        left += [f"folder {entry.name}" for entry in (place / "work").iterdir()] if (place / "work").exists() else []
        record = dict(runs[0].record or {}) if runs else {}
        return Ended(record=record, log=log, left=left)


@contextmanager
def _as(dag: Any, spec: DrillSpec) -> Iterator[Any]:
    """The DAG with another spec to start from, for a block."""
    start = dag.task_dict["start"]
    before, start.spec = start.spec, spec
    try:
        yield dag
    finally:
        start.spec = before


_sleep = time.sleep


def _brisk(meanwhile: Callable[[], None]) -> Callable[[float], None]:
    """A sleep which lets only a moment go by where ``dag.test()`` waits, as it does a second whenever nothing is to be run.

    :param meanwhile: is done there.
    """

    def sleep(seconds: float) -> None:
        if sys._getframe(1).f_globals.get("__name__") == "airflow.sdk.definitions.dag":
            meanwhile()
            _sleep(0.01)
        else:
            _sleep(seconds)

    return sleep


_MOMENTS = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number) for number in range(10_000))


def _moment() -> datetime:
    """Another one each time, for it names the DAG run."""
    return next(_MOMENTS)


@pytest.fixture(scope="session")
def stage(airflow_database: Path) -> Iterator[Stage]:
    """The repository, the spec and the DAG."""
    from tests.support.airflow_parts import dag_bag

    logging.getLogger("alembic").setLevel(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    with DemoProduction(folder, settings=QUIET) as production:
        production.create(schema=SCHEMA)
        for name in ("first", "second"):
            production.backup(name)
            production.beat()
        production.switch_wal()
        disaster = datetime.now(UTC)
    dags = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    dags.mkdir(exist_ok=True)
    spec = dags / "matrix.yaml"
    spec.write_text(SPEC.format(folder=folder))
    (dags / "matrix.py").write_text(THIN_DAG)
    (dags / "dr_reaper.py").write_text(THIN_REAPER)
    bag = dag_bag(dags / "matrix.py", bundle=dags, name="dags-folder")
    assert bag.import_errors == {}
    yield Stage(folder=folder, disaster=disaster, spec=spec, dag=bag.dags["matrix"])
    for file in (spec, dags / "matrix.py", dags / "dr_reaper.py"):
        file.unlink()
    shutil.rmtree(folder)
