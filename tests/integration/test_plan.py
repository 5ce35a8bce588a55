"""``airflow-dr plan`` on a real repository: what is wrong is named, and ``airflow-dr run`` chooses what the plan said."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_dr_provider.demo.production import DemoProduction, flip_byte
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.postgresql.command import environment
from tests.support.drills import Bench, Repository

pytestmark = pytest.mark.postgres

COLD = "  - {name: cold, role: cold_storage, sandbox: {kind: process}, timeout: 5m, profile: light, rpo: 1d}"


def candidates(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {found["id"]: found for found in plan["candidates"]}


def reasons(plan: dict[str, Any]) -> dict[str, list[str]]:
    return {name: found["reasons"] for name, found in candidates(plan).items()}


def chosen(plan: dict[str, Any]) -> dict[str, str | None]:
    return {tier["name"]: tier["candidate"] for tier in plan["tiers"]}


def attempts(record: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(attempt["tier"], attempt["candidate"]) for attempt in record["attempts"]]


def acknowledge(bench: Bench, first: str, last: str) -> None:
    """Write into the spec that a hole is known."""
    known = f"selection: {{acknowledged: [{{first: '{first}', last: '{last}', reason: the disk of March}}]}}\n"
    bench.spec.write_text(bench.spec.read_text() + known)


def wal_holes(record: dict[str, Any]) -> list[str]:
    return [finding["detail"] for finding in record["findings"] if finding["signature"] == "WAL_HOLE"]


# -- sound -----------------------------------------------------------------------------------------------------------------
def test_a_sound_repository(bench: Bench) -> None:
    before = sorted(path.name for path in bench.folder.rglob("*"))
    plan = bench.plan()
    assert sorted(path.name for path in bench.folder.rglob("*")) == before  # nothing is made, no store either
    assert (plan["exit_code"], plan["drill"], plan["holes"]) == (0, "orders", [])
    assert datetime.fromisoformat(plan["as_of"]) == bench.disaster
    assert list(candidates(plan)) == ["third", "second", "first"]
    # What is archived last, not what was when the scene was made: a production that idles archives, too.
    last = max(path.name for path in bench.archive.iterdir() if len(path.name) == 24)
    end = str(Lsn((int(last[16:], 16) + 1) << 24))
    for found in plan["candidates"]:
        assert found["eligible"]
        assert found["reasons"] == []
        assert found["score"] == sum(found["terms"].values())
        assert found["repository"] == "basebackup"
        assert (found["type"], found["timeline"]) == ("full", 1)
        assert (found["reachable"]["lsn"], found["reachable"]["time"]) == (end, None)
    assert plan["tiers"] == [
        {
            "name": "primary",
            "candidate": "third",
            "reason": "reaches_target",
            "detail": plan["tiers"][0]["detail"],
            "falls_back_to": "second",
        }
    ]
    assert not plan["target"]["exact"]
    assert any("no record was read" in note for note in plan["notes"])
    assert any("no state store" in note for note in plan["notes"])
    assert attempts(bench.run()) == [("primary", "third")]


def test_records_tell_the_target_that_a_run_aims_at(bench: Bench) -> None:
    plan, record = bench.plan("--records"), bench.run()
    assert plan["target"]["exact"]
    assert (plan["target"]["lsn"], plan["target"]["time"]) == (record["target"]["lsn"], record["target"]["time"])
    assert {found["reachable"]["time"] for found in plan["candidates"]} == {record["target"]["time"]}
    assert not any("record" in note for note in plan["notes"])


@pytest.mark.parametrize("kind", ["time", "xid", "restore_point", "lsn"])
def test_other_targets(bench: Bench, repository: Repository, kind: str) -> None:
    values = {
        "time": repository.facts["before_last"].isoformat(),
        "xid": repository.facts["xid"],
        "restore_point": "before_the_mistake",
        "lsn": bench.plan("--records")["target"]["lsn"],
    }
    bench.write(target=f'{{{kind}: "{values[kind]}"}}')
    plan = bench.plan()
    assert plan["target"]["kind"] == kind
    assert plan["target"]["exact"] == (kind != "lsn")
    assert any("so they were" in note for note in plan["notes"]) == (kind != "lsn")
    assert chosen(plan) == {"primary": "third"}
    if kind in ("time", "lsn"):
        record = bench.run()
        assert (plan["target"]["lsn"], "third") == (record["target"]["lsn"], record["backup"])


def test_an_older_position_is_reached_from_the_backup_before_it(bench: Bench, repository: Repository) -> None:
    bench.write(target=f'{{lsn: "0/{repository.facts["filler_after_second"][16:].lstrip("0")}000100"}}')
    plan = bench.plan()
    assert chosen(plan) == {"primary": "second"}
    assert reasons(plan) == {"second": [], "first": [], "third": ["after_target"]}
    assert attempts(bench.run()) == [("primary", "second")]


@pytest.mark.parametrize("target", ['{time: "2001-01-01T00:00:00+00:00"}', '{lsn: "FF/0"}', "{restore_point: never_made}"])
def test_a_target_that_nothing_reaches(bench: Bench, target: str) -> None:
    bench.write(target=target)
    plan = bench.plan()
    assert (plan["exit_code"], plan["target"]["lsn"]) == (1, None)
    assert [(tier["candidate"], tier["reason"]) for tier in plan["tiers"]] == [(None, "TARGET_UNREACHABLE")]
    assert "can't be reached" in plan["tiers"][0]["detail"]
    assert all(found["reasons"] and not found["eligible"] for found in plan["candidates"])
    assert all(found["reachable"]["lsn"] for found in plan["candidates"])


# -- something is wrong ------------------------------------------------------------------------------------------------------
def test_a_hole_is_named_and_can_be_acknowledged(bench: Bench, repository: Repository) -> None:
    missing = repository.facts["filler_after_second"]
    (bench.archive / missing).unlink()
    plan = bench.plan()
    hole = {"timeline": 1, "first": missing, "last": missing}
    assert plan["holes"] == [{**hole, "on_path": True, "acknowledged": None, "open": [hole]}]
    found = candidates(plan)
    assert found["third"]["reachable"]["hole"] is None
    for name in ("first", "second"):
        assert found[name]["reachable"]["hole"] == hole
        assert Lsn(found[name]["reachable"]["lsn"]) == int(missing[16:], 16) << 24
        assert found[name]["short"]
    assert chosen(plan) == {"primary": "third"}
    acknowledge(bench, missing, missing)
    assert bench.plan()["holes"] == [{**hole, "on_path": True, "acknowledged": "the disk of March", "open": []}]
    record = bench.run()
    assert (attempts(record), wal_holes(record)) == ([("primary", "third")], [])


def test_a_hole_that_grew_is_a_finding_again(bench: Bench, repository: Repository) -> None:
    known, more = repository.facts["segment_after_second"], repository.facts["filler_after_second"]
    assert int(more, 16) == int(known, 16) + 1
    for name in (known, more):
        (bench.archive / name).unlink()
    acknowledge(bench, known, known)
    (hole,) = bench.plan()["holes"]
    assert (hole["first"], hole["last"], hole["acknowledged"]) == (known, more, None)
    assert hole["open"] == [{"timeline": 1, "first": more, "last": more}]


def test_a_hole_that_no_backup_gets_over_ends_the_way(bench: Bench, repository: Repository) -> None:
    missing = repository.facts["filler_after_third"]
    (bench.archive / missing).unlink()
    plan, exact = bench.plan(), bench.plan("--records")
    assert plan["exit_code"] == exact["exit_code"] == 0
    assert "hole" in plan["target"]["note"]
    record = bench.run()
    assert exact["target"]["lsn"] == record["target"]["lsn"]
    assert chosen(plan) == chosen(exact) == {"primary": record["backup"]} == {"primary": "third"}


def test_a_damaged_manifest_is_a_reason(bench: Bench) -> None:
    flip_byte(bench.backups / "third" / "backup_manifest")
    plan = bench.plan()
    assert reasons(plan) == {"second": [], "first": [], "third": ["manifest_damaged"]}
    assert "manifest" in candidates(plan)["third"]["details"]["manifest_damaged"]
    assert chosen(plan) == {"primary": "second"}
    assert attempts(bench.run()) == [("primary", "second")]


def test_another_clusters_backup_is_a_reason(bench: Bench, place: Path) -> None:
    with DemoProduction(place) as stranger:
        stranger.create(schema="")
        shutil.copytree(stranger.backup("stranger"), bench.backups / "stranger", symlinks=True)
    plan = bench.plan()
    assert reasons(plan)["stranger"][0] == "other_system"
    assert plan["holes"] == []
    assert chosen(plan) == {"primary": "third"}
    assert attempts(bench.run()) == [("primary", "third")]


def test_a_fork_bars_what_lies_behind_it(bench: Bench, repository: Repository) -> None:
    with forked(bench, repository, repository.facts["filler_after_second"]) as last:
        pass
    plan = bench.plan()
    assert plan["target"]["timeline"] == 2
    assert reasons(plan) == {"second": [], "first": [], "third": ["wrong_timeline"]}
    found = candidates(plan)
    assert found["second"]["reachable"]["lsn"] == str(Lsn((int(last[16:], 16) + 1) << 24))
    assert found["third"]["reachable"]["timeline"] == 1
    assert chosen(plan) == {"primary": "second"}
    record = bench.run()
    assert attempts(record) == [("primary", "second")]
    assert record["target"]["timeline"] == 2
    bench.write(target="{recover_to: latest, timeline: 1}")
    assert chosen(bench.plan()) == {"primary": "third"}


def test_a_hole_off_the_way_is_said_to_be_off_it(bench: Bench, repository: Repository) -> None:
    with forked(bench, repository, repository.facts["filler_after_second"]):
        pass
    missing = repository.facts["segment_after_third"]
    (bench.archive / missing).unlink()
    (hole,) = bench.plan()["holes"]
    assert (hole["timeline"], hole["first"], hole["last"], hole["on_path"]) == (1, missing, missing, False)
    bench.write(target="{recover_to: latest, timeline: 1}")
    assert [hole["on_path"] for hole in bench.plan()["holes"]] == [True]


@contextmanager
def forked(bench: Bench, repository: Repository, segment: str) -> Iterator[str]:
    """Recover the second backup up to a segment's beginning, promote it, and archive what it writes; the last segment."""
    production = repository.production
    data = bench.folder / "fork"
    subprocess.run(["cp", "-a", str(bench.backups / "second"), str(data)], check=True)
    settings = {
        "restore_command": f'cp "{bench.archive}/%f" "%p"',
        "archive_command": f'test ! -f "{bench.archive}/%f" && cp "%p" "{bench.archive}/%f"',
        "unix_socket_directories": str(data),
        "recovery_target_lsn": f"0/{int(segment[16:], 16):X}000100",
        "recovery_target_action": "promote",
    }
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    (data / "recovery.signal").touch()
    production.account.own_tree(data)
    production.account.own(bench.archive)
    data.chmod(0o700)
    with (bench.folder / "fork.log").open("wb") as log:
        server = subprocess.Popen(
            [production.programs.path("postgres"), "-D", str(data)], stdout=log, stderr=log, env=environment(), cwd="/",
            **production.account.as_subprocess,
        )  # fmt: skip
    try:
        ask(data, production.port, "SELECT NOT pg_is_in_recovery()", server)
        ask(data, production.port, "SELECT txid_current() > 0", server)
        last = str(ask(data, production.port, "SELECT pg_walfile_name(pg_switch_wal())", server))
        ask(data, production.port, f"SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver", server)
        yield last
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(data)


