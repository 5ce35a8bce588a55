"""The store: what must not be done twice is not, whoever is faster, on either database."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.errors import StateError
from airflow_dr_provider.state import database
from airflow_dr_provider.state.durations import tier_seconds
from airflow_dr_provider.state.records import (
    KeptReference,
    Measurement,
    Owner,
    Quarantined,
    Resource,
    ResourceState,
    Run,
)
from airflow_dr_provider.state.store import Store
from airflow_dr_provider.state.tables import metadata

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
OWNER = Owner(kind="runner", name="host", boot="b", process=7, started=9)


def open_run(store: Store, run_id: str = "orders-1", **changes: Any) -> Run:
    options: dict[str, Any] = {
        "run_id": run_id, "drill": "orders", "spec_digest": "d", "spec": {"a": 1}, "owner": OWNER, "trigger": "test",
        "as_of": None, "now": NOW, **changes,
    }  # fmt: skip
    return store.open_run(**options)


def resource(name: str = "box", run_id: str = "orders-1") -> Resource:
    return Resource(
        name=name, run_id=run_id, attempt_id=f"{run_id}.0", kind="process", state=ResourceState.INTENDED, handle={"p": 1},
        settings={}, workdir="/w", intended_at=NOW, lease_until=NOW + timedelta(hours=1),
    )  # fmt: skip


def result(stage: StageName = StageName.SELECT, verdict: Verdict = Verdict.PASSED) -> StageResult:
    return StageResult(stage=stage, verdict=verdict, signature=None if verdict is Verdict.PASSED else "NO_CANDIDATE")


def test_a_run_from_its_opening_to_its_end(store: Store) -> None:
    opened = open_run(store, as_of=NOW - timedelta(hours=2))
    assert store.run("orders-1") == opened
    assert store.unfinished_runs("orders") == (opened,)
    kept = store.keep_inputs("orders-1", {"target": "x"})
    assert store.keep_inputs("orders-1", {"target": "y"}) == kept
    closed = store.close_run("orders-1", outcome="RECOVERED", exit_code=0, record={"r": 1}, now=NOW)
    assert store.close_run("orders-1", outcome="OTHER", exit_code=1, record={}, now=NOW) == closed
    assert (store.run("orders-1"), store.unfinished_runs("orders")) == (closed, ())
    assert closed.as_of == NOW - timedelta(hours=2)
    assert store.runs() == store.runs("orders") == (closed,)
    assert store.runs("other") == ()


def test_two_runs_of_a_drill_do_not_overlap(store: Store) -> None:
    open_run(store)
    with pytest.raises(StateError, match=r"orders-1.*process 7 on host") as caught:
        open_run(store, "orders-2")
    assert caught.value.code == "ALREADY_RUNNING"
    assert open_run(store, "orders-1").id == "orders-1"
    assert open_run(store, "other-1", drill="other").drill == "other"
    assert open_run(store, "orders-3", overlap=True).id == "orders-3"
    for run_id in ("orders-1", "orders-3"):
        store.close_run(run_id, outcome="RECOVERED", exit_code=0, record={}, now=NOW)
    assert open_run(store, "orders-4").id == "orders-4"


def test_one_of_many_wins(url: str) -> None:
    stores = [Store.open(url) for _ in range(6)]

    def attempt(number: int) -> bool:
        try:
            open_run(stores[number], f"orders-{number}")
        except StateError as error:
            assert error.code == "ALREADY_RUNNING"  # noqa: PT017 - the other threads' end
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1
    for store in stores:
        store.close()


def test_a_dead_owners_run_is_taken_over_once(store: Store) -> None:
    open_run(store)
    first, second = (Owner(kind="runner", name="host", process=number) for number in (1, 2))
    assert store.take_over("orders-1", first, expected=OWNER).owner == first
    with pytest.raises(StateError) as caught:
        store.take_over("orders-1", second, expected=OWNER)
    assert caught.value.code == "ALREADY_RUNNING"


def test_a_stage_is_finished_once(store: Store) -> None:
    open_run(store)
    attempt = store.open_attempt("orders-1", rung=0, tier="primary", number=1, now=NOW)
    assert store.open_attempt("orders-1", rung=0, tier="primary", number=1, now=NOW) == attempt
    numbers = (Measurement(run_id="orders-1", attempt_id=attempt.id, name="n", value=1.5, unit="s", at=NOW),)
    finish: dict[str, Any] = {"digest": "x", "result": result(), "started_at": NOW, "now": NOW, "measurements": numbers}
    done = store.finish_stage(attempt.id, candidate="sunday", **finish)
    assert store.finish_stage(attempt.id, candidate="monday", **finish) == done
    assert store.checkpoint(attempt.id, StageName.SELECT, "x") == done
    assert store.checkpoint(attempt.id, StageName.SELECT, "other inputs") is None
    assert store.attempts("orders-1")[0].candidate == "sunday"
    assert len(store.transitions("orders-1")) == 1
    assert store.measurements("orders-1") == numbers
    assert store.transitions("orders-1")[0].source == "primary/select"


def test_a_killed_process_leaves_a_stage_whole_or_undone(store: Store, url: str) -> None:
    open_run(store)
    attempt = store.open_attempt("orders-1", rung=0, tier="primary", number=1, now=NOW)
    code = f"""
