"""Turn what was asked for into the one record of the WAL that every tier aims at."""

from __future__ import annotations

from datetime import datetime

from airflow_dr_provider.domain.catalog import Catalog, SegmentRange
from airflow_dr_provider.domain.estimate import ESTIMABLE, estimated_target
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.regions import Region, choose_timeline, regions
from airflow_dr_provider.domain.target import RecoveryTarget, Resolution, ResolvedTarget, StoppingPoint, TargetKind
from airflow_dr_provider.domain.wal import range_text
from airflow_dr_provider.errors import TargetError
from airflow_dr_provider.repositories.base import Repository


async def resolve_target(
    repository: Repository,
    catalog: Catalog,
    target: RecoveryTarget,
    *,
    moment: datetime,
    now: datetime,
    records: bool = True,
) -> Resolution:
    """Resolve a target against what the archive can reach at this moment.

    :param moment: the moment of the disaster; what was written after it doesn't exist for this run.
    :param records: False to read none where the target has a position without, and to answer with an estimate.
    :raises TargetError: ``TARGET_IN_FUTURE`` or ``TARGET_UNREACHABLE``.
    """
    if target.kind is TargetKind.TIME and datetime.fromisoformat(target.value) > now:
        raise TargetError(
            f"The recovery target {target.value} lies in the future. Choose a time that has passed.", code="TARGET_IN_FUTURE"
        )
    timeline = choose_timeline(catalog, target)
    stretches = regions(catalog, timeline)
    if not stretches:
        raise TargetError(
            f"No sound backup becomes consistent on timeline {timeline}: the WAL from its start to its stop isn't there, "
            f"or it belongs to another timeline. Take a new base backup, or name another target.timeline."
        )
    if records or target.kind not in ESTIMABLE:
        resolve = {TargetKind.LATEST: _latest, TargetKind.LSN: _lsn}.get(target.kind, _searched)
        found = await resolve(repository, catalog, stretches, target, timeline, moment)
    else:
        found = estimated_target(catalog, stretches, target, timeline, moment)
    if found is None:
        asked = f"{target.kind.value.replace('_', ' ')} {target.value}".strip()
        first, last = stretches[-1], stretches[0]
        raise TargetError(
            f"The recovery target ({asked}) can't be reached on timeline {timeline}: the backups and WAL of this repository "
            f"lead from {first.begin_lsn} to {last.end_lsn}. Choose a target in between, or provide the missing WAL."
        )
    return found


async def _latest(
    repository: Repository,
    catalog: Catalog,
    stretches: tuple[Region, ...],
    target: RecoveryTarget,
    timeline: int,
    moment: datetime,
) -> Resolution | None:
    for stretch in stretches:
        last = await repository.last_record(catalog, stretch.path)
        if last is None:
            continue
        hole = stretch.hole
        note = (
            f"the WAL ends at a hole that no backup gets over ({range_text(hole, catalog.archive.segment_size)})"
            if hole
            else ""
        )
        if last.time is not None and last.time > moment:
            earlier = RecoveryTarget(kind=TargetKind.TIME, value=moment.isoformat(), timeline=target.timeline)
            bounded = await _searched(repository, catalog, stretches, earlier, timeline, moment)
            if bounded is None:
                return None
            note = f"bounded by the moment of the disaster, {moment.isoformat()}"
            return Resolution(target=bounded.target.model_copy(update={"requested": target, "note": note}))
        resolved = ResolvedTarget(timeline=last.timeline, lsn=last.lsn, time=last.time, requested=target, note=note)
        return Resolution(target=resolved, hole=hole)
    return None


async def _lsn(
    repository: Repository,
    catalog: Catalog,
    stretches: tuple[Region, ...],
    target: RecoveryTarget,
    timeline: int,
    moment: datetime,
) -> Resolution | None:
    wanted = Lsn(target.value)
    for stretch in stretches:
        if wanted >= stretch.end_lsn or wanted < stretch.begin_lsn:
            continue
        last = await repository.last_record(catalog, stretch.path)
        if last is None or wanted > last.lsn:
            continue
        before = await repository.last_record(catalog, _cut(stretch.path, wanted, catalog.archive.segment_size))
        time = before.time if before is not None else None
        return Resolution(target=ResolvedTarget(timeline=timeline, lsn=wanted, time=time, requested=target))
    return None


async def _searched(
    repository: Repository,
    catalog: Catalog,
    stretches: tuple[Region, ...],
    target: RecoveryTarget,
    timeline: int,
    moment: datetime,
) -> Resolution | None:
    for stretch in stretches:
        found = await repository.find_target(catalog, stretch.path, target)
        if found is None:
            continue
        point, inclusive = found
        if not any((backup.stop_lsn or Lsn(0)) <= point.lsn for backup in stretch.backups):
            continue
        if target.kind is TargetKind.TIME and not _covers(stretch, point, datetime.fromisoformat(target.value)):
            continue
        resolved = ResolvedTarget(
            timeline=point.timeline, lsn=point.lsn, inclusive=inclusive, time=point.time, requested=target
        )
        return Resolution(target=resolved)
    return None


def _covers(stretch: Region, point: StoppingPoint, wanted: datetime) -> bool:
    """Whether the stretch begins before the wanted time: else its first commit isn't the first one after it."""
    if point.time is not None and point.time <= wanted:
        return True
    starts = [backup.start_time for backup in stretch.backups if backup.start_time is not None]
    return bool(starts) and min(starts) <= wanted


def _cut(path: tuple[SegmentRange, ...], lsn: Lsn, segment_size: int) -> tuple[SegmentRange, ...]:
    number = lsn // segment_size
    kept = (SegmentRange(timeline=r.timeline, first=r.first, last=min(r.last, number)) for r in path if r.first <= number)
    return tuple(kept)