def ask(data: Path, port: int, question: str, server: subprocess.Popen[bytes]) -> Any:
    """Ask until the answer isn't false."""
    deadline = time.monotonic() + 30
    while True:
        assert server.poll() is None
        assert time.monotonic() < deadline
        try:
            with psycopg.connect(host=str(data), port=port, user="postgres", dbname="postgres", autocommit=True) as connection:
                row = connection.execute(question.encode()).fetchone()
        except psycopg.OperationalError:
            row = None
        if row is not None and row[0]:
            return row[0]
        time.sleep(0.02)


# -- memory and bounds -------------------------------------------------------------------------------------------------------
def test_quarantine_is_remembered(bench: Bench) -> None:
    damage(bench, "third")
    assert chosen(bench.plan()) == {"primary": "third"}  # nothing is read, so nothing is known of it yet
    bench.run()
    plan = bench.plan()
    assert reasons(plan) == {"second": [], "first": [], "third": ["quarantined"]}
    assert "BACKUP_CHECKSUM_MISMATCH" in candidates(plan)["third"]["details"]["quarantined"]
    assert not any("no state store" in note for note in plan["notes"])
    assert chosen(plan) == {"primary": "second"}
    assert plan["tiers"][0]["falls_back_to"] == "first"
    assert attempts(bench.run()) == [("primary", "second")]
    elsewhere = bench.plan("--state", f"sqlite:///{bench.folder}/other.db")
    assert chosen(elsewhere) == {"primary": "third"}
    assert not (bench.folder / "other.db").exists()


