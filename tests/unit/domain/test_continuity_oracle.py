"""Continuity over generated archives, against an oracle that knows single files and positions."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.continuity import Continuity, holes, latest_timeline, timeline_at, whole_path
from airflow_dr_provider.domain.wal import ranges_of_names
from tests.unit.domain.worlds import GRID, SIZES, WIDTH, World, files_of, make_world, ordered_files, questions

SWEEP = 10_000


def check_reach(world: World) -> int:
    """Compare every answer; return how many holes there were."""
    continuity, found_holes = Continuity(world.archive(), world.bad_ranges()), 0
    for backup, timeline in questions(world):
        found = continuity.reach(backup, timeline)
        assert found.on_timeline == world.on_timeline(backup, timeline)
        if not found.on_timeline:
            assert found.path == ()
            assert not found.consistent
            continue
        end, hole = world.reach(backup, timeline)
        assert found.end_lsn == world.lsn(end)
        assert (None if found.hole is None else files_of((found.hole,))) == hole
        assert backup.start_lsn is not None
        assert backup.stop_lsn is not None
        assert found.consistent == (bool(found.path) and world.lsn(end) >= backup.stop_lsn)
        found_holes += hole is not None
        # The path is contiguous, starts where the backup does, and each file of it is there.
        path = ordered_files(found.path)
        start = world.cell(backup.start_lsn) // GRID
        assert [number for _, number in path] == list(range(start, start + len(path)))
        own = files_of(backup.own_wal)
        assert set(path) <= (world.files - world.flawed - world.bad) | own
        assert [member for member, _ in path] == sorted(member for member, _ in path)
        assert all(
            world.author(timeline, cell) == world.author(member, cell)
            for member, number in ordered_files(whole_path(found, world.size))
            for cell in range(number * GRID, number * GRID + GRID)
        )
    return found_holes


def check_holes(world: World) -> None:
    assert set(ordered_files(holes(world.catalog()))) == world.holes()


def check_timelines(world: World) -> None:
    archive, chosen = world.archive(), latest_timeline(world.catalog())
    for timeline in world.begins:
        for cell in range(world.base * GRID, world.end_cell, 3):
            assert timeline_at(archive, timeline, world.lsn(cell)) == world.author(timeline, cell)
    usable = world.files - world.flawed
    real = [
        timeline
        for timeline, begin in world.begins.items()
        if any(member == timeline and number >= begin // GRID for member, number in usable)
        and any(not backup.flaws and world.on_timeline(backup, timeline) for backup in world.backups)
    ]
    if real:
        assert chosen == max(real)
    else:
        assert chosen in {backup.timeline for backup in world.backups}


def test_ten_thousand_archives_have_no_false_and_no_missed_hole() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SWEEP):
        world = make_world(random.Random(seed).randint)
        try:
            seen["holes"] += check_reach(world)
            check_holes(world)
            check_listing(world)
        except AssertionError as error:
            raise AssertionError(f"make_world(random.Random({seed}).randint): {error}") from error
        seen.update(features(world))
    assert {int(name) for name in seen if name.isdecimal()} == set(SIZES)
    assert min(seen.values()) > SWEEP / 10, seen


def check_listing(world: World) -> None:
    """Whatever the copies of its segments are called, an archive holds what it holds, and beginnings are no segments."""
    assert files_of(world.archive().ranges) == world.files
    assert files_of(ranges_of_names(world.listing.partial, world.size)) == world.partial


def features(world: World) -> set[str]:
    """What a world has of all that makes archives hard to judge."""
    ends = {timeline: max((n for member, n in world.files if member == timeline), default=0) for timeline in world.begins}
    found = {
        str(world.size): True,
        "forks": len(world.begins) > 1,
        "lag": any(end < world.base + WIDTH for end in ends.values()),
        "duplicates": len(world.copies) > len(world.files),
        "compressed": any(name.endswith(".zst") for name in world.copies),
        "partial": bool(world.partial),
    }
    return {name for name, there in found.items() if there}


def test_timelines_of_generated_archives() -> None:
    for seed in range(1_000):
        check_timelines(make_world(random.Random(seed).randint))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_generated_archives_that_shrink(data: st.DataObject) -> None:
    world = make_world(lambda low, high: data.draw(st.integers(low, high)))
    check_reach(world)
    check_holes(world)
    check_timelines(world)
