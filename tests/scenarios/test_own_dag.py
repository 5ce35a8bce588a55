"""A drill in somebody's own DAG, the operators one by one, and a run that a blackout holds back: really run by Airflow."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.utils.types import DagRunType

import airflow_dr_provider.example_dags
from airflow_dr_provider.state.store import Store
from tests.scenarios.conftest import SPEC, Stage, _brisk, _moment
from tests.support.drills import copy_repository

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]

EXAMPLES = Path(airflow_dr_provider.example_dags.__file__).parent
ONE_TIER = SPEC[: SPEC.index("  - {{name: secondary")] + SPEC[SPEC.index("smoke:") :] + "selection: {{candidates: 1}}\n"
Run = Callable[..., tuple[str, dict[str, str]]]


@pytest.fixture
def run(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs one of the examples with a drill of the copied repository; the run's state and those of its tasks."""
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("AIRFLOW_DR_STATE", f"sqlite:///{place}/state.db")
    monkeypatch.setenv("AIRFLOW_DR_WORKDIR", str(place / "work"))
    monkeypatch.setattr(time, "sleep", _brisk(lambda: None))
    copy_repository(stage.folder, place)
    dags = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder = dags / "examples"
    folder.mkdir()

    def go(name: str, *, before: Callable[[Any], None] = lambda dag: None, more: str = "") -> tuple[str, dict[str, str]]:
        (folder / "example_orders.yaml").write_text(ONE_TIER.format(folder=place) + more)
        shutil.copy(EXAMPLES / f"{name}.py", folder)
        bag = DagBag(str(folder / f"{name}.py"), bundle_path=dags, bundle_name="dags-folder")
        assert bag.import_errors == {}
        (dag,) = bag.dags.values()
        before(dag)
        ended = dag.test(logical_date=_moment(), mark_success_pattern=".*triage")
        states = {task.task_id: str(getattr(task.state, "value", task.state)) for task in ended.get_task_instances()}
        return str(getattr(ended.state, "value", ended.state)), states

    yield go
    shutil.rmtree(folder)


def outcomes(place: Path) -> dict[str, str | None]:
    store = Store.open(f"sqlite:///{place}/state.db")
    try:
        assert store.unreleased() == ()
        return {run.id: run.outcome for run in store.runs()}
    finally:
        store.close()


def damage(place: Path) -> None:
    """Invert a byte in every backup, so that nothing can recover."""
    for manifest in (place / "backups").glob("*/backup_manifest"):
        file = max(
            (path for path in (manifest.parent / "base").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
        )
        content = bytearray(file.read_bytes())
        content[100] ^= 0xFF
        file.write_bytes(bytes(content))


def test_a_group_that_recovers_lets_what_follows_run(run: Run, place: Path) -> None:
    state, tasks = run("example_drill_in_own_dag")
    assert (state, tasks["drill.verdict"], tasks["drill.close"]) == ("success", "success", "success")
    assert (tasks["release"], tasks["tidy_up"]) == ("success", "success")
    ((name, outcome),) = outcomes(place).items()
    assert outcome == "RECOVERED"
    assert name.startswith("example_drill_in_own_dag:manual__")
    assert name.endswith(":drill")


def test_a_group_that_fails_stops_what_needs_it_and_fails_the_run(run: Run, place: Path) -> None:
    damage(place)
    state, tasks = run("example_drill_in_own_dag")
    assert (state, tasks["drill.verdict"], tasks["drill.close"]) == ("failed", "failed", "failed")
    assert (tasks["release"], tasks["tidy_up"]) == ("upstream_failed", "success")
    assert list(outcomes(place).values()) == ["MANUAL_TRIAGE"]


def test_a_group_that_somebodys_dag_goes_past_is_skipped(run: Run, place: Path) -> None:
    from airflow.providers.standard.operators.python import ShortCircuitOperator

    def go_past(dag: Any) -> None:
        gate = ShortCircuitOperator(
            task_id="not_today", python_callable=lambda: False, ignore_downstream_trigger_rules=False, dag=dag
        )
        gate >> dag.task_dict["drill.start"]

    state, tasks = run("example_drill_in_own_dag", before=go_past)
    assert (state, tasks["drill.report"], tasks["drill.verdict"]) == ("success", "skipped", "skipped")
    assert tasks["tidy_up"] == "success"
    assert outcomes(place) == {}


def test_operators_one_by_one(run: Run, place: Path) -> None:
    state, tasks = run("example_operators")
    assert state == "success", tasks
    assert {tasks[name] for name in ("select", "restore", "gate", "teardown", "report", "verdict")} == {"success"}
    assert tasks["triage"] == "skipped"
    assert list(outcomes(place).values()) == ["RECOVERED"]


def test_operators_one_by_one_when_nothing_recovers(run: Run, place: Path) -> None:
    damage(place)
    state, tasks = run("example_operators")
    assert (state, tasks["restore"], tasks["gate"], tasks["teardown"]) == ("failed", "failed", "upstream_failed", "success")
    assert list(outcomes(place).values()) == ["MANUAL_TRIAGE"]


def test_a_blackout_holds_a_scheduled_run_back_and_records_it(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_dr_provider.operators import drill

    dark = 'schedule: {cron: "0 3 * * *", blackout: [{from: "2020-01-01", to: "2040-01-01", reason: freeze}]}\n'
    state, tasks = run("example_operators", more=dark)
    assert state == "success", "a person may run it"
    # dag.test() makes manual runs: let them count as scheduled ones.
    monkeypatch.setattr(drill, "BY_ITSELF", (*drill.BY_ITSELF, DagRunType.MANUAL.value))
    state, tasks = run("example_operators", more=dark)
    assert state == "success"
    assert set(tasks.values()) == {"skipped"}
    held = [outcome for outcome in outcomes(place).values() if outcome == "SKIPPED"]
    assert len(held) == 1