def test_a_base_at_fault_is_quarantined_itself(place: Path) -> None:
    """And with it all that builds on it: nobody restores the next incremental of a damaged full one (TRAP 5)."""
    with DemoProduction(place) as production:
        production.create()
        production.backup("old")
        production.backup("base")
        for name in ("one", "two"):
            production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 7 FROM generate_series(1, 100) n")
            production.switch_wal()
            production.backup(name, incremental_from="base")
        production.switch_wal()
    bench = Bench(folder=place, disaster=datetime.now(UTC))
    bench.write()
    damage(bench, "base")
    record = bench.run()
    assert attempts(record) == [("primary", "two"), ("primary", "old")]
    plan = bench.plan()
    assert reasons(plan) == {name: ["quarantined"] for name in ("two", "one", "base")} | {"old": []}
    assert candidates(plan)["one"]["details"]["quarantined"].startswith("it builds on base, which is in quarantine")
    assert bench.left() == []


def test_an_incremental_at_fault_leaves_its_base_alone(place: Path) -> None:
    with DemoProduction(place) as production:
        production.create()
        production.backup("base")
        production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 7 FROM generate_series(1, 100) n")
        production.switch_wal()
        production.backup("middle", incremental_from="base")
        production.switch_wal()
        production.backup("top", incremental_from="middle")
        production.switch_wal()
    bench = Bench(folder=place, disaster=datetime.now(UTC))
    bench.write()
    damage(bench, "middle")
    assert attempts(bench.run()) == [("primary", "top"), ("primary", "base")]
    assert reasons(bench.plan()) == {"base": [], "top": ["quarantined"], "middle": ["quarantined"]}
    assert bench.left() == []


