"""What a run would choose now: open and select without a run, a reference from production, or anything made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow_dr_provider.connections import ConnectionPort, from_environment
from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.continuity import Continuity
from airflow_dr_provider.domain.estimate import ESTIMABLE
from airflow_dr_provider.domain.plan import Plan
from airflow_dr_provider.domain.planning import Unreachable, choose, put_together, stand_in
from airflow_dr_provider.domain.reference import Reference
from airflow_dr_provider.domain.regions import choose_timeline
from airflow_dr_provider.domain.soundness import sound_backups
from airflow_dr_provider.domain.target import RecoveryTarget, aimed_moment
from airflow_dr_provider.errors import TargetError
from airflow_dr_provider.spec.models import DrillSpec, FileReference
from airflow_dr_provider.spec.repository_connection import placed
from airflow_dr_provider.stages.damage import with_known_damage
from airflow_dr_provider.stages.open_run import acknowledgements, repository_of
from airflow_dr_provider.stages.production import last_reference, read_reference
from airflow_dr_provider.stages.resolve_target import resolve_target
from airflow_dr_provider.stages.selection_inputs import (
    LastRecords,
    Memory,
    as_known,
    recall,
    selection_inputs,
    stopping_points,
)
from airflow_dr_provider.state.store import Store

_NO_STORE = "no state store was read, so no backup is known to be in quarantine; name it in --state or AIRFLOW_DR_STATE"
_UNREAD = "no record was read: targets are estimates, and the RPO is judged by backups' times alone; --records reads them"
_READ = "a target of this kind has no position before records are read, so they were"


async def make_plan(
    spec: DrillSpec,
    *,
    store: Store | None,
    as_of: datetime | None,
    now: datetime,
    records: bool = False,
    connections: ConnectionPort = from_environment,
) -> Plan:
    """Judge every backup for every tier as a run that opens now would.

    :param store: the memory of earlier runs; None for none.
    :param as_of: the moment of the disaster, when it isn't now.
    :param records: whether WAL may be decoded where names and headers give an estimate.
    :param connections: finds a repository's connection.
    :raises DrillError: when it can't be said: the repository, the store or the spec can't be used.
    """
    moment = as_of or now
    adapter = repository_of(placed(spec, connections))
    catalog = await adapter.catalog()
    if store is not None:
        catalog = with_known_damage(catalog, store)
    memory = _memory(spec, store, catalog.identity)
    catalog = as_known(catalog, memory.system_identifier)
    asked = spec.target.recovery_target()
    reading = records or asked.kind not in ESTIMABLE
    nowhere: Unreachable | None = None
    try:
        resolution = await resolve_target(adapter, catalog, asked, moment=moment, now=now, records=reading)
    except TargetError as error:
        nowhere = Unreachable(code=error.code, detail=error.message)
        resolution = stand_in(catalog, asked, _timeline(catalog, asked))
    target = resolution.target
    last = LastRecords(adapter, catalog, read=reading)
    points = await stopping_points(last, target, bad=memory.bad) if nowhere is None else {}
    choices = [
        choose(
            tier.name,
            selection_inputs(
                spec,
                tier,
                catalog=catalog,
                target=target,
                moment=aimed_moment(target, moment),
                memory=memory,
                stopping_points=points,
            ),
        )
        for tier in spec.tiers
    ]
    return put_together(
        drill=spec.drill,
        as_of=moment,
        catalog=catalog,
        resolution=resolution,
        choices=choices,
        bad=memory.bad,
        acknowledged=acknowledgements(spec),
        times=await _times(last, memory, target.timeline) if reading else {},
        nowhere=nowhere,
        notes=(*_notes(asked, store, records=records, reading=reading), *catalog.notes),
    )


def _memory(spec: DrillSpec, store: Store | None, repository: str) -> Memory:
    """What a run would know beside the catalog: the store's memory, and the reference's cluster without asking production."""
    memory = recall(store, repository) if store is not None else Memory()
    wanted = spec.source.reference
    reference: Reference | None = None
    if isinstance(wanted, FileReference):
        reference = read_reference(wanted.file)
    elif store is not None:
        reference = last_reference(store, spec.drill, wanted)
    if reference is None:
        return memory
    return memory.model_copy(update={"system_identifier": reference.system_identifier})


def _timeline(catalog: Catalog, asked: RecoveryTarget) -> int:
    try:
        return choose_timeline(catalog, asked)
    except TargetError:
        return 1


async def _times(last: LastRecords, memory: Memory, timeline: int) -> dict[str, datetime]:
    """The last commit that each sound backup reaches, by its id."""
    continuity = Continuity(last.catalog.archive, memory.bad)
    times: dict[str, datetime] = {}
    for backup in sound_backups(last.catalog):
        reached = continuity.reach(backup, timeline)
        point = await last.of(reached) if reached.consistent else None
        if point is not None and point.time is not None:
            times[backup.id] = point.time
    return times


def _notes(asked: RecoveryTarget, store: Store | None, *, records: bool, reading: bool) -> Sequence[str]:
    notes = [] if store is not None else [_NO_STORE]
    if not reading:
        notes.append(_UNREAD)
    elif not records:
        notes.append(f"{_READ} ({asked.kind.value.replace('_', ' ')} {asked.value})")
    return notes
