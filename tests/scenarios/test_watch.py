"""The watch's DAG on a real archive: what Airflow keeps of a scan, and how a finding looks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.factory.thin import THIN_WATCH
from airflow_dr_provider.state.scans import Scans
from airflow_dr_provider.state.store import Store
from tests.scenarios.conftest import SPEC, Stage, _moment
from tests.support.drills import copy_repository

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]


@dataclass(frozen=True)
class Watch:
    """The watch's DAG over two drills: one of a copy of the repository, one whose repository is not there.

    :param folder: where backups and archive lie.
    """

    folder: Path
    dag: Any

    def run(self) -> dict[str, str]:
        """Let the DAG run; the state of the run and of each task."""
        run = self.dag.test(logical_date=_moment())
        states = {task.task_id: str(getattr(task.state, "value", task.state)) for task in run.get_task_instances()}
        return {"run": str(getattr(run.state, "value", run.state)), **states}

    def events(self, drill: str = "watched", asset: str = "restorable") -> list[dict[str, Any]]:
        """The asset's events that Airflow has recorded, oldest first."""
        from airflow.models.asset import AssetEvent, AssetModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            events = select(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            found = session.scalars(events.where(AssetModel.name == f"dr://{drill}/{asset}").order_by(AssetEvent.id))
            return [{**event.extra, "task": event.source_task_id} for event in found]


@pytest.fixture
def watching(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """The shipped file in a folder of its own, with a state store of its own."""
    from tests.support.airflow_parts import dag_bag

    monkeypatch.setenv("AIRFLOW_DR_STATE", f"sqlite:///{place}/state.db")
    copy_repository(stage.folder, place)
    dags = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder = dags / "watching"
    folder.mkdir()
    good = SPEC.format(folder=place).replace("drill: matrix", "drill: watched")
    (folder / "watched.yaml").write_text(good)
    (folder / "away.yaml").write_text(good.replace("drill: watched", "drill: away").replace("/backups", "/nowhere"))
    (folder / "dr_watch.py").write_text(THIN_WATCH)
    bag = dag_bag(folder / "dr_watch.py", bundle=dags, name="dags-folder")
    assert bag.import_errors == {}
    yield Watch(folder=place, dag=bag.dags["dr_watch"])
    shutil.rmtree(folder)


def test_a_scan_is_published_and_a_finding_is_red(watching: Watch, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = watching.run()
    assert states == {
        "run": "failed",
        "watched.scan": "success",
        "watched.findings": "success",
        "away.scan": "skipped",
        "away.findings": "failed",
    }
    (event,) = watching.events()
    store = Store.open(f"sqlite:///{place}/state.db")
    scan = Scans(store).latest("watched")
    store.close()
    assert scan is not None
    assert scan.restorable is not None
    assert event == {
        "restorable_to": scan.restorable["time"].replace("Z", "+00:00"),
        "lsn": scan.restorable["lsn"],
        "timeline": 1,
        "backup": "second",
        "scan": scan.id,
        "task": "watched.scan",
    }
    assert watching.events("away") == []
    capsys.readouterr()

    segment = sorted(path for path in (watching.folder / "archive").iterdir() if len(path.name) == 24)[-2]
    segment.unlink()
    states = watching.run()
    assert (states["watched.scan"], states["watched.findings"]) == ("success", "failed")
    assert len(watching.events()) == 2, "restorable all the same"
    said = "".join(capsys.readouterr())
    assert f"critical WAL_HOLE (new) archive: {segment.name}" in said
    assert "DrillFindingsError" in said


def test_each_new_backup_is_an_event(watching: Watch, place: Path) -> None:
    held = {name: place / f"held-{name}" for name in ("first", "second")}
    for name, folder in held.items():
        (watching.folder / "backups" / name).rename(folder)
    held["first"].rename(watching.folder / "backups" / "first")
    assert watching.run()["watched.scan"] == "success"
    assert watching.events(asset="backup") == [], "what is there at first is no news"
    held["second"].rename(watching.folder / "backups" / "second")
    assert watching.run()["watched.scan"] == "success"
    (event,) = watching.events(asset="backup")
    assert (event["backup"], event["type"], event["task"]) == ("second", "full", "watched.scan")
    assert set(event) == {"backup", "type", "stop_lsn", "stop_time", "scan", "task"}
    watching.run()
    assert len(watching.events(asset="backup")) == 1
