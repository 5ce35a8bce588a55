"""One Airflow and one repository a session; every test triggers DAG runs of its own there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.demo.production import DemoProduction, flip_byte, relation_file
from airflow_dr_provider.demo.scene import METADATA_SETTINGS, free_port, remains
from airflow_dr_provider.domain.verdicts import Verdict
from airflow_dr_provider.factory.thin import THIN_REAPER
from airflow_dr_provider.sandboxes.place import MARKER
from airflow_dr_provider.state.records import Run
from airflow_dr_provider.state.store import Store
from tests.support.airflow_cluster import AirflowCluster
from tests.support.drills import QUIET, copy_repository
from tests.support.holds import VARIABLE, Holds

SCHEMA = """
CREATE TABLE orders (id int PRIMARY KEY);
INSERT INTO orders SELECT generate_series(1, 100);
CREATE TABLE dr_heartbeat (id int PRIMARY KEY, beat_at timestamptz NOT NULL);
INSERT INTO dr_heartbeat VALUES (1, clock_timestamp());
"""
SPEC = """\
version: 1
drill: {drill}
objectives: {{rto: 30m, rpo: 1d, mtd: 4h}}
source:
  repository: {{kind: basebackup, backups: {folder}/backups, archive: {folder}/archive}}
  heartbeat: {{table: dr_heartbeat, column: beat_at}}
target: {{recover_to: latest}}
selection: {{candidates: {tiers}}}
overlap: {overlap}
tiers:
{chain}
smoke:
  - {{name: orders_present, sql: "SELECT count(*) > 0 FROM orders"}}
triage: {{response_timeout: {patience}}}
"""
TIER = "  - {{name: {name}, role: {role}, sandbox: {{kind: process{queue}}}, timeout: 5m, profile: light}}"
TIERS = (("primary", "staging"), ("secondary", "isolated"))
DAG = '''\
"""The thin file of a drill, with the places where a test may stop it."""

from datetime import timedelta

from airflow_dr_provider.factory import drill_dag
from tests.support import holds

dag = drill_dag(__file__)
dag.dagrun_timeout = {timeout}
'''


def write_drill(
    dags: Path,
    folder: Path,
    drill: str,
    *,
    tiers: int = 2,
    overlap: bool = False,
    patience: str = "1h",
    timeout: str = "None",
    queues: Sequence[str] = (),
) -> None:
    """Lay a spec and its DAG file down.

    :param patience: how long the triage question waits.
    :param timeout: the DAG's own limit, which no drill should have; Python.
    :param queues: of the tiers.
    """
    named = [f", queue: {queue}" for queue in queues] or [""] * tiers
    chain = "\n".join(
        TIER.format(name=name, role=role, queue=queue) for (name, role), queue in zip(TIERS[:tiers], named, strict=True)
    )
    values = {"drill": drill, "folder": folder, "tiers": tiers, "overlap": str(overlap).lower(), "patience": patience}
    (dags / f"{drill}.yaml").write_text(SPEC.format(chain=chain, **values))
    (dags / f"{drill}.py").write_text(DAG.format(timeout=timeout))


@dataclass
class Scene:
    """Where the tests play."""

    folder: Path
    cluster: AirflowCluster
    holds: Holds
    state: str
    metadata: DemoProduction

    @property
    def workdir(self) -> Path:
        """The sandboxes' folder; with several hosts each has one in it."""
        return self.folder / "sandboxes"

    def store(self) -> Store:
        return Store.open(self.state)

    # -- a run ---------------------------------------------------------------------------------------------------------
    def trigger(self, drill: str, **conf: Any) -> str:
        return self.cluster.trigger(drill, conf)

    def run(self, drill: str, dag_run: str) -> Run | None:
        """A run as the state store has it; None when it was never opened."""
        store = self.store()
        try:
            return store.run(f"{drill}:{dag_run}")
        finally:
            store.close()

    def await_hold(self, place: str) -> int:
        """Wait until a task waits at a place; its process."""
        return int(self.cluster.until(f"{place} is reached", lambda: self.holds.reached(place)))

    def proved(self, drill: str, dag_run: str) -> list[str]:
        """The tiers whose gate passed in a run, by their checkpoints."""
        store = self.store()
        try:
            return [
                attempt.tier
                for attempt in store.attempts(f"{drill}:{dag_run}")
                for done in store.checkpoints(attempt.id)
                if done.stage.value == "validate" and done.result.verdict is Verdict.PASSED
            ]
        finally:
            store.close()

    # -- the end -------------------------------------------------------------------------------------------------------
    def reap(self) -> str:
        """One pass of the reaper's DAG; the state of its run."""
        return self.cluster.await_end("dr_reaper", self.cluster.trigger("dr_reaper"))

    def left(self) -> list[str]:
        """Everything that drills left: processes, folders, rows of the ledger, unclosed runs, broken logs."""
        found = remains(self.workdir)
        found += [f"sandbox {path.parent}" for path in self.workdir.glob(f"**/{MARKER}")]
        store = self.store()
        try:
            found += [f"ledger {resource.name} {resource.state}" for resource in store.unreleased()]
            for run in store.runs(limit=1000):
                found += [f"run {run.id} was never closed"] if run.closed_at is None else []
                found += [f"the log of {run.id} is broken"] if store.broken_link(run.id) is not None else []
        finally:
            store.close()
        return found


