"""The chain fails at every stage of every tier in turn, once in Airflow and once in the runner."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_dr_provider.domain.verdicts import StageName
from tests.scenarios.conftest import TIERS, Ended, Stage
from tests.scenarios.faulty import Fault, faults

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]

# What fails at each stage, and whether another attempt of the last tier is worth a try after it: only where another backup
# may serve, which is what a fault of the backup says and a fault of the tier's own does not.
SIGNATURES = {
    StageName.SELECT: "REPOSITORY_UNREACHABLE",
    StageName.RESERVE: "SANDBOX_FAILED",
    StageName.PROVISION: "DISK_FULL",
    StageName.RESTORE: "BACKUP_UNREADABLE",
    StageName.WARM: "SANDBOX_FAILED",
    StageName.VALIDATE: "SERVER_DIED",
}
GROUPS = (*TIERS, "cold_2")
STATES = ("primary", "secondary", "cold", "cold#2")
TASK = {stage: "gate" if stage is StageName.VALIDATE else stage.value for stage in StageName}


def test_nothing_fails(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "airflow").mkdir()
    (place / "runner").mkdir()
    airflow = stage.by_airflow(place / "airflow", monkeypatch)
    runner = stage.by_runner(place / "runner")
    assert airflow.log == runner.log
    for ended in (airflow, runner):
        assert (ended.record["outcome"], ended.record["tier"], ended.record["backup"]) == ("RECOVERED", "primary", "second")
        assert ended.moves == [("start", "primary", "opened"), ("primary", "recovered", "passed")]
        assert ended.left == []
    assert airflow.state == "success"
    assert {task for task, state in airflow.tasks.items() if state == "success"} == {
        "start", "route_start", "primary.enter", "primary.select", "primary.reserve", "primary.provision", "primary.restore",
        "primary.warm", "primary.gate", "primary.teardown", "route_primary", "report", "proved", "verdict",
    }  # fmt: skip
    assert set(airflow.tasks.values()) == {"success", "skipped"}


@pytest.mark.parametrize("tier", range(3), ids=TIERS)
@pytest.mark.parametrize("at", list(StageName), ids=lambda name: name.value)
def test_a_failure(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, tier: int, at: StageName) -> None:
    """The tiers above fail for want of room, which says nothing against the backup; then this one fails at this stage."""
    wanted = [*(Fault(above, StageName.PROVISION) for above in range(tier)), Fault(tier, at)]
    ends: list[Ended] = []
    for face in ("airflow", "runner"):
        (place / face).mkdir()
        with faults(*wanted) as struck:
            ends.append(stage.by_airflow(place / face, monkeypatch) if face == "airflow" else stage.by_runner(place / face))
        assert list(dict.fromkeys(struck)) == wanted
    airflow, runner = ends
    answers = [row for row in airflow.log if row[0] == "manual_triage"]
    assert [row for row in airflow.log if row not in answers] == runner.log
    for ended in ends:
        check_the_end(ended, tier, at)
    check_the_tasks(airflow, tier, at)
    assert bool(answers) is (airflow.record["outcome"] == "MANUAL_TRIAGE")


def last_rung(tier: int, at: StageName) -> int | None:
    """The attempt that recovers, None when none does."""
    if at is StageName.TEARDOWN:
        return tier
    if tier < len(TIERS) - 1:
        return tier + 1
    return tier + 1 if at is StageName.RESTORE else None


def check_the_end(ended: Ended, tier: int, at: StageName) -> None:
    carried = last_rung(tier, at)
    expected = [("start", "primary", "opened")]
    expected += [(STATES[above], STATES[above + 1], "DISK_FULL") for above in range(tier)]
    if at is not StageName.TEARDOWN and carried is not None:
        expected.append((STATES[tier], STATES[carried], SIGNATURES[at]))
    if carried is not None:
        expected.append((STATES[carried], "recovered", "passed"))
        first = carried == 0
        assert ended.record["outcome"] == ("RECOVERED" if first else "RECOVERED_DEGRADED")
        assert ended.record["exit_code"] == (0 if first else 3)
        assert ended.record["tier"] == TIERS[min(carried, 2)]
        assert ended.record["backup"] == ("first" if at is StageName.RESTORE else "second")
    else:
        expected.append((STATES[tier], "manual_triage", SIGNATURES[at]))
        assert (ended.record["outcome"], ended.record["exit_code"]) == ("MANUAL_TRIAGE", 1)
    assert ended.moves == expected
    assert ended.record["leftovers"] == []
    assert ended.left == []


def check_the_tasks(ended: Ended, tier: int, at: StageName) -> None:
    carried = last_rung(tier, at)
    assert ended.state == ("failed" if carried is None else "success")
    assert ended.tasks[f"{GROUPS[tier]}.{TASK[at]}"] == "failed"
    assert ended.tasks["verdict"] == ("failed" if carried is None else "success")
    assert ended.tasks["report"] == "success"
    assert ended.tasks["triage"] == ("success" if carried is None else "skipped")
    reached = tier if carried is None else carried
    for index, name in enumerate(GROUPS):
        states = {state for task, state in ended.tasks.items() if task.startswith(f"{name}.")}
        router = ended.tasks[f"route_{name}"]
        if index > reached:
            assert (states, router) == ({"skipped"}, "skipped")
        else:
            assert router == "success"
            torn_down = ended.tasks[f"{name}.teardown"]
            if index == tier:
                never_made = at in (StageName.SELECT, StageName.RESERVE)
                assert torn_down == ("failed" if at is StageName.TEARDOWN else "upstream_failed" if never_made else "success")
            else:
                assert torn_down == "success"
