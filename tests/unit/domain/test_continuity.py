"""Continuity by hand: one picture a test."""

from __future__ import annotations

import pytest

from airflow_dr_provider.domain.catalog import BackupFlaw
from airflow_dr_provider.domain.continuity import ancestry, holes, latest_timeline, reach, timeline_at, whole_path
from tests.unit.domain.builders import SIZE, archive, at, backup, catalog, fork, segments


def test_a_straight_way_ends_where_the_archive_does() -> None:
    found = reach(archive(segments(1, 1, 9)), backup("a", 2.25), 1)
    assert found.path == (segments(1, 2, 9),)
    assert found.end_lsn == at(10)
    assert found.hole is None
    assert found.consistent
    assert found.on_timeline


def test_the_tail_is_no_hole_and_a_gap_is_one() -> None:
    lagging = archive(segments(1, 1, 4), partial=(segments(1, 5),))
    assert reach(lagging, backup("a", 2), 1).hole is None
    assert holes(catalog(lagging, backup("a", 2))) == ()
    holed = archive(segments(1, 1, 4), segments(1, 7, 9))
    found = reach(holed, backup("a", 2), 1)
    assert found.hole == segments(1, 5, 6)
    assert found.end_lsn == at(5)
    assert holes(catalog(holed, backup("a", 2))) == (segments(1, 5, 6),)


def test_flawed_and_bad_segments_are_missing() -> None:
    wal = archive(segments(1, 1, 9), flawed=(segments(1, 7),))
    assert reach(wal, backup("a", 2), 1).hole == segments(1, 7)
    assert reach(wal, backup("a", 2), 1, bad=(segments(1, 4, 5),)).hole == segments(1, 4, 5)
    assert holes(catalog(wal, backup("a", 2))) == (segments(1, 7),)


def test_wal_inside_the_backup_counts_for_that_backup() -> None:
    wal = archive(segments(1, 1, 3), segments(1, 5, 9))
    carrying = backup("b", 4.1, own_wal=(segments(1, 4),))
    assert reach(wal, carrying, 1).path == (segments(1, 4, 9),)
    assert reach(wal, backup("a", 2), 1).hole == segments(1, 4)
    assert holes(catalog(wal, backup("a", 2), carrying)) == (segments(1, 4),)
    assert holes(catalog(wal, carrying)) == ()


def test_what_is_missing_before_the_oldest_sound_backup_is_no_hole() -> None:
    wal = archive(segments(1, 1, 2), segments(1, 5, 9))
    broken = backup("old", 1, flaws=(BackupFlaw.INCOMPLETE,))
    assert holes(catalog(wal, backup("a", 6))) == ()
    assert holes(catalog(wal, broken, backup("a", 6))) == ()
    assert holes(catalog(wal, backup("old", 1), backup("a", 6))) == (segments(1, 3, 4),)


def test_not_consistent_without_its_last_segment() -> None:
    assert not reach(archive(segments(1, 1, 3)), backup("a", 2, 4.5), 1).consistent
    assert reach(archive(segments(1, 1, 4)), backup("a", 2, 4.5), 1).consistent
    assert reach(archive(segments(1, 1, 3)), backup("a", 2, 4.0), 1).consistent  # ends exactly where segment 3 does


def test_no_first_segment_is_an_empty_way() -> None:
    found = reach(archive(segments(1, 3, 9)), backup("a", 2.5), 1)
    assert found.path == ()
    assert found.end_lsn == at(2.5)
    assert found.hole == segments(1, 2)
    assert not found.consistent


# -- timelines -----------------------------------------------------------------------------------------------------------
PROMOTED = (fork(2, 1, 5.5),)


def test_the_fork_segment_is_read_from_the_child() -> None:
    wal = archive(segments(1, 1, 9), segments(2, 5, 8), forks=PROMOTED)
    found = reach(wal, backup("a", 2), 2)
    assert found.path == (segments(1, 2, 4), segments(2, 5, 8))
    assert found.end_lsn == at(9)
    assert reach(wal, backup("a", 2), 1).path == (segments(1, 2, 9),)


def test_the_parents_fork_segment_serves_up_to_the_switch_only() -> None:
    wal = archive(segments(1, 1, 9), segments(2, 6, 8), forks=PROMOTED)
    found = reach(wal, backup("a", 2), 2)
    assert found.path == (segments(1, 2, 5),)
    assert found.end_lsn == at(5.5)
    assert found.hole == segments(2, 5)
    assert whole_path(found, SIZE) == (segments(1, 2, 4),)
    assert holes(catalog(wal, backup("a", 2))) == (segments(2, 5),)


def test_the_parents_later_segments_never_stand_in() -> None:
    wal = archive(segments(1, 1, 9), segments(2, 5), segments(2, 8, 9), forks=PROMOTED)
    found = reach(wal, backup("a", 2), 2)
    assert found.end_lsn == at(6)
    assert found.hole == segments(2, 6, 7)


def test_a_switch_on_a_segments_border_needs_nothing_of_the_parents_next() -> None:
    wal = archive(segments(1, 1, 9), segments(2, 6, 8), forks=(fork(2, 1, 5),))
    found = reach(wal, backup("a", 2), 2)
    assert found.path == (segments(1, 2, 4),)
    assert found.end_lsn == at(5)
    assert found.hole == segments(2, 5)