def damage(bench: Bench, backup: str) -> None:
    """Invert a byte in the biggest file of a backup's databases."""
    files = [path for path in (bench.backups / backup / "base").rglob("*") if path.is_file()]
    flip_byte(max(files, key=lambda path: (path.stat().st_size, path.name)))


def test_the_lookback_ends_the_choice(bench: Bench) -> None:
    later = bench.disaster + timedelta(days=8)
    bench.spec.write_text(bench.spec.read_text().replace("rpo: 1h", "rpo: 30d"))
    plan = bench.plan(as_of=later)
    assert plan["exit_code"] == 1
    assert set(map(tuple, reasons(plan).values())) == {("outside_lookback",)}
    assert [(tier["candidate"], tier["reason"]) for tier in plan["tiers"]] == [(None, "NO_CANDIDATE")]
    record = bench.run(as_of=later)
    assert [attempt["signature"] for attempt in record["attempts"]] == ["NO_CANDIDATE"]
    bench.spec.write_text(bench.spec.read_text() + "selection: {lookback: 9d}\n")
    assert chosen(bench.plan(as_of=later)) == {"primary": "third"}


def test_each_tier_has_its_own_rpo(bench: Bench) -> None:
    bench.write(more=COLD)
    later = bench.disaster + timedelta(hours=2)
    plan = bench.plan("--records", as_of=later)
    assert chosen(plan) == {"primary": None, "cold": "third"}
    assert plan["tiers"][0]["reason"] == "RPO_EXCEEDED"
    third = candidates(plan)["third"]
    assert third["eligible"]
    assert third["tiers"] == {"primary": ["rpo_exceeded"], "cold": []}
    assert attempts(bench.run(as_of=later)) == [("primary", None), ("cold", "third")]


