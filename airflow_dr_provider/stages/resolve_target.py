"""Turn what was asked for into the one record of the WAL that every tier aims at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.continuity import Reach, latest_timeline, reach, whole_path
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget, StoppingPoint, TargetKind
from airflow_dr_provider.errors import TargetError
from airflow_dr_provider.repositories.base import Repository


@dataclass(frozen=True, kw_only=True)
class Region:
    """A stretch of WAL without a hole, and the backups from which it can be replayed.

    :param backups: in the order in which they become consistent.
    """

    path: tuple[SegmentRange, ...]
    end_lsn: Lsn
    hole: SegmentRange | None
    backups: tuple[Backup, ...]


def regions(catalog: Catalog, timeline: int) -> Iterator[Region]:
    """The stretches that lead along a timeline, the one that reaches furthest first."""
    found: dict[Lsn, list[tuple[Backup, Reach]]] = {}
    for backup in catalog.backups:
        if backup.flaws or backup.start_lsn is None or backup.stop_lsn is None:
            continue
        reached = reach(catalog.archive, backup, timeline)
        if reached.consistent and reached.on_timeline:
            found.setdefault(reached.end_lsn, []).append((backup, reached))
    for end in sorted(found, reverse=True):
        members = sorted(found[end], key=lambda pair: (pair[0].stop_lsn or Lsn(0), pair[0].id))
        longest = min(members, key=lambda pair: (pair[0].start_lsn or Lsn(0), pair[0].id))[1]
        path = whole_path(longest, catalog.archive.segment_size)
        yield Region(path=path, end_lsn=end, hole=longest.hole, backups=tuple(backup for backup, _ in members))


def choose_timeline(catalog: Catalog, target: RecoveryTarget) -> int:
    """The number of the timeline that a target means.

    :raises TargetError: when ``current`` is asked for and no backup knows its timeline.
    """
    if isinstance(target.timeline, int):
        return target.timeline
    if target.timeline == "latest":
        return latest_timeline(catalog)
    sound = [backup for backup in catalog.backups if not backup.flaws and backup.timeline and backup.stop_lsn is not None]
    if not sound:
        raise TargetError("No sound backup is left that could tell the current timeline. Name one in target.timeline.")
    newest = max(sound, key=lambda backup: (backup.stop_lsn or Lsn(0), backup.id))
    return newest.timeline or 1


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """A resolved target.

    :param hole: the hole that ends the way, when the target is the last point before one.
    """

    target: ResolvedTarget
    hole: SegmentRange | None = None


async def resolve_target(
    repository: Repository, catalog: Catalog, target: RecoveryTarget, *, moment: datetime, now: datetime
) -> Resolution:
    """Resolve a target against what the archive can reach at this moment.

    :param moment: the moment of the disaster; what was written after it doesn't exist for this run.
    :raises TargetError: ``TARGET_IN_FUTURE`` or ``TARGET_UNREACHABLE``.
    """
    if target.kind is TargetKind.TIME and datetime.fromisoformat(target.value) > now:
        raise TargetError(
            f"The recovery target {target.value} lies in the future. Choose a time that has passed.", code="TARGET_IN_FUTURE"
        )
    timeline = choose_timeline(catalog, target)
    stretches = tuple(regions(catalog, timeline))
    if not stretches:
        raise TargetError(
            f"No sound backup becomes consistent on timeline {timeline}: the WAL from its start to its stop isn't there, "
            f"or it belongs to another timeline. Take a new base backup, or name another target.timeline."
        )
    resolve = {TargetKind.LATEST: _latest, TargetKind.LSN: _lsn}.get(target.kind, _searched)
    found = await resolve(repository, catalog, stretches, target, timeline, moment)
    if found is None:
        asked = f"{target.kind.value.replace('_', ' ')} {target.value}".strip()
        first, last = stretches[-1], stretches[0]
        raise TargetError(
            f"The recovery target ({asked}) can't be reached on timeline {timeline}: the backups and WAL of this repository "
            f"lead from {first.backups[0].stop_lsn} to {last.end_lsn}. Choose a target in between, or provide the missing WAL."
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
        note = f"the WAL ends at a hole that no backup gets over ({_name(hole)})" if hole else ""
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
        if wanted >= stretch.end_lsn or wanted < (stretch.backups[0].stop_lsn or Lsn(0)):
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


def _name(hole: SegmentRange) -> str:
    return f"timeline {hole.timeline}, segments {hole.first} to {hole.last}"