@contextmanager
def scene_folder() -> Iterator[Path]:
    """A folder with a repository, the same with a damaged newest backup, and the folders of a cluster."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    for name in ("dags", "metadata", "holds", "damaged"):
        (folder / name).mkdir()
        (folder / name).chmod(0o755)
    with DemoProduction(folder, settings=QUIET) as production:
        production.create(schema=SCHEMA)
        for name in ("first", "second"):
            production.backup(name)
            production.beat()
        production.switch_wal()
        copy_repository(folder, folder / "damaged")
        flip_byte(relation_file(production, folder / "damaged" / "backups" / "second", "orders"))
    (folder / "dags" / "dr_reaper.py").write_text(THIN_REAPER.replace("(__file__)", "(__file__, schedule=None)"))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def metadata_server(folder: Path) -> Iterator[DemoProduction]:
    """The server of Airflow's metadata database and of the state store."""
    # A scheduler that is killed leaves its workers, and with them its connection: a lock that it held on the pools would stay,
    # and the next scheduler could queue nothing.
    settings = {**METADATA_SETTINGS, "idle_in_transaction_session_timeout": "20s"}
    with DemoProduction(folder / "metadata", port=free_port(), tcp=True, settings=settings) as metadata:
        metadata.create(schema="CREATE DATABASE airflow")
        metadata.sql("CREATE DATABASE drills")
        yield metadata


def cluster_environment(folder: Path, metadata: DemoProduction) -> dict[str, str]:
    """What a cluster's processes are told."""
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata.url("airflow", "postgresql+psycopg2"),
        "AIRFLOW_DR_STATE": metadata.url("drills"),
        "AIRFLOW_DR_WORKDIR": str(folder / "sandboxes"),
        VARIABLE: str(folder / "holds"),
    }


@pytest.fixture(scope="session")
def whole_scene() -> Iterator[Scene]:
    with scene_folder() as folder, metadata_server(folder) as metadata:
        for drill, options in DRILLS.items():
            write_drill(folder / "dags", folder / "damaged" if drill == "damaged" else folder, drill, **options)
        with AirflowCluster(folder / "airflow", folder / "dags", cluster_environment(folder, metadata)) as cluster:
            yield Scene(
                folder=folder, cluster=cluster, holds=Holds(folder / "holds"), state=metadata.url("drills"), metadata=metadata
            )


DRILLS: dict[str, dict[str, Any]] = {
    "fall": {},
    "solo": {"tiers": 1},
    "twins": {"tiers": 1, "overlap": True},
    "ignored": {"tiers": 1, "patience": "3s"},
    "timed": {"timeout": "timedelta(hours=12)"},
    "damaged": {},
}


@pytest.fixture
def scene(whole_scene: Scene) -> Iterator[Scene]:
    """The scene for one test; after it, and one pass of the reaper, nothing may be left of any drill."""
    with whole_scene.holds.none_left():
        yield whole_scene
    assert whole_scene.reap() == "success"
    assert whole_scene.left() == []
