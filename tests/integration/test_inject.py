"""Drilling the drill: what is injected strikes the run's own copy, is noticed, and counts for nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_dr_provider.domain.fault_list import FAULTS
from airflow_dr_provider.state.scans import Scans
from tests.support.drills import SECOND_TIER, Bench

pytestmark = pytest.mark.postgres


def digests(folder: Path) -> dict[str, str]:
    """What every file of a folder holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_list_is_printed(bench: Bench) -> None:
    listed = bench.call("inject", "--list").stdout
    assert all(name in listed for name in FAULTS)
    faults = json.loads(bench.call("inject", "--list", "--json").stdout)
    assert {fault["name"]: tuple(fault["signatures"]) for fault in faults} == {
        name: fault.signatures for name, fault in FAULTS.items()
    }
    assert bench.call("inject").returncode == 2


@pytest.mark.parametrize("asked", ["heap_byte", "heap_bytes@tertiary"])
def test_what_is_not_known_opens_no_run(bench: Bench, asked: str) -> None:
    document = bench.run("--inject", asked)
    assert (document["exit_code"], document["error"]["signature"]) == (2, "INJECTION_REFUSED")
    store = bench.store()
    assert store.runs() == ()
    store.close()


def test_a_drill_of_the_drill_counts_for_nothing(bench: Bench) -> None:
    """The copy is damaged and the damage found; repository, quarantine, references, baselines and switch know nothing of it."""
    bench.write(profile="full", more=SECOND_TIER)
    before = digests(bench.backups) | digests(bench.archive)
    document = bench.run("--inject", "heap_bytes", "--inject", "wal_damaged@secondary")
    assert digests(bench.backups) | digests(bench.archive) == before
    assert (document["outcome"], document["exit_code"]) == ("RECOVERED_DEGRADED", 3)
    first, second = document["injected"]
    assert (first["fault"], first["signature"], first["as_expected"]) == ("heap_bytes", "DATA_CORRUPT", True)
    assert (second["fault"], second["signature"], second["as_expected"]) == ("wal_damaged", "RECOVERY_ENDED_EARLY", True)
    assert "as expected" in bench.call("show", document["run_id"]).stdout
    log = [(entry["from"], entry["to"], entry["reason"]) for entry in document["log"]]
    assert ("primary/inject", "heap_bytes", "INJECTED") in log
    assert log.index(("primary/inject", "heap_bytes", "INJECTED")) < log.index(("primary/restore", "PASSED", "passed"))
    store = bench.store()
    (run,) = store.runs()
    assert run.injected == ("heap_bytes@primary", "wal_damaged@secondary")
    assert store.broken_link(run.id) is None
    assert store.measurements(run.id) == ()
    assert store.latest_reference("orders", "last_good_run") is None
    assert store.quarantined(run.inputs["repository"]) == ()
    (span,) = Scans(store).runs("orders", since=run.opened_at - timedelta(hours=1))
    assert span.injected == run.injected
    store.close()
    assert "drill of the drill: heap_bytes@primary" in bench.call("runs").stdout
    # The next drill is an ordinary one: it takes the newest backup, and is kept as a reference.
    document = bench.run()
    assert (document["outcome"], document["backup"], document["injected"]) == ("RECOVERED", "third", [])
    assert "drill of the drill" not in bench.call("runs", "--limit", "1").stdout


def test_a_fault_that_no_check_looks_for_is_not_as_expected(bench: Bench) -> None:
    bench.write(profile="light")
    document = bench.run("--inject", "index_dropped")
    assert (document["outcome"], document["exit_code"]) == ("RECOVERED", 2)
    (found,) = document["injected"]
    assert (found["struck"], found["as_expected"]) == (True, False)
    assert "indexes finds it where the tier runs that" in found["detail"]


def test_damage_that_can_not_be_done_is_said(bench: Bench) -> None:
    bench.write(more=SECOND_TIER)
    bench.spec.write_text(bench.spec.read_text().replace("  heartbeat: {table: public.dr_heartbeat, column: beat_at}\n", ""))
    document = bench.run("--inject", "heartbeat_old")
    assert (document["attempts"][0]["signature"], document["exit_code"]) == ("INJECTION_REFUSED", 2)
    assert "the spec names no heartbeat" in document["attempts"][0]["detail"]


@pytest.mark.parametrize("fault", ["teardown_fails", "provision_fails", "disk_full"])
def test_what_is_around_the_copy_is_given_back(bench: Bench, fault: str) -> None:
    bench.write(more=SECOND_TIER)
    document = bench.run("--inject", fault)
    assert document["injected"][0]["as_expected"], document["injected"]
    assert document["leftovers"] == []
    assert bench.left() == []


def test_a_killed_run_goes_on_and_strikes_once(bench: Bench) -> None:
    """The same command with the same faults is the same run; without them it is another one."""
    bench.write(profile="full", more=SECOND_TIER)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killing", str(bench.spec), bench.disaster.isoformat(), "restore", "after",
         "heap_bytes"],
        env=bench.env(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode < 0, done.stderr
    store = bench.store()
    (run,) = store.unfinished_runs("orders")
    document = bench.run("--inject", "heap_bytes")
    assert (document["run_id"], document["injected"][0]["as_expected"]) == (run.id, True)
    assert [entry["reason"] for entry in document["log"]].count("INJECTED") == 1
    store.close()


def test_the_run_without_the_fault_is_another_one(bench: Bench) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killing", str(bench.spec), bench.disaster.isoformat(), "restore", "after",
         "index_dropped"],
        env=bench.env(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode < 0, done.stderr
    store = bench.store()
    (run,) = store.unfinished_runs("orders")
    document = bench.run()
    assert (document["outcome"], document["injected"]) == ("RECOVERED", [])
    assert document["run_id"] != run.id
    closed = store.run(run.id)
    assert closed is not None
    assert closed.outcome == "COULD_NOT_VERIFY"
    store.close()
