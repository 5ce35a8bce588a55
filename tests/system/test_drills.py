"""Drills on a real Airflow, and what its users do to them."""

from __future__ import annotations

import pytest

from tests.system.conftest import TIERS, Scene

pytestmark = [pytest.mark.postgres, pytest.mark.airflow, pytest.mark.xdist_group("cluster")]

GATING = "solo.0.validate.begin"


def ended_well(scene: Scene, drill: str, dag_run: str) -> None:
    """The run is green, and the store has a proved recovery on the first tier."""
    assert scene.cluster.await_end(drill, dag_run) == "success"
    run = scene.run(drill, dag_run)
    assert run is not None
    assert (run.outcome, run.exit_code, scene.proved(drill, dag_run)) == ("RECOVERED", 0, [TIERS[0][0]])


def test_parameters_arrive(scene: Scene) -> None:
    dag_run = scene.trigger("solo", reason="to see it", as_of="2026-01-02T03:04:05+01:00", inject="rows_deleted")
    assert scene.cluster.await_end("solo", dag_run) == "failed"
    run = scene.run("solo", dag_run)
    assert run is not None
    assert run.as_of is not None
    assert (run.as_of.isoformat(), run.injected) == ("2026-01-02T02:04:05+00:00", ("rows_deleted@primary",))


def test_a_parameter_that_is_none_of_the_forms_is_refused(scene: Scene) -> None:
    with pytest.raises(RuntimeError, match="400"):
        scene.trigger("solo", inject="meteorite")


def test_runs_wait_for_each_other(scene: Scene) -> None:
    scene.holds.set(GATING)
    first = scene.trigger("solo")
    scene.await_hold(GATING)
    second = scene.trigger("solo")
    assert scene.cluster.state("solo", second) == "queued"
    assert scene.run("solo", second) is None
    scene.holds.let_go(GATING)
    for dag_run in (first, second):
        ended_well(scene, "solo", dag_run)
    runs = [scene.run("solo", dag_run) for dag_run in (first, second)]
    assert runs[0].closed_at < runs[1].opened_at  # type: ignore[union-attr,operator]


def test_runs_that_may_overlap_do(scene: Scene) -> None:
    place = "twins.0.validate.begin"
    scene.holds.set(place)
    first = scene.trigger("twins")
    process = scene.await_hold(place)
    scene.holds.forget(place)
    second = scene.trigger("twins")
    assert scene.await_hold(place) != process
    store = scene.store()
    assert len({resource.name for resource in store.unreleased()}) == 2
    store.close()
    scene.holds.let_go(place)
    for dag_run in (first, second):
        ended_well(scene, "twins", dag_run)


def test_a_paused_drill_keeps_its_sandbox_and_goes_on(scene: Scene) -> None:
    scene.holds.set(GATING)
    dag_run = scene.trigger("solo")
    scene.await_hold(GATING)
    scene.cluster.pause("solo")
    try:
        scene.holds.let_go(GATING)
        scene.cluster.until("the gate is through", lambda: scene.cluster.tasks("solo", dag_run)["primary.gate"] == "success")
        assert scene.reap() == "success"
        assert [line for line in scene.left() if line.startswith("ledger")] != []
        assert scene.cluster.tasks("solo", dag_run)["primary.teardown"] == "None"
    finally:
        scene.cluster.pause("solo", False)
    ended_well(scene, "solo", dag_run)


def test_a_task_that_is_cleared_in_mid_flight_is_not_done_twice(scene: Scene) -> None:
    scene.holds.set(GATING)
    dag_run = scene.trigger("solo")
    scene.await_hold(GATING)
    before = checkpoints(scene, "solo", dag_run)
    assert scene.cluster.clear("solo", dag_run, "primary.restore") == ["primary.restore"]
    scene.cluster.until(
        "the restore is through again",
        lambda: (
            scene.cluster.details("solo", dag_run)["primary.restore"]["try_number"] == 2
            and scene.cluster.tasks("solo", dag_run)["primary.restore"] == "success"
        ),
    )
    assert checkpoints(scene, "solo", dag_run) == before
    scene.holds.let_go(GATING)
    ended_well(scene, "solo", dag_run)


def test_a_tier_that_is_cleared_afterwards_tells_what_it_told(scene: Scene) -> None:
    """A closed run's record is final: its tasks, run again, make nothing and say the same."""
    dag_run = scene.trigger("fall", inject="wal_removed")
    assert scene.cluster.await_end("fall", dag_run) == "success"
    before = checkpoints(scene, "fall", dag_run)
    cleared = scene.cluster.clear("fall", dag_run, "primary.enter", downstream=True)
    assert {"primary.restore", "secondary.restore", "verdict"} <= set(cleared)
    assert scene.cluster.await_end("fall", dag_run) == "success"
    assert checkpoints(scene, "fall", dag_run) == before
    run = scene.run("fall", dag_run)
    assert run is not None
    assert (run.outcome, scene.proved("fall", dag_run)) == ("RECOVERED_DEGRADED", ["secondary"])
    assert scene.cluster.tasks("fall", dag_run)["primary.restore"] == "failed"


def test_a_question_outlives_the_triggerer(scene: Scene) -> None:
    scene.holds.set("solo.0.restore.begin", "fail BACKUP_UNREADABLE")
    dag_run = scene.trigger("solo")
    scene.cluster.until("the question is asked", lambda: scene.cluster.tasks("solo", dag_run)["triage"] == "awaiting_input")
    scene.cluster.kill("triggerer", with_tasks=True)
    scene.cluster.start("triggerer")
    scene.cluster.await_healthy()
    scene.cluster.answer("solo", dag_run, "Accept the risk", "it is a test")
    assert scene.cluster.await_end("solo", dag_run) == "failed"
    run = scene.run("solo", dag_run)
    assert run is not None
    assert run.outcome == "MANUAL_TRIAGE"
    assert ("manual_triage", "answered", "Accept the risk") in moves(scene, "solo", dag_run)


def checkpoints(scene: Scene, drill: str, dag_run: str) -> list[tuple[str, str, str]]:
    store = scene.store()
    try:
        return [
            (attempt.tier, done.stage.value, done.ended_at.isoformat())
            for attempt in store.attempts(f"{drill}:{dag_run}")
            for done in store.checkpoints(attempt.id)
        ]
    finally:
        store.close()


def moves(scene: Scene, drill: str, dag_run: str) -> list[tuple[str, str, str]]:
    store = scene.store()
    try:
        return [(entry.source, entry.destination, entry.reason) for entry in store.transitions(f"{drill}:{dag_run}")]
    finally:
        store.close()
