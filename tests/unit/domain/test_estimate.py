"""Targets without a record read: never before what a run would resolve, and no more than names and backups tell."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_dr_provider.domain.catalog import BackupFlaw, Catalog
from airflow_dr_provider.domain.continuity import holes, latest_timeline
from airflow_dr_provider.domain.estimate import estimated_target, latest_time
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.regions import choose_timeline, regions
from airflow_dr_provider.domain.soundness import sound_backups
from airflow_dr_provider.domain.target import RecoveryTarget, Resolution, TargetKind, aimed_moment
from airflow_dr_provider.errors import TargetError
from tests.unit.domain.builders import NOON, archive, at, backup, catalog, fork, minutes, segments, target

LATEST = RecoveryTarget()
WAL = archive(segments(1, 1, 20))


def started(name: str, start: float) -> dict[str, object]:
    return {"start_time": minutes(60 - start), "stop_time": minutes(59.5 - start)}


OLD, NEW = backup("old", 2, **started("old", 2)), backup("new", 12, **started("new", 12))


def estimate(found: Catalog, asked: RecoveryTarget = LATEST, *, before: float = 0) -> Resolution | None:
    timeline = choose_timeline(found, asked)
    return estimated_target(found, regions(found, timeline), asked, timeline, minutes(before))


def test_latest_is_the_end_of_the_contiguous_wal() -> None:
    found = estimate(catalog(WAL, OLD, NEW))
    assert found is not None
    assert (found.target.lsn, found.target.timeline, found.target.time) == (at(21) - 1, 1, None)
    assert (found.exact, found.hole) == (False, None)


def test_latest_ends_at_a_hole_that_no_backup_gets_over() -> None:
    found = estimate(catalog(archive(segments(1, 1, 14), segments(1, 16, 20)), OLD, NEW))
    assert found is not None
    assert found.target.lsn == at(15) - 1
    assert found.hole == segments(1, 15)
    assert "hole" in found.target.note


def test_the_moment_of_the_disaster_lies_before_the_backups_that_began_after_it() -> None:
    found = estimate(catalog(WAL, OLD, NEW), before=52)
    assert found is not None
    assert found.target.lsn == at(12) - 1
    assert found.target.time == NEW.start_time  # the latest that it can be
    holed = estimate(catalog(archive(segments(1, 1, 9), segments(1, 11, 20)), OLD, NEW), before=52)
    assert holed is not None
    assert holed.target.lsn == at(10) - 1
    assert estimate(catalog(WAL, OLD, NEW), before=70) is None


@pytest.mark.parametrize(("where", "reached"), [(2.4, False), (2.5, True), (20.9, True), (21.0, False)])
def test_a_position_is_itself_where_some_way_holds_it(where: float, reached: bool) -> None:
    asked = RecoveryTarget(kind=TargetKind.LSN, value=str(at(where)))
    found = estimate(catalog(WAL, OLD, NEW), asked)
    assert (found is not None) == reached
    if found is not None:
        assert found.target.lsn == at(where)
        assert found.target.time == (NEW.start_time if where < 12 else None)


def test_the_latest_time_of_a_position() -> None:
    found = catalog(WAL, OLD, NEW, backup("broken", 8, flaws=(BackupFlaw.INCOMPLETE,), start_time=minutes(59)))
    assert latest_time(found, at(1)) == OLD.start_time
    assert latest_time(found, at(5)) == NEW.start_time
    assert latest_time(found, at(12)) is None


def test_the_moment_from_which_loss_counts() -> None:
    moment = NOON + timedelta(days=1)
    assert aimed_moment(target(9), moment) == moment
    assert aimed_moment(target(9, kind=TargetKind.LSN, age=30), moment) == minutes(30)
    assert aimed_moment(target(9, kind=TargetKind.LSN, age=None), moment) == moment
    asked = RecoveryTarget(kind=TargetKind.TIME, value=minutes(7).isoformat())
    assert aimed_moment(target(9, age=30).model_copy(update={"requested": asked}), moment) == minutes(7)


# -- which backups count -------------------------------------------------------------------------------------------------------
STRANGER = backup("stranger", 14, system_identifier=5)
ORPHAN = backup("orphan", 14, chain=("gone",))
HEIR = backup("heir", 14, chain=("broken",))
BROKEN = backup("broken", 13, flaws=(BackupFlaw.ERROR_FLAG,))


def test_sound_backups() -> None:
    nowhere = backup("nowhere", 3, stop_lsn=None)
    found = catalog(WAL, OLD, NEW, STRANGER, ORPHAN, HEIR, BROKEN, nowhere, backup("child", 15, chain=("new",)))
    assert [sound.id for sound in sound_backups(found)] == ["old", "new", "child"]


@pytest.mark.parametrize("unsound", [(STRANGER,), (ORPHAN,), (HEIR, BROKEN)])
def test_what_is_unsound_makes_no_hole_no_way_and_no_timeline(unsound: tuple[object, ...]) -> None:
    wal = archive(segments(1, 1, 12), segments(1, 15, 20))
    lone = backup("lone", 16, **started("lone", 16))
    assert holes(catalog(wal, *unsound, lone)) == ()  # type: ignore[arg-type]
    assert holes(catalog(wal, OLD, lone, *unsound)) == (segments(1, 13, 14),)  # type: ignore[arg-type]
    first, *others = regions(catalog(archive(segments(1, 1, 13)), OLD, NEW, *unsound), 1)  # type: ignore[arg-type]
    assert (others, [sound.id for sound in first.backups]) == ([], ["old", "new"])


def test_a_strangers_timeline_is_none() -> None:
    wal = archive(segments(1, 1, 9), segments(2, 5, 9), forks=(fork(2, 1, 5),))
    assert latest_timeline(catalog(wal, backup("a", 6), backup("b", 7))) == 1
    assert latest_timeline(catalog(wal, backup("a", 6), backup("b", 7), backup("z", 6, timeline=2, system_identifier=5))) == 1
    assert latest_timeline(catalog(wal, backup("a", 6), backup("b", 7), backup("z", 6, timeline=2))) == 2


def test_the_current_timeline_is_the_newest_sound_backups() -> None:
    asked = RecoveryTarget(timeline="current")
    assert choose_timeline(catalog(WAL, OLD, NEW, STRANGER.model_copy(update={"timeline": 9})), asked) == 1
    assert choose_timeline(catalog(WAL), RecoveryTarget(timeline=7)) == 7
    with pytest.raises(TargetError, match=r"target\.timeline"):
        choose_timeline(catalog(WAL, BROKEN), asked)


def test_regions_begin_where_their_first_backup_is_consistent() -> None:
    wal = archive(segments(1, 1, 9), segments(1, 11, 20))
    found = regions(catalog(wal, NEW, OLD, backup("b", 13)), 1)
    assert [(part.begin_lsn, part.end_lsn, [member.id for member in part.backups]) for part in found] == [
        (at(12.5), at(21), ["new", "b"]),
        (at(2.5), at(10), ["old"]),
    ]
    assert found[1].hole == segments(1, 10)
    assert isinstance(found[0].begin_lsn, Lsn)
