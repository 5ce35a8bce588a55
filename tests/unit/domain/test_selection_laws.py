"""What holds for every selection, over generated worlds."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.catalog import Backup, Catalog
from airflow_dr_provider.domain.continuity import latest_timeline, reach
from airflow_dr_provider.domain.selection import SelectionInputs, SelectionTable, select
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget, StoppingPoint, TargetKind
from tests.unit.domain.builders import NOON
from tests.unit.domain.worlds import GRID, WIDTH, Choose, World, files_of, make_world, ordered_files

CODES = ("BACKUP_CHECKSUM_MISMATCH", "DATA_STALE")


def make_inputs(world: World, choose: Choose) -> SelectionInputs:
    """A selection in a world: chains, quarantine, refusals, times, a target somewhere."""
    ids = [backup.id for backup in world.backups]
    backups: list[Backup] = []
    for number, backup in enumerate(world.backups):
        chain = tuple(reversed(ids[choose(0, number) : number])) if choose(0, 2) == 0 else ()
        stop = NOON - timedelta(minutes=choose(-1, 90)) if choose(0, 5) else None
        version = (18, 17, None)[max(0, choose(0, 8) - 6)]
        system = choose(1, 2) if choose(0, 5) == 0 else 1
        update = {"chain": chain, "stop_time": stop, "server_version": version, "system_identifier": system}
        backups.append(backup.model_copy(update=update))
    world.backups = backups
    timeline = latest_timeline(world.catalog()) if choose(0, 1) else choose(1, len(world.begins))
    kind = TargetKind.LATEST if choose(0, 2) else TargetKind.LSN
    cell = world.base * GRID + choose(0, WIDTH * GRID)
    if choose(0, 2):
        cell = world.cell(backups[choose(0, len(backups) - 1)].stop_lsn or 0) + choose(0, 2 * GRID)
    target = ResolvedTarget(
        timeline=timeline,
        lsn=world.lsn(cell),
        inclusive=bool(choose(0, 1)),
        time=NOON - timedelta(minutes=choose(0, 90)) if choose(0, 2) else None,
        requested=RecoveryTarget(kind=kind, value="" if kind is TargetKind.LATEST else "asked"),
    )
    points = {}
    archive, bad = world.archive(), world.bad_ranges()
    for backup in backups:
        found = reach(archive, backup, timeline, bad=bad)
        if found.path and choose(0, 1):
            lsn = world.lsn(max(0, world.cell(found.end_lsn) - choose(0, 6)))
            time = NOON - timedelta(minutes=choose(0, 90)) if choose(0, 3) else None
            points[backup.id] = StoppingPoint(timeline=found.path[-1].timeline, lsn=lsn, end_lsn=lsn, time=time)
    return SelectionInputs(
        catalog=Catalog(identity="world", backups=tuple(backups), archive=archive),
        target=target,
        moment=NOON,
        rpo_seconds=float(60 * choose(0, 90)),
        lookback_seconds=float(60 * choose(30, 200)),
        quarantined={name: CODES[0] for name in ids if choose(0, 7) == 0},
        refused={name: CODES[1] for name in ids if choose(0, 7) == 0},
        bad=bad,
        runnable_versions=((18,), (17, 18), None)[choose(0, 2)],
        stopping_points=points,
        tried=tuple(name for name in ids if choose(0, 5) == 0),
    )


def check_choice(world: World, inputs: SelectionInputs, table: SelectionTable) -> bool:
    assert sorted(row.backup_id for row in table.rows) == sorted(backup.id for backup in inputs.catalog.backups)
    for row in table.rows:
        assert row.eligible == (row.reasons == ()) == (row.score is not None)
        assert row.score is None or row.score == sum(term.value * term.weight for term in row.terms)
        assert row.score is None or abs(row.score) < 2**53
    scores = [row.score for row in table.rows if row.score is not None]
    assert scores == sorted(scores, reverse=True)
    assert (table.chosen is None) == (not scores) == bool(table.reason)
    assert table.detail
    if table.chosen is None:
        return False

    chosen = inputs.catalog.backup(table.chosen.backup_id)
    assert table.rows[0].backup_id == chosen.id
    assert not chosen.flaws
    assert chosen.stop_lsn is not None
    assert chosen.start_lsn is not None
    # Nothing quarantined or refused, nor anything that depends on it.
    assert not {chosen.id, *chosen.chain} & {*inputs.quarantined, *inputs.refused}
    # No hole before consistency, and the chosen one reaches its own target.
    target = table.chosen.target
    end, _ = world.reach(chosen, inputs.target.timeline)
    assert world.on_timeline(chosen, inputs.target.timeline)
    assert world.lsn(end) >= chosen.stop_lsn
    assert chosen.stop_lsn <= target.lsn < world.lsn(end)
    # Short only where no eligible backup reaches, for latest, within the RPO; else the target is the run's own.
    assert table.chosen.short == table.rows[0].short == (target != inputs.target)
    if table.chosen.short:
        assert inputs.target.requested.kind is TargetKind.LATEST
        assert all(row.short for row in table.rows if row.eligible)
        assert target.lsn < inputs.target.lsn
        assert target.note
    assert target.time is None or (inputs.moment - target.time).total_seconds() <= inputs.rpo_seconds
    # What is fetched, with what the backup carries, is the way to the target, and all of it is in the archive.
    wal = ordered_files(table.chosen.wal)
    usable = world.files - world.flawed - world.bad
    assert set(wal) <= usable
    own = files_of(chosen.own_wal)
    numbers = {number for _, number in wal} | {number for _, number in own}
    assert set(range(world.cell(chosen.start_lsn) // GRID, world.cell(target.lsn) // GRID + 1)) <= numbers
    assert max((number for _, number in wal), default=0) <= world.cell(target.lsn) // GRID + 1
    return True


def shuffled(inputs: SelectionInputs, seed: int) -> SelectionInputs:
    """The same inputs in another order."""
    shuffle = random.Random(seed)

    def mixed(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(shuffle.sample(values, len(values)))

    archive = inputs.catalog.archive
    archive = archive.model_copy(update={"ranges": mixed(archive.ranges), "forks": mixed(archive.forks + archive.forks)})
    catalog = inputs.catalog.model_copy(update={"backups": mixed(inputs.catalog.backups), "archive": archive})
    update = {
        "catalog": catalog,
        "bad": mixed(inputs.bad),
        "tried": mixed(inputs.tried),
        "runnable_versions": None if inputs.runnable_versions is None else mixed(inputs.runnable_versions),
        "quarantined": dict(mixed(tuple(inputs.quarantined.items()))),
        "refused": dict(mixed(tuple(inputs.refused.items()))),
        "stopping_points": dict(mixed(tuple(inputs.stopping_points.items()))),
    }
    return inputs.model_copy(update=update)


def check_laws(choose: Choose, seed: int) -> SelectionTable:
    world = make_world(choose)
    inputs = make_inputs(world, choose)
    table = select(inputs)
    check_choice(world, inputs, table)
    assert select(shuffled(inputs, seed)).model_dump_json() == table.model_dump_json()
    assert SelectionTable.model_validate_json(table.model_dump_json()) == table
    return table


def test_laws_over_many_worlds() -> None:
    tables = [check_laws(random.Random(seed).randint, seed) for seed in range(4_000)]
    whole = sum(table.chosen is not None and not table.chosen.short for table in tables)
    short = sum(table.chosen is not None and table.chosen.short for table in tables)
    assert whole > 200
    assert short > 50
    assert {table.reason for table in tables} >= {"NO_CANDIDATE", "RPO_EXCEEDED", "TARGET_UNREACHABLE", "WAL_HOLE"}


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(0, 100))
def test_laws_that_shrink(data: st.DataObject, seed: int) -> None:
    check_laws(lambda low, high: data.draw(st.integers(low, high)), seed)


def test_two_entries_of_one_id_are_told_apart_by_their_content() -> None:
    world = make_world(random.Random(3).randint)
    inputs = make_inputs(world, random.Random(3).randint)
    twin = inputs.catalog.backups[0].model_copy(update={"repository": "other", "size_bytes": 9})
    backups = (*inputs.catalog.backups, twin)
    one = inputs.model_copy(update={"catalog": inputs.catalog.model_copy(update={"backups": backups})})
    other = inputs.model_copy(update={"catalog": inputs.catalog.model_copy(update={"backups": backups[::-1]})})
    assert select(one) == select(other)
