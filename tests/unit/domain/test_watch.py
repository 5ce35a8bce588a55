"""What a scan finds, each both ways; and when a finding is news."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, SegmentRange, WalArchive
from airflow_dr_provider.domain.continuity import latest_timeline
from airflow_dr_provider.domain.dead_man import KnownRun
from airflow_dr_provider.domain.restorable import Restorable, furthest, standings
from airflow_dr_provider.domain.signatures import SIGNATURES
from airflow_dr_provider.domain.wal import segment_name
from airflow_dr_provider.domain.watch import Unread, WatchMemory, WatchReport, watch
from airflow_dr_provider.domain.watch_scan import CatalogScan, CatalogSeen
from airflow_dr_provider.domain.watch_wal import NAMED
from tests.unit.domain.builders import NOON, SIZE, archive, at, backup, catalog, fork, minutes, segments
from tests.unit.domain.worlds import make_world

QUARTER = timedelta(minutes=15)
WEEK = 7 * 86400.0
WHOLE = archive(segments(1, 1, 20))
OLD, NEW = backup("old", 1, age=24 * 60), backup("new", 10, age=60)


def read(
    wal: WalArchive = WHOLE,
    *backups: Backup,
    moment: datetime = NOON,
    time: datetime | None = NOON,
    identity: str = "test:/",
    **fields: Any,
) -> CatalogScan:
    found = catalog(wal, *(backups or (OLD, NEW))).model_copy(update={"identity": identity})
    timeline = latest_timeline(found)
    all_of_them = standings(found, timeline, moment=moment, lookback_seconds=WEEK, quarantined={})
    best = furthest(all_of_them)
    point = None
    if best is not None:
        reach = best.reach
        point = Restorable(timeline=timeline, lsn=reach.end_lsn, backup=best.backup.id, time=time, hole=reach.hole)
    values: dict[str, Any] = {"rpo_seconds": 3600.0, "lookback_seconds": WEEK}
    return CatalogScan(catalog=found, timeline=timeline, standings=all_of_them, restorable=point, **{**values, **fields})


def look(
    scan: CatalogScan | Unread, before: WatchReport | None = None, *, moment: datetime = NOON, **options: Any
) -> WatchReport:
    return watch("orders", scan, moment=moment, before=before.memory if before is not None else None, **options)


def codes(report: WatchReport) -> list[str]:
    return [finding.signature for finding in report.findings]


def name(number: int, timeline: int = 1) -> str:
    return segment_name(timeline, number, SIZE)


def without(*numbers: int) -> WalArchive:
    """Segments 1 to 20 but for some."""
    kept = [segments(1, number) for number in range(1, 21) if number not in numbers]
    return archive(*kept)


# -- healthy -----------------------------------------------------------------------------------------------------------
def test_nothing_is_wrong() -> None:
    report = look(read())
    assert (report.findings, report.notes, report.holes, report.conclusive) == ((), (), (), True)
    assert report.restorable == Restorable(timeline=1, lsn=at(21), backup="new", time=NOON)


def test_nor_at_the_next_scan() -> None:
    later = archive(segments(1, 1, 25))
    report = look(read(later), look(read()), moment=NOON + QUARTER)
    assert codes(report) == []


def test_a_report_reads_back() -> None:
    report = look(read(without(5)))
    assert WatchReport.model_validate_json(report.model_dump_json()) == report


# -- holes -------------------------------------------------------------------------------------------------------------
def test_a_hole_is_found_at_once_and_named() -> None:
    before = look(read())
    report = look(read(without(5)), before, moment=NOON + QUARTER)
    (finding,) = report.findings
    assert (finding.signature, finding.segments, report.is_new(finding)) == ("WAL_HOLE", segments(1, 5), True)
    assert name(5) in finding.detail
    assert "1 of 2 backups" in finding.detail
    assert [(hole.first, hole.last, hole.acknowledged) for hole in report.holes] == [(name(5), name(5), False)]


def test_it_stays_a_finding_and_is_no_news() -> None:
    first = look(read(without(5)))
    report = look(read(without(5)), first, moment=NOON + QUARTER)
    (finding,) = report.findings
    assert (finding.since, report.is_new(finding)) == (NOON, False)


def test_it_grows_and_is_news_again() -> None:
    first = look(read(without(5)))
    grown = look(read(without(5, 6)), first, moment=NOON + QUARTER)
    (finding,) = grown.findings
    assert (finding.segments, grown.is_new(finding)) == (segments(1, 5, 6), True)
    half_mended = look(read(without(6)), grown, moment=NOON + QUARTER * 2)
    assert [finding.since for finding in half_mended.findings] == [NOON + QUARTER]
    assert codes(look(read(), half_mended, moment=NOON + QUARTER * 3)) == []


def test_what_is_acknowledged_is_no_finding_and_nothing_else_is_acknowledged() -> None:
    known = (segments(1, 5, 6),)
    quiet = look(read(without(5), acknowledged=known))
    assert codes(quiet) == []
    assert [(hole.first, hole.acknowledged) for hole in quiet.holes] == [(name(5), True)]
    grown = look(read(without(5, 6, 7), acknowledged=known), quiet, moment=NOON + QUARTER)
    (finding,) = grown.findings
    assert (finding.segments, grown.is_new(finding)) == (segments(1, 7), True)
    assert [(h.first, h.last, h.acknowledged) for h in grown.holes] == [(name(5), name(6), True), (name(7), name(7), False)]


def test_a_segment_that_is_there_and_unusable_is_told_from_a_missing_one() -> None:
    wal = WHOLE.model_copy(update={"flawed": (segments(1, 5),)})
    report = look(read(wal))
    assert codes(report) == ["WAL_SEGMENT_DAMAGED"]
    assert "can't be used" in report.findings[0].detail


def test_wal_that_is_gone_from_the_end_is_no_lag() -> None:
    before = look(read())
    report = look(read(archive(segments(1, 1, 18))), before, moment=NOON + QUARTER)
    (finding,) = report.findings
    assert (finding.signature, finding.segments) == ("WAL_LOST", segments(1, 19, 20))
    again = look(read(archive(segments(1, 1, 18))), report, moment=NOON + QUARTER * 2)
    assert [finding.since for finding in again.findings] == [NOON + QUARTER]
    followed = look(read(archive(segments(1, 1, 18), segments(1, 21, 22))), again, moment=NOON + QUARTER * 3)
    assert [(f.signature, f.segments, f.since) for f in followed.findings] == [
        ("WAL_HOLE", segments(1, 19, 20), NOON + QUARTER)
    ]


def test_an_archive_that_is_empty_now_has_lost_what_no_backup_carries() -> None:
    own = backup("own", 10, own_wal=(segments(1, 10),), age=60)
    before = look(read(WHOLE, own))
    report = look(read(archive(), own), before, moment=NOON + QUARTER)
    assert [(f.signature, f.segments) for f in report.findings] == [("WAL_LOST", segments(1, 11, 20))]


def test_another_timeline_begins_anew() -> None:
    before = look(read())
    switched = archive(segments(1, 1, 20), segments(2, 15, 16), forks=[fork(2, 1, 15.5)])
    assert codes(look(read(switched), before, moment=NOON + QUARTER)) == []


def test_a_timeline_that_is_gone_is_lost_and_stays_so() -> None:
    """The one before it is the latest then, and nothing of it is missing."""
    both = archive(segments(1, 1, 20), segments(2, 15, 18), forks=[fork(2, 1, 15.5)])
    before = look(read(both))
    for history in ([fork(2, 1, 15.5)], []):
        gone = look(read(archive(segments(1, 1, 20), forks=history)), before, moment=NOON + QUARTER)
        first = 15 if history else 18
        assert [(f.signature, f.segments) for f in gone.findings] == [("WAL_LOST", segments(2, first, 18))]
        again = look(read(archive(segments(1, 1, 21), forks=history)), gone, moment=NOON + QUARTER * 2)
        assert [f.since for f in again.findings] == [NOON + QUARTER]
        assert codes(look(read(both), again, moment=NOON + QUARTER * 3)) == []
    known = look(read(archive(segments(1, 1, 20)), acknowledged=(segments(2, 18),)), before, moment=NOON + QUARTER)
    assert codes(known) == []


def test_very_many_holes_are_counted() -> None:
    wal = archive(*(segments(1, number) for number in range(1, 201, 2)))
    report = look(read(wal, backup("b", 1, 1.5)))
    holes = [finding for finding in report.findings if finding.signature == "WAL_HOLE"]
    assert len(holes) == NAMED + 1
    assert [finding.segments for finding in holes if finding.segments][-1] == segments(1, 198)
    assert f"{99 - NAMED} older stretches" in holes[-1].subject


@pytest.mark.parametrize(("missing", "unsettled"), [(18, True), (2, False)])
def test_a_new_hole_near_the_end_may_be_wal_on_its_way(missing: int, unsettled: bool) -> None:
    wal = without(missing)
    report = look(read(wal))
    assert report.unsettled is unsettled
    assert look(read(wal), report, moment=NOON + QUARTER).unsettled is False


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_hole_is_missed_and_none_is_invented(data: st.DataObject) -> None:
    """Over generated archives: the findings and what is acknowledged are the holes, no more and no less."""
    world = make_world(lambda low, high: data.draw(st.integers(low, high)))
    found = world.catalog()
    timeline = latest_timeline(found)
    known = tuple(SegmentRange(timeline=t, first=n, last=n) for t, n in world.holes() if (t + n) % 3 == 0)
    scan = CatalogScan(
        catalog=found,
        timeline=timeline,
        standings=standings(found, timeline, moment=NOON, lookback_seconds=WEEK, quarantined={}),
        restorable=None,
        acknowledged=known,
        rpo_seconds=3600.0,
        lookback_seconds=WEEK,
    )
    report = look(scan)
    told = {
        (f.segments.timeline, number)
        for f in report.findings
        if f.segments is not None
        for number in range(f.segments.first, f.segments.last + 1)
    }
    assert told == world.holes() - {(part.timeline, part.first) for part in known}
    again = look(scan, report, moment=NOON + QUARTER)
    assert [f.segments for f in again.findings] == [f.segments for f in report.findings]
    assert not any(again.is_new(finding) for finding in again.findings)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20), st.integers(0, 25), st.lists(st.integers(2, 19), max_size=3))
def test_whatever_goes_is_found_and_what_comes_is_not(first: int, last: int, gone: list[int]) -> None:
    """Between two scans an archive loses segments in the middle and at its end, or grows: exactly what went is told."""
    now = set(range(1, last + 1)) - (set(gone) if last >= 20 else set())
    wal = archive(*(segments(1, number) for number in sorted(now)))
    base = backup("base", first, first + 0.5, own_wal=(segments(1, first),), age=60)
    before = look(read(WHOLE, base))
    report = look(read(wal, base), before, moment=NOON + QUARTER)
    told = {
        number for f in report.findings if f.segments is not None for number in range(f.segments.first, f.segments.last + 1)
    }
    went = set(range(1, 21)) - now
    assert told == {number for number in went if number > first}


# -- the archive's end -------------------------------------------------------------------------------------------------
def test_within_the_rpo_nothing_is_late() -> None:
    assert codes(look(read(time=minutes(60), heartbeat=True))) == []


def test_an_archive_that_stands_still_though_production_lives() -> None:
    report = look(read(time=minutes(61), heartbeat=True))
    assert codes(report) == ["ARCHIVE_STALLED"]
    assert "1:01:00" in report.findings[0].detail


def test_a_backup_behind_its_end_is_a_sign_of_life() -> None:
    ahead = backup("ahead", 30, age=5)
    report = look(read(WHOLE, OLD, NEW, ahead, time=minutes(61)))
    assert codes(report) == ["ARCHIVE_STALLED"]
    assert "backup ahead" in report.findings[0].detail


def test_an_idle_production_wakes_nobody() -> None:
    report = look(read(time=minutes(61)))
    assert codes(report) == []
    assert "idle" in report.notes[0]


def test_a_heart_that_stopped_while_wal_comes_is_a_note() -> None:
    before = look(read(time=minutes(50), heartbeat=True))
    more = archive(segments(1, 1, 25))
    report = look(read(more, time=minutes(50), heartbeat=True), before, moment=NOON + QUARTER)
    assert codes(report) == []
    assert "heartbeat" in report.notes[0]


def test_without_a_time_the_scans_themselves_tell() -> None:
    first = look(read(time=None, heartbeat=True))
    assert codes(first) == []
    later = NOON + timedelta(minutes=61)
    report = look(read(time=None, heartbeat=True), first, moment=later)
    assert codes(report) == ["ARCHIVE_STALLED"]
    assert "no WAL has come" in report.findings[0].detail
    moved = look(read(archive(segments(1, 1, 21)), time=None, heartbeat=True), first, moment=later)
    assert codes(moved) == []


def test_a_hole_that_costs_more_than_the_rpo() -> None:
    report = look(read(without(15), time=minutes(61)))
    assert codes(report) == ["WAL_HOLE", "RPO_EXCEEDED"]
    assert name(15) in report.findings[1].detail
    assert codes(look(read(without(15), time=minutes(59)))) == ["WAL_HOLE"]
    assert codes(look(read(without(15), time=minutes(61), acknowledged=(segments(1, 15),)))) == ["RPO_EXCEEDED"]


# -- backups -----------------------------------------------------------------------------------------------------------
def flawed(of: Backup, *flaws: BackupFlaw) -> Backup:
    return of.model_copy(update={"flaws": flaws or (BackupFlaw.NO_MANIFEST,), "note": "there is no backup_manifest"})


def test_no_backup_that_can_be_used() -> None:
    report = look(read(WHOLE, flawed(OLD), flawed(NEW)))
    assert (codes(report), report.restorable) == (["NOT_RESTORABLE"], None)
    assert "new" in report.findings[0].detail
    assert "no manifest" in report.findings[0].detail


def test_a_repository_of_nothing() -> None:
    scan = read().model_copy(update={"standings": (), "restorable": None, "catalog": catalog(WHOLE)})
    assert codes(look(scan)) == ["NOT_RESTORABLE"]


def test_a_backup_that_was_sound_once() -> None:
    before = look(read())
    report = look(read(WHOLE, OLD, flawed(NEW)), before, moment=NOON + QUARTER)
    (finding,) = report.findings
    assert (finding.signature, finding.subject) == ("BACKUP_SPOILED", "backup new")
    again = look(read(WHOLE, OLD, flawed(NEW)), report, moment=NOON + QUARTER * 2)
    assert [finding.since for finding in again.findings] == [NOON + QUARTER]
    assert codes(look(read(WHOLE, OLD), again, moment=NOON + QUARTER * 3)) == []


def test_the_oldest_one_may_be_going_and_has_to_be_found_twice() -> None:
    before = look(read())
    once = look(read(WHOLE, flawed(OLD), NEW), before, moment=NOON + QUARTER)
    assert codes(once) == []
    assert any("old" in note for note in once.notes)
    twice = look(read(WHOLE, flawed(OLD), NEW), once, moment=NOON + QUARTER * 2)
    assert codes(twice) == ["BACKUP_SPOILED"]
    assert codes(look(read(WHOLE, NEW), once, moment=NOON + QUARTER * 2)) == []


def test_one_whose_base_is_gone_is_spoiled_too() -> None:
    child = backup("child", 12, chain=("new",), age=30)
    before = look(read(WHOLE, OLD, NEW, child))
    assert codes(look(read(WHOLE, OLD, child), before, moment=NOON + QUARTER)) == ["BACKUP_SPOILED"]


def test_a_backup_that_is_being_taken_is_a_note() -> None:
    report = look(read(WHOLE, OLD, NEW, flawed(backup("now", 19, age=0), BackupFlaw.INCOMPLETE)), look(read()))
    assert codes(report) == []
    assert any(note.startswith("backup now: ") for note in report.notes)


@pytest.mark.parametrize(("age_hours", "found"), [(83, []), (85, ["BACKUP_OVERDUE"])])
def test_half_of_the_lookback_is_over(age_hours: float, found: list[str]) -> None:
    assert codes(look(read(WHOLE, backup("only", 10, age=age_hours * 60)))) == found


@pytest.mark.parametrize(("age_hours", "found"), [(107, []), (109, ["BACKUP_OVERDUE"])])
def test_backups_that_come_seldom_are_late_later(age_hours: float, found: list[str]) -> None:
    """Every three days: nobody is woken before four and a half, though the older one is out of the lookback by then."""
    pair = backup("a", 1, age=(age_hours + 72) * 60), backup("b", 10, age=age_hours * 60)
    assert codes(look(read(WHOLE, *pair))) == found


# -- a repository that can't be read -----------------------------------------------------------------------------------
AWAY = Unread(signature="REPOSITORY_UNREACHABLE", detail="The folder is not there.")


def test_nobody_knows_and_that_is_a_finding() -> None:
    report = look(AWAY)
    assert (codes(report), report.conclusive, report.restorable) == (["REPOSITORY_UNREACHABLE"], False, None)
    again = look(AWAY, report, moment=NOON + QUARTER)
    assert [finding.since for finding in again.findings] == [NOON]


def test_an_empty_one_is_known_to_be_empty() -> None:
    assert look(Unread(signature="REPOSITORY_EMPTY", detail="It holds no backup.")).conclusive is True


def test_what_was_wrong_before_is_no_news_after() -> None:
    first = look(read(without(5)))
    away = look(AWAY, first, moment=NOON + QUARTER)
    assert codes(away) == ["REPOSITORY_UNREACHABLE"]
    back = look(read(without(5, 6)), away, moment=NOON + QUARTER * 2)
    assert [(f.segments, f.since) for f in back.findings] == [(segments(1, 5, 6), NOON + QUARTER * 2)]
    same = look(read(without(5)), away, moment=NOON + QUARTER * 2)
    assert [(f.segments, f.since) for f in same.findings] == [(segments(1, 5), NOON)]
    lost = look(read(archive(segments(1, 1, 18))), look(AWAY, look(read())), moment=NOON + QUARTER * 2)
    assert codes(lost) == ["WAL_LOST"]


def test_another_repository_begins_anew() -> None:
    first = look(read(without(5)), schedule="0 3 * * *", due=(NOON - QUARTER,))
    other = look(read(archive(segments(1, 1, 9)), OLD, identity="other:/"), first, moment=NOON + QUARTER)
    assert codes(other) == []


# -- the drill ---------------------------------------------------------------------------------------------------------
def test_the_switch_works_without_the_repository_and_from_the_first_scan_on() -> None:
    first = look(AWAY, schedule="0 3 * * *", due=(NOON - QUARTER,))
    assert codes(first) == ["REPOSITORY_UNREACHABLE"]
    missed = look(AWAY, first, moment=NOON + QUARTER, schedule="0 3 * * *", due=(NOON,))
    assert codes(missed) == ["REPOSITORY_UNREACHABLE", "DRILL_MISSED"]
    ran = KnownRun(id="r", opened_at=NOON, closed_at=NOON, outcome="RECOVERED")
    assert codes(look(AWAY, first, moment=NOON + QUARTER, schedule="0 3 * * *", due=(NOON,), runs=(ran,))) == [
        "REPOSITORY_UNREACHABLE"
    ]


def test_another_schedule_counts_anew() -> None:
    first = look(read(), schedule="0 3 * * *")
    changed = look(read(), first, moment=NOON + QUARTER, schedule="0 4 * * *", due=(NOON,))
    assert codes(changed) == []
    assert changed.memory.watched_since == NOON + QUARTER


def test_every_code_has_a_meaning() -> None:
    for code in ("NOT_RESTORABLE", "WAL_LOST", "ARCHIVE_STALLED", "BACKUP_SPOILED", "BACKUP_OVERDUE", "DRILL_MISSED"):
        assert SIGNATURES[code].meaning


def test_memory_reads_back() -> None:
    memory = look(read(without(5))).memory
    assert WatchMemory.model_validate_json(memory.model_dump_json()) == memory
    assert isinstance(memory.catalog, CatalogSeen)
