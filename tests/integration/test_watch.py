"""The watch on a real repository: what is found by the very next scan, and what is left alone."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.watch import WatchReport
from airflow_dr_provider.spec.loader import load_spec
from airflow_dr_provider.stages import watch as watching
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.stages.watch import scan
from airflow_dr_provider.state.records import Owner
from tests.support.drills import Bench, Repository

pytestmark = pytest.mark.postgres

HOUR = timedelta(hours=1)


def watch(bench: Bench) -> tuple[int, dict[str, Any]]:
    """``airflow-dr watch --json``: its exit code and what it says of the one drill."""
    done = bench.call("watch", str(bench.spec), "--json")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    (document,) = json.loads(done.stdout)
    return done.returncode, document


@pytest.fixture
def services(bench: Bench) -> Iterator[Services]:
    """The ports of a scan, at the moment of the repository's making; tests move the clock."""
    store = bench.store()
    yield Services(store=store, workdir=bench.workdir, clock=lambda: bench.disaster)
    store.close()


def look(services: Services, bench: Bench, *, after: timedelta = timedelta()) -> WatchReport:
    """A scan so long after the repository was made."""
    later = replace(services, clock=lambda: bench.disaster + after)
    return asyncio.run(scan(later, load_spec(bench.spec), settling_seconds=0))[1]


def announced(services: Services, bench: Bench, *, by: str | None, after: timedelta = timedelta()) -> WatchReport:
    """A scan by a task run that announces new backups; by nobody that does."""
    later = replace(services, clock=lambda: bench.disaster + after)
    return asyncio.run(scan(later, load_spec(bench.spec), announcer=by, settling_seconds=0))[1]


def codes(report: WatchReport) -> list[str]:
    return [finding.signature for finding in report.findings]


def change(bench: Bench, old: str, new: str) -> None:
    """Another text in the spec."""
    text = bench.spec.read_text()
    assert old in text
    bench.spec.write_text(text.replace(old, new))


# -- the command -------------------------------------------------------------------------------------------------------
def test_a_healthy_repository(bench: Bench, repository: Repository) -> None:
    code, said = watch(bench)
    assert (code, said["findings"], said["holes"], said["notes"]) == (0, [], [], [])
    point = said["restorable"]
    assert point["backup"] == "third"
    last = int(repository.facts["last_segment"][16:], 16)
    assert point["lsn"] == f"0/{(last + 1) << 24:X}"
    # The last commit that is archived is the heartbeat, written just before the last segment was ended.
    committed = datetime.fromisoformat(point["time"])
    assert repository.facts["heartbeat"] <= committed <= repository.facts["heartbeat"] + timedelta(seconds=5)


def test_a_table_for_people(bench: Bench, repository: Repository) -> None:
    done = bench.call("watch", str(bench.spec))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("✓  orders")
    (bench.archive / repository.facts["segment_after_first"]).unlink()
    done = bench.call("watch", str(bench.spec))
    # The command's own exit code and words; what is found, and when, is told apart below.
    first, second, *_ = done.stdout.splitlines()
    assert (done.returncode, first[:9]) == (1, "✗  orders")
    assert "by third" in first
    assert "critical WAL_HOLE (new) archive: " in second


