"""The failure table: what can go wrong in a drill on a real Airflow, and how its run has to end.

Each row breaks one thing. Whatever it is, the DAG run is green only where a gate has passed, the store says what happened, and
after one pass of the reaper nothing is left (the fixture ``scene`` looks).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.system.conftest import Scene

pytestmark = [pytest.mark.postgres, pytest.mark.airflow, pytest.mark.xdist_group("cluster")]

Meanwhile = Callable[[Scene, str, str], None]


@dataclass(frozen=True)
class Row:
    """One row.

    :param name: what breaks.
    :param state: how the DAG run ends.
    :param outcome: what the store says; None for a run that only the reaper closes.
    :param tier: the tier whose gate passed; empty when none did.
    :param drill: the DAG.
    :param inject: a fault from the run's form.
    :param holds: places, and what happens there.
    :param meanwhile: what is done while the run is under way.
    """

    name: str
    state: str
    outcome: str
    tier: str = ""
    drill: str = "fall"
    inject: str = "none"
    holds: dict[str, str] = field(default_factory=dict)
    meanwhile: Meanwhile | None = None


# -- what is done meanwhile --------------------------------------------------------------------------------------------
def kill_task(place: str) -> Meanwhile:
    """SIGKILL to the process that runs a stage."""

    def kill(scene: Scene, drill: str, dag_run: str) -> None:
        process = scene.await_hold(place)
        scene.holds.let_go(place)
        scene.holds.forget(place)
        os.kill(process, signal.SIGKILL)

    return kill


def mark_task(place: str, task: str, state: str) -> Meanwhile:
    def mark(scene: Scene, drill: str, dag_run: str) -> None:
        process = scene.await_hold(place)
        scene.cluster.mark_task(drill, dag_run, task, state)
        scene.cluster.until("the task's process has ended", lambda: ended(process))

    return mark


def mark_run(place: str, state: str) -> Meanwhile:
    def mark(scene: Scene, drill: str, dag_run: str) -> None:
        scene.await_hold(place)
        scene.cluster.mark_run(drill, dag_run, state)

    return mark


def late_creation(scene: Scene, drill: str, dag_run: str) -> None:
    """The run is marked failed, its teardown is through, and only then is the sandbox made."""
    place = f"{drill}.0.provision.inside"
    process = scene.await_hold(place)
    # Stopped, so that nobody who tells it to end is heard before the teardown is through.
    os.kill(process, signal.SIGSTOP)
    try:
        scene.cluster.mark_run(drill, dag_run, "failed")
        scene.cluster.until(
            "the teardown is through",
            lambda: scene.cluster.tasks(drill, dag_run)["primary.teardown"] in ("success", "failed", "upstream_failed"),
        )
        scene.holds.let_go(place)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
    scene.cluster.until("the late process has ended", lambda: ended(process))


def time_out(place: str) -> Meanwhile:
    """The DAG's own limit passes while a stage is under way: the run is made to have begun a day ago."""

    def wait(scene: Scene, drill: str, dag_run: str) -> None:
        process = scene.await_hold(place)
        earlier = f"UPDATE dag_run SET start_date = start_date - interval '1 day' WHERE run_id = '{dag_run}'"
        scene.metadata.sql(earlier, "airflow")
        scene.cluster.until("the DAG run timed out", lambda: scene.cluster.state(drill, dag_run) == "failed")
        scene.cluster.until("the task's process has ended", lambda: ended(process))

    return wait


def answer(scene: Scene, drill: str, dag_run: str) -> None:
    scene.cluster.until("the question is asked", lambda: scene.cluster.tasks(drill, dag_run)["triage"] == "awaiting_input")
    scene.cluster.answer(drill, dag_run, "Declare an incident", "called the vendor")


def restart_scheduler(place: str, *, with_tasks: bool) -> Meanwhile:
    """The scheduler is killed, alone or with its workers and tasks, and started again."""

    def restart(scene: Scene, drill: str, dag_run: str) -> None:
        scene.await_hold(place)
        scene.cluster.kill("scheduler", with_tasks=with_tasks)
        if with_tasks:
            scene.holds.let_go(place)
            scene.holds.forget(place)
        scene.cluster.start("scheduler")
        scene.cluster.await_healthy()
        scene.holds.let_go(place)

    return restart


def api_server_away(place: str) -> Meanwhile:
    """The API server, through which tasks report, is away while a stage ends."""

    def away(scene: Scene, drill: str, dag_run: str) -> None:
        process = scene.await_hold(place)
        scene.cluster.kill("api-server", with_tasks=True)
        scene.holds.let_go(place)
        scene.cluster.until("the stage has gone on without it", lambda: not scene.holds.reached(place) or ended(process))
        scene.cluster.start("api-server")
        scene.cluster.await_healthy()

    return away


def ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


HOLD, FAIL = "hold", "fail SANDBOX_FAILED"
RESTORING, GATING = "fall.0.restore.begin", "fall.0.validate.begin"
DEGRADED = {"state": "success", "outcome": "RECOVERED_DEGRADED", "tier": "secondary"}
RECOVERED = {"state": "success", "outcome": "RECOVERED", "tier": "primary"}
BOTH_RESTORES = {"fall.0.restore.begin": "fail BACKUP_UNREADABLE", "fall.1.restore.begin": "fail BACKUP_UNREADABLE"}