def test_a_hole_long_ago_breaches_the_rpo_without_a_record_read(bench: Bench, repository: Repository) -> None:
    (bench.archive / repository.facts["filler_after_second"]).unlink()
    soon, later = bench.plan(), bench.plan(as_of=bench.disaster + timedelta(hours=2))
    assert soon["tiers"][0]["falls_back_to"] == "second"
    assert later["tiers"][0]["falls_back_to"] is None
    assert reasons(later)["second"] == ["wal_hole_before_target", "rpo_exceeded"]


def test_the_moment_of_the_disaster_bounds_latest(place: Path) -> None:
    with DemoProduction(place) as production:
        production.create()
        production.backup("before")
        production.beat()
        moment = next_second(production)
        next_second(production)
        production.beat()
        production.backup("after")
        production.switch_wal()
    bench = Bench(folder=place, disaster=moment)
    bench.write()
    exact, estimate, record = bench.plan("--records"), bench.plan(), bench.run()
    assert "after_moment" in reasons(exact)["after"]
    assert chosen(exact) == chosen(estimate) == {"primary": record["backup"]} == {"primary": "before"}
    assert exact["target"]["lsn"] == record["target"]["lsn"]
    assert Lsn(record["target"]["lsn"]) <= Lsn(estimate["target"]["lsn"])
    assert chosen(bench.plan(as_of=datetime.now(UTC))) == {"primary": "after"}
    assert bench.left() == []


def next_second(production: DemoProduction) -> datetime:
    """Wait until the clock shows another second, which is as exactly as a backup tells when it ended."""
    clock = "SELECT clock_timestamp()"
    begun: datetime = production.sql(clock)[0][0]
    while (now := production.sql(clock)[0][0]).replace(microsecond=0) == begun.replace(microsecond=0):
        time.sleep(0.02)
    return now


# -- what can't be said ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss", ["backups", "archive", "spec", "state", "moment"])
def test_what_can_not_be_said(bench: Bench, loss: str) -> None:
    arguments: tuple[str, ...] = ()
    if loss in ("backups", "archive"):
        (bench.folder / loss).rename(bench.folder / "elsewhere")
    elif loss == "spec":
        bench.spec.write_text(bench.spec.read_text().replace("timeout:", "timeuot:"))
    elif loss == "state":
        arguments = ("--state", "postgresql://nobody:secret@127.0.0.1:1/nothing")
    else:
        arguments = ("--as-of", "yesterday")
    done = bench.call("plan", str(bench.spec), "--json", *arguments)
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"], document["outcome"]) == (2, 2, "COULD_NOT_VERIFY")
    assert document["error"]["message"]
    assert "secret" not in done.stdout + done.stderr
    plain = bench.call("plan", str(bench.spec), *arguments)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr.startswith("airflow-dr: ")


# -- for a person --------------------------------------------------------------------------------------------------------------
def test_the_table_fits_a_terminal(bench: Bench, repository: Repository) -> None:
    missing = repository.facts["filler_after_second"]
    (bench.archive / missing).unlink()
    (bench.backups / "first" / "backup_manifest").unlink()
    done = bench.call("plan", str(bench.spec), "--records", "--as-of", bench.disaster.isoformat())
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert f"{missing}" in done.stdout
    assert "on the way to the target; stops second" in done.stdout
    assert "it has no manifest" in " ".join(done.stdout.split())
    assert "\x1b" not in done.stdout