def test_what_can_not_be_told_is_2_and_hides_nothing(bench: Bench, repository: Repository) -> None:
    away = bench.folder / "away.yaml"
    away.write_text(bench.spec.read_text().replace("drill: orders", "drill: away").replace("./backups", "./nowhere"))
    (bench.folder / "bad.yaml").write_text("version: 1\n")
    done = bench.call("watch", str(bench.folder), "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 2
    assert [document["conclusive"] for document in said] == [False, False, True]
    assert said[0]["findings"][0]["code"] == "REPOSITORY_UNREACHABLE"
    assert said[1]["error"]["code"] == "SPEC_INVALID"
    assert said[2]["findings"] == []


def test_no_spec_at_all(bench: Bench, place: Path) -> None:
    done = bench.call("watch", str(place))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no spec" in done.stderr


# -- the archive -------------------------------------------------------------------------------------------------------
def test_a_hole_from_its_appearance_to_its_end(bench: Bench, services: Services, repository: Repository) -> None:
    lost, neighbour = repository.facts["segment_after_first"], repository.facts["filler_after_first"]
    assert codes(look(services, bench)) == []
    (bench.archive / lost).rename(bench.folder / lost)
    appeared = look(services, bench, after=HOUR * 0.1)
    assert codes(appeared) == ["WAL_HOLE"]
    assert lost in appeared.findings[0].detail
    assert appeared.restorable is not None
    assert appeared.restorable.backup == "third", "a newer backup gets over it"

    known = look(services, bench, after=HOUR * 0.2)
    assert [finding.since for finding in known.findings] == [appeared.at]

    change(bench, "tiers:", f"selection: {{acknowledged: [{{first: '{lost}', reason: the disk of May}}]}}\ntiers:")
    quiet = look(services, bench, after=HOUR * 0.3)
    assert (codes(quiet), [(hole.first, hole.acknowledged) for hole in quiet.holes]) == ([], [(lost, True)])

    (bench.archive / neighbour).rename(bench.folder / neighbour)
    grown = look(services, bench, after=HOUR * 0.4)
    assert (codes(grown), [grown.is_new(finding) for finding in grown.findings]) == (["WAL_HOLE"], [True])
    assert neighbour in grown.findings[0].detail
    assert lost not in grown.findings[0].detail

    for name in (lost, neighbour):
        (bench.folder / name).rename(bench.archive / name)
    mended = look(services, bench, after=HOUR * 0.5)
    assert (mended.findings, mended.holes) == ((), ())


def test_wal_on_its_way_is_looked_at_twice(
    bench: Bench, services: Services, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several workers may bring segments out of order; one that came in between is no hole."""
    late = repository.facts["filler_after_third"]
    (bench.archive / late).rename(bench.folder / late)
    waited: list[float] = []

    async def meanwhile(seconds: float) -> None:
        waited.append(seconds)
        (bench.folder / late).rename(bench.archive / late)

    monkeypatch.setattr(watching, "sleep", meanwhile)
    assert codes(look(services, bench)) == []
    assert waited == [0]
    look(services, bench, after=HOUR / 4)
    assert waited == [0], "nothing new, nothing to wait for"


def test_wal_that_is_gone_from_the_end(bench: Bench, services: Services, repository: Repository) -> None:
    before = look(services, bench)
    lost = repository.facts["last_segment"]
    (bench.archive / lost).rename(bench.folder / lost)
    report = look(services, bench, after=HOUR / 4)
    assert codes(report) == ["WAL_LOST"]
    assert lost in report.findings[0].detail
    assert before.restorable is not None
    assert report.restorable is not None
    assert report.restorable.lsn < before.restorable.lsn
    (bench.folder / lost).rename(bench.archive / lost)
    assert codes(look(services, bench, after=HOUR / 2)) == []


def test_a_segment_that_was_cut_short(bench: Bench, services: Services, repository: Repository) -> None:
    cut = bench.archive / repository.facts["segment_after_first"]
    cut.write_bytes(cut.read_bytes()[:5000])
    assert codes(look(services, bench)) == ["WAL_SEGMENT_DAMAGED"]


def test_archiving_that_stopped(bench: Bench, services: Services) -> None:
    assert codes(look(services, bench, after=HOUR * 0.9)) == []
    report = look(services, bench, after=HOUR * 1.1)
    assert codes(report) == ["ARCHIVE_STALLED"]
    change(bench, "  heartbeat: {table: public.dr_heartbeat, column: beat_at}\n", "")
    idle = look(services, bench, after=HOUR * 1.1)
    assert (codes(idle), len(idle.notes)) == ([], 1)


def test_a_time_that_the_end_does_not_tell_is_that_of_the_scan_before(
    bench: Bench, services: Services, repository: Repository
) -> None:
    """Segments without a commit are archived; the last commit is the one that is known."""
    first = look(services, bench)
    repository.production.switch_wal()
    empty = repository.production.switch_wal()
    for entry in repository.production.archive.iterdir():
        if len(entry.name) == 24 and not (bench.archive / entry.name).exists():
            shutil.copy2(entry, bench.archive / entry.name)
    second = look(services, bench, after=HOUR / 4)
    assert (bench.archive / empty).exists()
    assert first.restorable is not None
    assert second.restorable is not None
    assert second.restorable.lsn > first.restorable.lsn
    assert second.restorable.time == first.restorable.time


# -- backups -----------------------------------------------------------------------------------------------------------
def test_a_backup_that_was_spoiled(bench: Bench, services: Services) -> None:
    look(services, bench)
    (bench.backups / "third" / "backup_manifest").unlink()
    report = look(services, bench, after=HOUR / 4)
    assert codes(report) == ["BACKUP_SPOILED"]
    assert report.findings[0].subject == "backup third"
    assert report.restorable is not None
    assert report.restorable.backup == "second"


def test_no_backup_that_can_be_used(bench: Bench, services: Services) -> None:
    look(services, bench)
    for backup in bench.backups.iterdir():
        (backup / "backup_manifest").unlink()
    report = look(services, bench, after=HOUR / 4)
    assert "NOT_RESTORABLE" in codes(report)
    assert report.restorable is None
    shutil.rmtree(bench.backups)
    bench.backups.mkdir()
    emptied = look(services, bench, after=HOUR / 2)
    assert (codes(emptied), emptied.conclusive) == (["REPOSITORY_EMPTY"], True)


def test_backups_that_were_not_taken_any_more(bench: Bench, services: Services) -> None:
    change(bench, "rpo: 1h", "rpo: 30d")
    assert codes(look(services, bench, after=timedelta(days=3))) == []
    assert codes(look(services, bench, after=timedelta(days=4))) == ["BACKUP_OVERDUE"]
    assert codes(look(services, bench, after=timedelta(days=8))) == ["NOT_RESTORABLE"]


# -- the dead man's switch ---------------------------------------------------------------------------------------------
def test_a_drill_that_should_have_run(bench: Bench, services: Services) -> None:
    change(bench, "drill: orders\n", 'drill: orders\nschedule: "*/10 * * * *"\n')
    change(bench, "rpo: 1h", "rpo: 30d")
    assert codes(look(services, bench)) == [], "nobody is late who has just been met"
    assert codes(look(services, bench, after=HOUR / 3)) == [], "within the RTO"
    report = look(services, bench, after=HOUR)
    assert codes(report) == ["DRILL_MISSED"]
    run = services.store.open_run(
        run_id="orders-1",
        drill="orders",
        spec_digest="d",
        spec={},
        owner=Owner(kind="airflow", name="orders/scheduled"),
        trigger="airflow:scheduled",
        as_of=None,
        now=bench.disaster + HOUR,
    )
    assert codes(look(services, bench, after=HOUR * 1.5)) == [], "a run is under way"
    assert "DRILL_STUCK" in codes(look(services, bench, after=HOUR * 14))
    services.store.close_run(run.id, outcome="RECOVERED", exit_code=0, record={}, now=bench.disaster + HOUR)
    assert codes(look(services, bench, after=HOUR * 1.25)) == []


def test_a_drill_that_should_have_followed_a_backup(bench: Bench, services: Services) -> None:
    change(bench, "drill: orders\n", "drill: orders\nschedule: {after_backup: true}\n")
    change(bench, "rpo: 1h", "rpo: 30d")
    held = bench.folder / "held"
    (bench.backups / "third").rename(held)
    assert announced(services, bench, by="one").new_backups == ()
    held.rename(bench.backups / "third")
    assert announced(services, bench, by=None, after=HOUR / 4).new_backups == (), "somebody looked on a terminal"
    report = announced(services, bench, by="two", after=HOUR / 2)
    assert [backup.id for backup in report.new_backups] == ["third"]
    assert codes(announced(services, bench, by="three", after=HOUR * 0.9)) == [], "within the RTO"
    assert codes(announced(services, bench, by="four", after=HOUR * 1.1)) == ["DRILL_MISSED"]
    run = services.store.open_run(
        run_id="orders-1",
        drill="orders",
        spec_digest="d",
        spec={},
        owner=Owner(kind="airflow", name="orders/asset"),
        trigger="airflow:asset_triggered",
        as_of=None,
        now=bench.disaster + HOUR * 1.2,
    )
    services.store.close_run(run.id, outcome="RECOVERED", exit_code=0, record={}, now=bench.disaster + HOUR * 1.3)
    assert codes(announced(services, bench, by="five", after=HOUR * 1.5)) == []


def test_blackouts_are_nobodys_debt_and_new_backups_wait(bench: Bench, services: Services) -> None:
    end = bench.disaster + HOUR * 3
    schedule = (
        f'{{cron: "*/10 * * * *", after_backup: true, blackout: [{{from: "2020-01-01", to: "{end:%Y-%m-%dT%H:%M}+00:00"}}]}}'
    )
    change(bench, "drill: orders\n", f"drill: orders\nschedule: {schedule}\n")
    change(bench, "rpo: 1h", "rpo: 30d")
    held = bench.folder / "held"
    (bench.backups / "third").rename(held)
    announced(services, bench, by="one")
    held.rename(bench.backups / "third")
    report = announced(services, bench, by="two", after=HOUR * 2)
    assert (codes(report), report.new_backups) == ([], ())
    report = announced(services, bench, by="three", after=HOUR * 3.1)
    assert [backup.id for backup in report.new_backups] == ["third"]
    assert codes(report) == [], "the first time after the blackout is not over for long"
    assert codes(announced(services, bench, by="four", after=HOUR * 4)) == ["DRILL_MISSED"]


def test_a_drill_without_a_schedule_is_never_late(bench: Bench, services: Services) -> None:
    change(bench, "rpo: 1h", "rpo: 30d")
    look(services, bench)
    assert codes(look(services, bench, after=timedelta(days=2))) == []


def test_the_memory_of_another_version_stops_no_watch(bench: Bench, services: Services, repository: Repository) -> None:
    look(services, bench)
    with services.store._writing() as connection:
        connection.exec_driver_sql("""UPDATE dr_scans SET memory = '{"of":"tomorrow"}'""")
    report = look(services, bench, after=HOUR / 4)
    assert codes(report) == []
    assert "another version" in report.notes[0]
    assert look(services, bench, after=HOUR / 2).notes == ()


# -- what a scan leaves ------------------------------------------------------------------------------------------------
def test_no_run_is_opened_and_nothing_is_written_but_the_scan(bench: Bench, services: Services) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(bench.folder.rglob("*")) if "state.db" not in path.name}
    report = look(services, bench)
    after = {path: path.stat().st_mtime_ns for path in sorted(bench.folder.rglob("*")) if "state.db" not in path.name}
    before.pop(bench.folder, None)
    after.pop(bench.folder, None)
    assert after == before
    assert services.store.runs() == ()
    assert report.at.tzinfo is UTC