ROWS: tuple[Row, ...] = (
    Row("nothing", **RECOVERED),
    Row("select", **DEGRADED, holds={"fall.0.select.begin": "fail REPOSITORY_UNREACHABLE"}),
    Row("reserve", **DEGRADED, holds={"fall.0.reserve.begin": FAIL}),
    Row("provision, before anything is made", **DEGRADED, inject="provision_fails"),
    Row("provision, half-way", **DEGRADED, holds={"fall.0.provision.done": FAIL}),
    Row("restore, at its beginning", **DEGRADED, inject="disk_full"),
    Row("restore, half-way", **DEGRADED, inject="wal_removed"),
    Row("gate", **DEGRADED, inject="server_killed"),
    Row("the backup is damaged", **DEGRADED, drill="damaged"),
    Row("router, after a tier failed", "failed", "MANUAL_TRIAGE", holds={"fall.0.select.begin": "fail NO_CANDIDATE",
        "fall.0.route": "fail DISK_FULL"}),
    Row("router, after the gate passed", **RECOVERED, holds={"fall.0.route": "fail DISK_FULL"}),
    Row("teardown, once", **RECOVERED, holds={"fall.0.teardown.begin": FAIL}),
    Row("teardown, for as long as the run lasts", "failed", "RECOVERED", "primary", holds={"fall.0.destroy": HOLD}),
    Row("both restores; the question is answered", "failed", "MANUAL_TRIAGE", holds=BOTH_RESTORES, meanwhile=answer),
    Row("the only restore; nobody answers", "failed", "MANUAL_TRIAGE", drill="ignored",
        holds={"ignored.0.restore.begin": "fail BACKUP_UNREADABLE"}),
    Row("SIGKILL, restore", **RECOVERED, holds={RESTORING: HOLD}, meanwhile=kill_task(RESTORING)),
    Row("SIGKILL, provision", **RECOVERED, holds={"fall.0.provision.done": HOLD}, meanwhile=kill_task("fall.0.provision.done")),
    Row("SIGKILL, gate", **RECOVERED, holds={"fall.0.validate.done": HOLD}, meanwhile=kill_task("fall.0.validate.done")),
    Row("task marked failed, restore", **DEGRADED, holds={RESTORING: HOLD},
        meanwhile=mark_task(RESTORING, "primary.restore", "failed")),
    Row("task marked success, restore", **DEGRADED, holds={RESTORING: HOLD},
        meanwhile=mark_task(RESTORING, "primary.restore", "success")),
    Row("task marked success, gate", **DEGRADED, holds={GATING: HOLD}, meanwhile=mark_task(GATING, "primary.gate", "success")),
    Row("run marked failed, restore", "failed", "COULD_NOT_VERIFY", holds={RESTORING: HOLD},
        meanwhile=mark_run(RESTORING, "failed")),
    Row("run marked success, restore", "failed", "COULD_NOT_VERIFY", holds={RESTORING: HOLD},
        meanwhile=mark_run(RESTORING, "success")),
    Row("run marked failed, the sandbox is made later", "failed", "COULD_NOT_VERIFY",
        holds={"fall.0.provision.inside": HOLD}, meanwhile=late_creation),
    Row("the DAG's own limit, restore", "failed", "COULD_NOT_VERIFY", drill="timed", holds={"timed.0.restore.done": HOLD},
        meanwhile=time_out("timed.0.restore.done")),
    Row("the DAG's own limit, provision", "failed", "COULD_NOT_VERIFY", drill="timed", holds={"timed.0.provision.done": HOLD},
        meanwhile=time_out("timed.0.provision.done")),
    Row("scheduler killed and restarted, restore", **RECOVERED, holds={RESTORING: HOLD},
        meanwhile=restart_scheduler(RESTORING, with_tasks=False)),
    Row("scheduler, workers and tasks killed, restore", **RECOVERED, holds={"fall.0.restore.done": HOLD},
        meanwhile=restart_scheduler("fall.0.restore.done", with_tasks=True)),
    Row("API server away, restore", **RECOVERED, holds={RESTORING: HOLD}, meanwhile=api_server_away(RESTORING)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_whatever_breaks(scene: Scene, row: Row) -> None:
    for place, what in row.holds.items():
        scene.holds.set(place, what)
    conf: dict[str, Any] = {"inject": row.inject} if row.inject != "none" else {}
    dag_run = scene.trigger(row.drill, **conf)
    if row.meanwhile is not None:
        row.meanwhile(scene, row.drill, dag_run)
    state = scene.cluster.await_end(row.drill, dag_run)
    for place in row.holds:
        scene.holds.let_go(place)
    if row.drill == "timed":
        assert scene.reap() == "success"
    run = scene.run(row.drill, dag_run)
    assert run is not None
    tasks = scene.cluster.tasks(row.drill, dag_run)
    assert (state, run.outcome, scene.proved(row.drill, dag_run)) == (row.state, row.outcome, [row.tier] if row.tier else []), (
        tasks,
        (run.record or {}).get("reasons"),
    )
