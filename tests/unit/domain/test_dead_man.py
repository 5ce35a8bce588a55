"""A drill that should have run and did not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.dead_man import CLOCKS, PROOFS, Duty, KnownRun, debts
from tests.unit.domain.builders import NOON

DAY = timedelta(days=1)
DUE = tuple(NOON - timedelta(hours=1) - DAY * back for back in range(PROOFS + 1))
LONG_AGO = NOON - DAY * 30


def duty(**changes: object) -> Duty:
    values: dict[str, object] = {"due": DUE, "watched_since": LONG_AGO, "patience_seconds": 12 * 3600.0}
    return Duty(**{**values, **changes})


def ran(back: int, outcome: str | None = "RECOVERED", *, late: timedelta = timedelta(seconds=5)) -> KnownRun:
    """The run of the time that lies so many days back; None for one under way."""
    begun = DUE[back] + late
    ended = None if outcome is None else begun + timedelta(minutes=5)
    return KnownRun(id=f"run-{back}", opened_at=begun, closed_at=ended, outcome=outcome)


def owed(*runs: KnownRun, **changes: object) -> list[str]:
    return [debt.signature for debt in debts(duty(**changes), runs, NOON)]


def test_a_drill_that_ran_owes_nothing() -> None:
    assert owed(*(ran(back) for back in range(PROOFS))) == []


def test_one_that_did_not_begin_is_missed() -> None:
    (debt,) = debts(duty(), [ran(back) for back in range(1, PROOFS + 1)], NOON)
    assert debt.signature == "DRILL_MISSED"
    assert DUE[0].isoformat() in debt.detail
    assert ran(1).opened_at.isoformat() in debt.detail
    assert "paused" in debt.detail


def test_one_that_never_began_is_missed() -> None:
    assert owed() == ["DRILL_MISSED"]


@pytest.mark.parametrize(("late", "found"), [(-CLOCKS, []), (-CLOCKS - timedelta(seconds=1), ["DRILL_MISSED"])])
def test_clocks_may_differ_a_little(late: timedelta, found: list[str]) -> None:
    assert owed(ran(0, late=late)) == found


def test_a_run_that_a_blackout_held_back_was_not_missed_and_proves_nothing() -> None:
    assert owed(ran(0, "SKIPPED"), *(ran(back) for back in range(1, PROOFS))) == []
    assert owed(*(ran(back, "SKIPPED") for back in range(PROOFS))) == []
    assert owed(ran(0, "SKIPPED"), *(ran(back, "MANUAL_TRIAGE") for back in range(1, PROOFS))) == ["DRILL_UNPROVED"]


def test_a_drill_of_the_drill_is_none_that_was_due() -> None:
    """It pays no debt, it proves nothing; and one that never ends is in the way of the others like any."""
    drilled = ran(0).model_copy(update={"injected": ("heap_bytes@primary",)})
    assert owed(drilled) == ["DRILL_MISSED"]
    failed = [ran(back, "MANUAL_TRIAGE") for back in range(PROOFS)]
    assert owed(*failed, drilled) == ["DRILL_UNPROVED"]
    stuck = drilled.model_copy(update={"opened_at": DUE[-1], "closed_at": None, "outcome": None})
    assert owed(ran(0), stuck) == ["DRILL_STUCK"]


def test_without_a_schedule_nothing_is_due() -> None:
    assert owed(due=()) == []


def test_a_new_drill_is_not_late() -> None:
    """Nor one whose watch began after its time."""
    assert owed(watched_since=NOON) == []
    assert owed(watched_since=DUE[0] + timedelta(seconds=1)) == []
    assert owed(watched_since=DUE[0]) == ["DRILL_MISSED"]


def test_a_run_under_way_is_why_no_other_began() -> None:
    assert owed(ran(2), ran(1, None), patience_seconds=30 * 3600.0) == []


def test_until_it_is_stuck() -> None:
    (stuck, missed) = debts(duty(), [ran(2), ran(1, None)], NOON)
    assert (stuck.signature, missed.signature) == ("DRILL_STUCK", "DRILL_MISSED")
    assert "run-1" in stuck.detail


def test_a_run_by_hand_is_a_run_and_may_be_stuck_too() -> None:
    by_hand = KnownRun(id="hand", opened_at=NOON - DAY * 20)
    assert owed(by_hand, due=()) == ["DRILL_STUCK"]
    assert owed(KnownRun(id="hand", opened_at=NOON), due=()) == []


def test_runs_that_prove_nothing() -> None:
    failed = [ran(back, "MANUAL_TRIAGE") for back in range(PROOFS)]
    assert owed(*failed) == ["DRILL_UNPROVED"]
    assert owed(*failed[1:], ran(0, "RECOVERED_DEGRADED")) == []
    assert owed(*failed, watched_since=DUE[PROOFS - 2]) == []


def test_a_run_under_way_has_not_failed_yet() -> None:
    failed = [ran(back, "COULD_NOT_VERIFY") for back in range(1, PROOFS)]
    assert owed(ran(0, None), *failed, ran(PROOFS)) == []
    assert owed(ran(0, None), *failed, ran(PROOFS, "COULD_NOT_VERIFY")) == ["DRILL_UNPROVED"]


def test_a_run_that_takes_longer_than_its_turn_is_waited_for() -> None:
    often = tuple(NOON - timedelta(minutes=10) * back for back in range(3, 7))
    run = KnownRun(id="long", opened_at=NOON - timedelta(hours=1))
    assert owed(run, due=often) == []


@given(
    st.lists(st.tuples(st.integers(0, PROOFS), st.sampled_from(["RECOVERED", "MANUAL_TRIAGE", None])), max_size=8),
    st.integers(-1, PROOFS + 1),
)
def test_laws(history: list[tuple[int, str | None]], watched: int) -> None:
    """One more proved run never makes a debt; watching for longer never takes one away; missed and unproved exclude each other."""
    runs = [ran(back, outcome) for back, outcome in history]
    since = NOON - DAY * watched
    found = owed(*runs, watched_since=since)
    assert not {"DRILL_MISSED", "DRILL_UNPROVED"} <= set(found)
    assert set(owed(*runs, ran(0), watched_since=since)) <= set(found) - {"DRILL_MISSED", "DRILL_UNPROVED"}
    longer = owed(*runs, watched_since=since - DAY)
    if "DRILL_MISSED" in found:
        assert "DRILL_MISSED" in longer
