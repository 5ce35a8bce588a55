"""Scans in the store: what is kept, and what isn't worth it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_dr_provider.errors import StateError
from airflow_dr_provider.state.records import Owner
from airflow_dr_provider.state.scans import KEPT, REPEATS_KEPT, RunSpan, Scan, Scans
from airflow_dr_provider.state.store import Store

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def scan(at: datetime = NOW, digest: str = "same", **changes: Any) -> Scan:
    values: dict[str, Any] = {
        "id": f"orders@{at.isoformat()}", "drill": "orders", "at": at, "conclusive": True, "repository": "basebackup:/b",
        "restorable": {"lsn": "0/5000000"}, "holes": [], "findings": [{"signature": "WAL_HOLE"}], "notes": ["n"],
        "memory": {"watched_since": "x"}, "digest": digest, **changes,
    }  # fmt: skip
    return Scan(**values)


def kept(store: Store) -> list[datetime]:
    with store._reading() as connection:
        rows = connection.exec_driver_sql("SELECT at FROM dr_scans ORDER BY at").all()
    return [datetime.fromisoformat(row[0]) for row in rows]


def test_it_reads_back(store: Store) -> None:
    scans = Scans(store)
    unread = scan(NOW + QUARTER, conclusive=False, repository=None, restorable=None)
    for one in (scan(), unread):
        scans.keep(one)
        assert scans.scan(one.id) == one
        assert scans.latest("orders") == one
    assert scans.latest("billing") is None


def test_the_same_twice_is_kept_once(store: Store) -> None:
    Scans(store).keep(scan())
    Scans(store).keep(scan(digest="other"))
    assert Scans(store).scan(scan().id).digest == "same"


def test_one_that_is_not_there(store: Store) -> None:
    with pytest.raises(StateError, match="AIRFLOW_DR_STATE"):
        Scans(store).scan("orders@never")


def test_of_those_that_say_the_same_the_first_and_the_last_stay(store: Store) -> None:
    times = [NOW + QUARTER * number for number in range(8)]
    for number, at in enumerate(times):
        Scans(store).keep(scan(at, "hole" if 3 <= number <= 5 else "same"))
    assert kept(store) == times, "for a day every one"
    later = times[-1] + REPEATS_KEPT + timedelta(seconds=1)
    Scans(store).keep(scan(later))
    assert kept(store) == [times[0], times[2], times[3], times[5], times[6], later]


def test_nothing_is_kept_for_ever(store: Store) -> None:
    Scans(store).keep(scan())
    Scans(store).keep(scan(NOW, drill="billing", id="billing@1"))
    later = NOW + KEPT + QUARTER
    Scans(store).keep(scan(later))
    assert kept(store) == [NOW, later], "another drill's stays"


def test_runs_without_their_records(store: Store) -> None:
    owner = Owner(kind="runner", name="host")
    for number in range(4):
        store.open_run(
            run_id=f"run-{number}", drill="orders", spec_digest="d", spec={}, owner=owner, trigger="test", as_of=None,
            now=NOW + QUARTER * number, overlap=True,
        )  # fmt: skip
        if number:
            store.close_run(f"run-{number}", outcome="RECOVERED", exit_code=0, record={}, now=NOW + QUARTER * (number + 1))
    found = Scans(store).runs("orders", since=NOW + QUARTER * 2)
    assert [run.id for run in found] == ["run-0", "run-2", "run-3"]
    assert found[1] == RunSpan(id="run-2", opened_at=NOW + QUARTER * 2, closed_at=NOW + QUARTER * 3, outcome="RECOVERED")
    assert [run.id for run in Scans(store).runs("orders", since=None)] == ["run-0"]
    assert Scans(store).runs("billing", since=NOW) == ()