def test_two_forks_in_one_segment() -> None:
    forks = (fork(2, 1, 5.25), fork(3, 2, 5.75))
    wal = archive(segments(1, 1, 5), segments(2, 5), segments(3, 5, 8), forks=forks)
    assert reach(wal, backup("a", 2), 3).path == (segments(1, 2, 4), segments(3, 5, 8))
    wal = archive(segments(1, 1, 5), segments(2, 5), segments(3, 6, 8), forks=forks)
    assert reach(wal, backup("a", 2), 3).end_lsn == at(5.75)


def test_a_timeline_that_left_before_its_parent_began() -> None:
    # Recovery towards 2 that stopped before 2 began: the history says that 3 left 2, the WAL is 1's.
    wal = archive(segments(1, 1, 9), segments(2, 7, 9), segments(3, 4, 9), forks=(fork(2, 1, 7.5), fork(3, 2, 4.5)))
    found = reach(wal, backup("a", 2), 3)
    assert found.path == (segments(1, 2, 3), segments(3, 4, 9))
    assert timeline_at(wal, 3, at(4.25)) == 1
    assert timeline_at(wal, 3, at(8)) == 3
    assert not reach(wal, backup("b", 5, 6), 3).on_timeline


@pytest.mark.parametrize(("stop", "expected"), [(5.0, True), (5.5, True), (5.6, False), (7.0, False)])
def test_a_backup_after_the_fork_is_off_the_way(stop: float, expected: bool) -> None:
    wal = archive(segments(1, 1, 9), segments(2, 5, 9), forks=PROMOTED)
    assert reach(wal, backup("a", 4, stop), 2).on_timeline is expected
    assert reach(wal, backup("a", 4, stop), 1).on_timeline


def test_ancestry() -> None:
    wal = archive(forks=(fork(3, 2, 7), fork(2, 1, 5), fork(9, 8, 1)))
    assert ancestry(wal, 1) == ()
    assert ancestry(wal, 3) == (fork(2, 1, 5), fork(3, 2, 7))
    assert ancestry(wal, 9) == (fork(9, 8, 1),)
    assert ancestry(wal, 4) == ()


def test_hostile_forks_end() -> None:
    assert ancestry(archive(forks=(fork(2, 3, 5), fork(3, 2, 5), fork(4, 4, 5))), 3) == (fork(3, 2, 5),)
    assert ancestry(archive(forks=(fork(4, 4, 5),)), 4) == ()
    one, other = fork(2, 1, 5), fork(2, 1, 7)
    assert ancestry(archive(forks=(one, other)), 2) == ancestry(archive(forks=(other, one)), 2) == (one,)


def test_a_stray_history_makes_no_timeline() -> None:
    assert latest_timeline(catalog(archive(segments(1, 1, 9), forks=PROMOTED), backup("a", 2))) == 1


def test_a_parents_numbers_on_the_childs_name_make_no_timeline() -> None:
    wal = archive(segments(1, 1, 9), segments(2, 3, 4), forks=PROMOTED)
    assert latest_timeline(catalog(wal, backup("a", 2))) == 1


def test_a_partial_or_flawed_segment_makes_no_timeline() -> None:
    wal = archive(segments(1, 1, 9), segments(2, 5), forks=PROMOTED, flawed=(segments(2, 5),), partial=(segments(2, 6),))
    assert latest_timeline(catalog(wal, backup("a", 2))) == 1


def test_the_youngest_timeline_that_descends_from_a_sound_backup() -> None:
    wal = archive(segments(1, 1, 9), segments(2, 5, 7), segments(3, 2, 3), forks=(*PROMOTED, fork(3, 1, 2.5)))
    assert latest_timeline(catalog(wal, backup("a", 3))) == 2  # 3 left before the backup was consistent
    assert latest_timeline(catalog(wal, backup("a", 1))) == 3
    assert latest_timeline(catalog(wal, backup("a", 1, flaws=(BackupFlaw.NO_MANIFEST,)), backup("b", 3))) == 2


def test_a_timeline_without_its_history_needs_a_backup_of_its_own() -> None:
    wal = archive(segments(1, 1, 9), segments(2, 5, 7))
    assert latest_timeline(catalog(wal, backup("a", 2))) == 1
    assert latest_timeline(catalog(wal, backup("a", 2), backup("b", 5, timeline=2))) == 2


def test_without_any_archived_timeline_the_newest_backups_own() -> None:
    wal = archive()
    assert latest_timeline(catalog(wal, backup("a", 2), backup("b", 5, timeline=4))) == 4
    assert latest_timeline(catalog(wal, backup("a", 2), backup("b", 5, timeline=4, flaws=(BackupFlaw.INCOMPLETE,)))) == 1
    assert latest_timeline(catalog(wal)) == 1


def test_holes_on_a_branch_that_goes_on_are_named_too() -> None:
    wal = archive(segments(1, 1, 6), segments(1, 8, 9), segments(2, 5, 6), segments(2, 9), forks=PROMOTED)
    assert holes(catalog(wal, backup("a", 2))) == (segments(1, 7), segments(2, 7, 8))
    # No sound backup leads to timeline 1 after the fork but one that was taken later still.
    assert holes(catalog(wal, backup("a", 8))) == ()


def test_a_backup_that_does_not_tell_its_place_reaches_nothing() -> None:
    wal = archive(segments(1, 1, 9))
    for field in ("timeline", "start_lsn", "stop_lsn"):
        found = reach(wal, backup("a", 2).model_copy(update={field: None}), 1)
        assert (found.path, found.consistent, found.hole) == ((), False, None)
