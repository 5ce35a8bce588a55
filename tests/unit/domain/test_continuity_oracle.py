"""Continuity over generated archives, against an oracle that knows single files and positions."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.continuity import holes, latest_timeline, reach, timeline_at, whole_path
from tests.unit.domain.worlds import GRID, World, files_of, make_world, ordered_files, questions

SWEEP = 10_000


def check_reach(world: World) -> int:
    """Compare every answer; return how many holes there were."""
    archive, bad, found_holes = world.archive(), world.bad_ranges(), 0
    for backup, timeline in questions(world):
        found = reach(archive, backup, timeline, bad=bad)
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
    seen = 0
    for seed in range(SWEEP):
        world = make_world(random.Random(seed).randint)
        seen += check_reach(world)
        check_holes(world)
    assert seen > SWEEP / 10


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