import os, signal, sys
from tests.unit.state.test_store import *
from airflow_dr_provider.state import store as module
original = module._insert_measurements
def killed(*arguments):
    original(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
module._insert_measurements = killed
Store.open(sys.argv[1]).finish_stage({attempt.id!r}, digest="x", result=result(), started_at=NOW, now=NOW)
"""
    done = subprocess.run([sys.executable, "-c", code, url], check=False, env=dict(os.environ), capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert store.checkpoints(attempt.id) == ()
    assert store.transitions("orders-1") == ()
    store.finish_stage(attempt.id, digest="x", result=result(), started_at=NOW, now=NOW)
    assert len(store.checkpoints(attempt.id)) == len(store.transitions("orders-1")) == 1


def test_the_log_shows_what_was_changed(store: Store, url: str) -> None:
    open_run(store)
    for number in range(5):
        store.move("orders-1", source=f"s{number}", destination="d", reason="r", now=NOW)
    assert store.move("orders-1", source="s4", destination="d", reason="r", now=NOW).number == 5
    assert store.broken_link("orders-1") is None
    engine = database.connect(database.database_url(url))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE dr_transitions SET reason = 'better' WHERE number = 3"))
    assert store.broken_link("orders-1") == 3
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM dr_transitions WHERE number = 2"))
    assert store.broken_link("orders-1") == 2
    engine.dispose()


def test_many_writers_keep_the_log_chained(url: str) -> None:
    stores = [Store.open(url) for _ in range(4)]
    open_run(stores[0])

    def write(number: int) -> None:
        for step in range(5):
            stores[number].move("orders-1", source=f"{number}-{step}", destination="d", reason="r", now=NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [entry.number for entry in stores[0].transitions("orders-1")] == list(range(1, 21))
    assert stores[0].broken_link("orders-1") is None
    for store in stores:
        store.close()


def test_the_ledger(store: Store) -> None:
    intended = store.intend(resource())
    assert store.intend(resource()) == intended
    assert store.unreleased() == store.unreleased("orders-1") == (intended,)
    assert store.unreleased("other") == ()
    made = store.created("box", {"p": 2}, now=NOW)
    assert (made.state, made.handle, made.created_at) == (ResourceState.CREATED, {"p": 2}, NOW)
    assert store.extend_lease("box", NOW).lease_until == intended.lease_until
    assert store.extend_lease("box", NOW + timedelta(days=1)).lease_until == NOW + timedelta(days=1)
    gone = store.released("box", now=NOW)
    assert store.released("box", now=NOW + timedelta(1)) == gone == store.resource("box")
    assert store.unreleased() == ()
    with pytest.raises(StateError) as caught:
        store.created("box", {}, now=NOW)
    assert caught.value.code == "LEASE_EXPIRED"
    with pytest.raises(StateError, match="never reserved"):
        store.created("nothing", {}, now=NOW)


def test_quarantine(store: Store) -> None:
    entry = Quarantined(repository="r", backup_id="b", signature="S", detail="", run_id="orders-1", at=NOW)
    store.quarantine(entry)
    store.quarantine(entry.model_copy(update={"signature": "LATER"}))
    assert store.quarantined("r") == (entry,)
    assert store.quarantined("other") == ()
    assert store.lift_quarantine("r", "b", now=NOW) is True
    assert store.lift_quarantine("r", "b", now=NOW) is False
    assert store.quarantined("r") == ()
    store.quarantine(entry)
    assert store.quarantined("r") == (entry,)


def test_only_a_store_that_is_there_is_opened_for_a_look(url: str) -> None:
    assert Store.existing(url) is None
    assert Store.existing(url) is None  # the first look made nothing either
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        assert list(path.parent.iterdir()) == []
        path.touch()
        assert Store.existing(url) is None
        assert path.stat().st_size == 0
    made = Store.open(url)
    made.quarantine(Quarantined(repository="r", backup_id="b", signature="X", detail="", run_id="1", at=NOW))
    made.close()
    found = Store.existing(url)
    assert found is not None
    assert [entry.backup_id for entry in found.quarantined("r")] == ["b"]
    found.close()


def test_references(store: Store) -> None:
    for number, source in enumerate(("production", "production", "last_good_run")):
        store.keep_reference(
            KeptReference(
                id=f"k{number}",
                drill="orders",
                source=source,
                captured_at=NOW + timedelta(number),
                run_id=None,
                reference={"n": number},
            )
        )
    latest = store.latest_reference("orders", "production")
    assert latest is not None
    assert latest.reference == {"n": 1}
    assert store.reference("k1") == latest
    assert store.latest_reference("other", "production") is None


def test_migrations_make_what_the_tables_say(url: str) -> None:
    store = Store.open(url)
    Store.open(url).close()
    engine = database.connect(database.database_url(url))
    with engine.connect() as connection:
        ours = {table.name for table in metadata.sorted_tables}
        context = MigrationContext.configure(
            connection,
            opts={"include_object": lambda item, name, kind, *_: kind != "table" or name in ours, "compare_type": False},
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    store.close()


def test_many_processes_open_a_new_store_at_once(url: str) -> None:
    code = "import sys; from airflow_dr_provider.state.store import Store; Store.open(sys.argv[1]).runs()"
    processes = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()


def test_a_newer_schema_is_refused(url: str) -> None:
    Store.open(url).close()
    engine = database.connect(database.database_url(url))
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {database.VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StateError, match="9999"):
        Store.open(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:secret@127.0.0.1:1/none",
        "mysql://host/db",
        "nonsense",
        "sqlite:////proc/none/state.db",
        "postgresql://[bad",
    ],
)
def test_a_store_that_can_not_be_used(url: str) -> None:
    with pytest.raises(StateError) as caught:
        Store.open(url)
    assert caught.value.code == "STATE_UNREACHABLE"
    assert "secret" not in caught.value.message


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    place = tmp_path / "state.db"
    place.write_text("these are somebody's notes, and no database at all\n" * 50)
    before = place.read_bytes()
    with pytest.raises(StateError, match="database"):
        Store.open(f"sqlite:///{place}")
    assert place.read_bytes() == before


def test_a_new_file_is_private(tmp_path: Path) -> None:
    Store.open(f"sqlite:///{tmp_path}/below/state.db").close()
    assert (tmp_path / "below" / "state.db").stat().st_mode & 0o777 == 0o600


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(max_size=10),
        st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20), st.lists, max_leaves=5),
        max_size=5,
    )
)
def test_json_reads_back(tmp_path: Path, value: dict[str, Any]) -> None:
    if any("\x00" in text or any("\ud800" <= c <= "\udfff" for c in text) for text in [json.dumps(value, ensure_ascii=False)]):
        return
    store = Store.open(f"sqlite:///{tmp_path}/json.db")
    run_id = f"run-{abs(hash(json.dumps(value, sort_keys=True)))}"
    open_run(store, run_id, overlap=True, spec=value)
    assert store.run(run_id).spec == value  # type: ignore[union-attr]
    store.close()


def test_sqlite_waits_for_another_writer(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/state.db")
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(open_run, store)
        other.execute("COMMIT")
        assert opening.result(20).id == "orders-1"
    other.close()
    store.close()


def test_what_a_tier_took_when_it_carried_a_run(store: Store) -> None:
    """Only of runs that recovered, only of the attempt that carried them, teardown left out, newest first."""
    for number, (outcome, rungs) in enumerate([("RECOVERED", 1), ("RECOVERED_DEGRADED", 2), ("MANUAL_TRIAGE", 1)]):
        run_id = f"orders-{number}"
        open_run(store, run_id, now=NOW + timedelta(minutes=number))
        for rung in range(rungs):
            attempt = store.open_attempt(run_id, rung=rung, tier="primary", number=rung + 1, now=NOW)
            for stage in (StageName.SELECT, StageName.VALIDATE, StageName.TEARDOWN):
                seconds = Measurement(
                    run_id=run_id, attempt_id=attempt.id, name=f"{stage.value}.elapsed_seconds", value=10.0**number, unit="s",
                    at=NOW,
                )  # fmt: skip
                store.finish_stage(
                    attempt.id, digest="d", result=result(stage), started_at=NOW, now=NOW, measurements=(seconds,)
                )
        store.close_run(run_id, outcome=outcome, exit_code=0, record={}, now=NOW)
    assert tier_seconds(store, "orders", "primary") == (20.0, 2.0)
    assert tier_seconds(store, "orders", "primary", limit=1) == (20.0,)
    assert tier_seconds(store, "orders", "cold") == ()


def test_a_signature_is_told_once_with_its_first_and_last_time(store: Store) -> None:
    for number, drill in ((1, "orders"), (2, "billing"), (3, "orders")):
        run = open_run(store, f"run-{number}", drill=drill)
        now = NOW + timedelta(days=number)
        store.open_attempt(run.id, rung=0, tier="primary", number=1, now=now)
        failed = result(StageName.SELECT, Verdict.FAILED)
        store.finish_stage(f"{run.id}.0", digest="d", result=failed, started_at=now, now=now)
        store.move(
            run.id, source="primary", destination="manual_triage", reason="NO_CANDIDATE", signature="NO_CANDIDATE", now=now
        )
        store.close_run(run.id, outcome="MANUAL_TRIAGE", exit_code=1, record={}, now=now)
    run = open_run(store, "run-4")
    late = NOW + timedelta(days=9)
    store.move(
        run.id, source="start", destination="manual_triage", reason="TARGET_IN_FUTURE", signature="TARGET_IN_FUTURE", now=late
    )
    future, missing = store.signatures()
    assert (future.code, future.count, future.first_seen, future.last_seen) == ("TARGET_IN_FUTURE", 1, late, late)
    assert (missing.code, missing.count, missing.drills) == ("NO_CANDIDATE", 3, ("billing", "orders"))
    assert (missing.first_seen, missing.last_seen) == (NOW + timedelta(days=1), NOW + timedelta(days=3))
    (billing,) = store.signatures("billing")
    assert (billing.code, billing.count, billing.first_seen) == ("NO_CANDIDATE", 1, NOW + timedelta(days=2))
    assert store.signatures("unknown") == ()


def test_the_version_is_that_of_the_last_migration() -> None:
    """A store that is up to date is recognised by it, without loading Alembic."""
    folder = Path(database.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == database.HEAD
