"""Which backup reaches furthest, and why another can't be used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, SegmentRange, WalArchive
from airflow_dr_provider.domain.eligibility import Ineligibility
from airflow_dr_provider.domain.restorable import Standing, furthest, last_segments, standings
from airflow_dr_provider.domain.wal import count_segments
from tests.unit.domain.builders import NOON, archive, at, backup, catalog, segments

WEEK = 7 * 86400.0


def found(
    wal: WalArchive, *backups: Backup, lookback: float = WEEK, quarantined: dict[str, str] | None = None
) -> tuple[Standing, ...]:
    return standings(catalog(wal, *backups), 1, moment=NOON, lookback_seconds=lookback, quarantined=quarantined or {})


def best(*given: object, **options: object) -> tuple[str, int] | None:
    standing = furthest(found(*given, **options))  # type: ignore[arg-type]
    return None if standing is None else (standing.backup.id, standing.reach.end_lsn)


def test_the_newest_of_those_that_reach_furthest() -> None:
    wal = archive(segments(1, 1, 20))
    assert best(wal, backup("old", 1), backup("new", 10)) == ("new", at(21))


def test_an_older_one_where_the_newest_can_not_be_used() -> None:
    wal = archive(segments(1, 1, 20))
    old, new = backup("old", 1), backup("new", 10)
    assert best(wal, old, new.model_copy(update={"flaws": (BackupFlaw.INCOMPLETE,)})) == ("old", at(21))
    assert best(wal, old, new, quarantined={"new": "DATA_CORRUPT"}) == ("old", at(21))
    assert best(wal, old, new, quarantined={"new": "X", "old": "X"}) is None


def test_a_backup_behind_a_hole_is_judged_by_its_own_way() -> None:
    wal = archive(segments(1, 1, 8), segments(1, 12, 20))
    assert best(wal, backup("old", 1)) == ("old", at(9))
    assert best(wal, backup("old", 1), backup("new", 13)) == ("new", at(21))
    assert best(wal, backup("old", 1), backup("torn", 8, 9.5)) == ("old", at(9))


def test_one_that_ends_exactly_where_the_wal_ends_can_be_used() -> None:
    assert best(archive(segments(1, 1, 4)), backup("b", 3, 5)) == ("b", at(5))


def test_reasons_are_those_of_the_drill() -> None:
    wal = archive(segments(1, 1, 20))
    old = backup("old", 1, age=9 * 24 * 60)
    child = backup("child", 5, chain=("gone",))
    codes = {one.backup.id: [code for code, _ in one.reasons] for one in found(wal, old, child, backup("late", 30))}
    assert codes == {
        "old": [Ineligibility.OUTSIDE_LOOKBACK],
        "child": [Ineligibility.BASE_MISSING],
        "late": [Ineligibility.WAL_ENDS_BEFORE_CONSISTENCY],
    }
    sound = {one.backup.id: one.sound for one in found(wal, old, child, backup("late", 30))}
    assert sound == {"old": True, "child": False, "late": True}


def test_a_clock_ahead_of_ours_bars_nothing() -> None:
    assert best(archive(segments(1, 1, 4)), backup("b", 1, age=-3)) is not None


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=4), st.integers(0, 30))
def test_the_last_segments_of_a_path(parts: list[tuple[int, int]], count: int) -> None:
    path = tuple(SegmentRange(timeline=1, first=first, last=first + more) for first, more in parts)
    kept = last_segments(path, count)
    whole = [number for part in path for number in range(part.first, part.last + 1)]
    assert [number for part in kept for number in range(part.first, part.last + 1)] == (whole[-count:] if count else [])
    assert count_segments(kept) == min(count, count_segments(path))
