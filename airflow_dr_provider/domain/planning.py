"""How a plan is made: the choice of every tier, put together to one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from airflow_dr_provider.domain.acknowledgement import Acknowledgement, judge_holes
from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.continuity import Continuity, holes, holes_towards
from airflow_dr_provider.domain.eligibility import Ineligibility, SelectionInputs
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.plan import (
    Plan,
    PlannedCandidate,
    PlannedHole,
    PlannedTarget,
    PlannedTier,
    Reachable,
    Segments,
)
from airflow_dr_provider.domain.selection import Row, SelectionTable, select
from airflow_dr_provider.domain.target import RecoveryTarget, Resolution, ResolvedTarget, TargetKind
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.wal import segment_name, segment_of, subtract_ranges

_NOWHERE = "target_unreachable"
"""Why a backup that nothing else speaks against can't serve: the target lies off every way."""

_SHORT = "short_of_target"
_ORDER = (*(code.value for code in Ineligibility), _NOWHERE, _SHORT)

END_OF_WAL = Lsn((1 << 64) - 1)


class Unreachable(Value):
    """Why no tier can have a candidate: the target leads nowhere.

    :param code: the signature's.
    """

    code: str
    detail: str


class Choice(Value):
    """One tier's choice, and the one after it.

    :param following: the table with the chosen backup refused; None when none was chosen.
    """

    tier: str
    table: SelectionTable
    following: SelectionTable | None = None


def choose(tier: str, inputs: SelectionInputs) -> Choice:
    """What a tier takes, and what it would take next if that were found to be damaged."""
    table = select(inputs)
    if table.chosen is None:
        return Choice(tier=tier, table=table)
    refused = {**inputs.refused, table.chosen.backup_id: "BACKUP_CHECKSUM_MISMATCH"}
    return Choice(tier=tier, table=table, following=select(inputs.model_copy(update={"refused": refused})))


def stand_in(catalog: Catalog, asked: RecoveryTarget, timeline: int) -> Resolution:
    """The point by which backups are judged when the target could not be resolved: so that each still shows its reasons."""
    lsn = Lsn(asked.value) if asked.kind is TargetKind.LSN else END_OF_WAL
    if asked.kind is not TargetKind.LSN:
        continuity = Continuity(catalog.archive)
        reached = (continuity.reach(backup, timeline) for backup in catalog.backups)
        lsn = max((Lsn(found.end_lsn - 1) for found in reached if found.path), default=lsn)
    return Resolution(target=ResolvedTarget(timeline=timeline, lsn=lsn, requested=asked), exact=False)


def put_together(
    *,
    drill: str,
    as_of: datetime,
    catalog: Catalog,
    resolution: Resolution,
    choices: Sequence[Choice],
    bad: Sequence[SegmentRange] = (),
    acknowledged: Sequence[Acknowledgement] = (),
    times: Mapping[str, datetime] | None = None,
    nowhere: Unreachable | None = None,
    notes: Sequence[str] = (),
) -> Plan:
    """A plan of what was chosen and found.

    :param resolution: the target, or its :func:`stand_in` when *nowhere* says that there is none.
    :param bad: segments found damaged; they count as missing.
    :param times: the last commit that each backup reaches, by id, where records were read.
    """
    target = resolution.target
    continuity = Continuity(catalog.archive, bad)
    backups: dict[str, Backup] = {}
    for backup in catalog.backups:
        backups.setdefault(backup.id, backup)
    candidates = [
        _candidate(backup, choices, _reachable(continuity, backup, target.timeline, (times or {}).get(backup.id)), nowhere)
        for backup in backups.values()
    ]
    candidates.sort(key=lambda found: _rank(found, backups[found.id]))
    return Plan(
        drill=drill,
        target=_target(resolution, nowhere),
        as_of=as_of,
        candidates=tuple(candidates),
        holes=_holes(catalog, continuity, target, acknowledged),
        tiers=tuple(_tier(choice, nowhere) for choice in choices),
        notes=tuple(notes),
    )


def _target(resolution: Resolution, nowhere: Unreachable | None) -> PlannedTarget:
    target = resolution.target
    asked = target.requested
    if nowhere is not None:
        return PlannedTarget(kind=asked.kind, value=asked.value, timeline=target.timeline, exact=False, note=nowhere.detail)
    return PlannedTarget(
        kind=asked.kind,
        value=asked.value,
        lsn=target.lsn,
        timeline=target.timeline,
        inclusive=target.inclusive,
        time=target.time if resolution.exact else None,
        exact=resolution.exact,
        note=target.note,
    )


def _tier(choice: Choice, nowhere: Unreachable | None) -> PlannedTier:
    table = choice.table
    if nowhere is not None:
        return PlannedTier(name=choice.tier, candidate=None, reason=nowhere.code, detail=nowhere.detail)
    if table.chosen is None:
        return PlannedTier(name=choice.tier, candidate=None, reason=table.reason, detail=table.detail)
    following = choice.following.chosen if choice.following is not None else None
    return PlannedTier(
        name=choice.tier,
        candidate=table.chosen.backup_id,
        reason=_SHORT if table.chosen.short else "reaches_target",
        detail=table.detail,
        falls_back_to=following.backup_id if following is not None else None,
    )


# -- candidates ----------------------------------------------------------------------------------------------------------
def _candidate(
    backup: Backup, choices: Sequence[Choice], reachable: Reachable, nowhere: Unreachable | None
) -> PlannedCandidate:
    rows = {choice.tier: row for choice in choices for row in choice.table.rows if row.backup_id == backup.id}
    taken = next((row for row in rows.values() if row.eligible), None) if nowhere is None else None
    details = {code.value: sentence for row in rows.values() for code, sentence in row.reasons}
    if nowhere is not None and not details:
        details = {_NOWHERE: "the target lies off every way through the WAL"}
    if taken is not None and taken.short:
        details[_SHORT] = f"it ends before the target, at {reachable.lsn}"
    order = sorted(details, key=_ORDER.index)
    return PlannedCandidate(
        id=backup.id,
        repository=backup.repository,
        type=backup.kind.value,
        stop_time=backup.stop_time,
        timeline=backup.timeline,
        eligible=taken is not None,
        reasons=() if taken is not None else tuple(order),
        details={code: details[code] for code in order},
        tiers=_differences(rows),
        score=taken.score if taken is not None else None,
        terms={term.name: term.value * term.weight for term in taken.terms} if taken is not None else {},
        short=taken.short if taken is not None else False,
        reachable=reachable,
    )


def _differences(rows: Mapping[str, Row]) -> dict[str, tuple[str, ...]]:
    """The codes of each tier, when they aren't the same for all."""
    codes = {tier: tuple(code.value for code, _ in row.reasons) for tier, row in rows.items()}
    return codes if len(set(codes.values())) > 1 else {}


def _rank(candidate: PlannedCandidate, backup: Backup) -> tuple[bool, int, int, str]:
    stop = -int(backup.stop_lsn) if backup.stop_lsn is not None else 1
    return not candidate.eligible, -(candidate.score or 0), stop, candidate.id


def _reachable(continuity: Continuity, backup: Backup, timeline: int, time: datetime | None) -> Reachable:
    reached = continuity.reach(backup, timeline)
    if not reached.on_timeline:
        if backup.timeline is None:
            return Reachable()
        timeline, time = backup.timeline, None
        reached = continuity.reach(backup, timeline)
    size = continuity.archive.segment_size
    return Reachable(
        lsn=reached.end_lsn if reached.path else None,
        time=time,
        timeline=timeline,
        consistent=reached.consistent,
        hole=_segments(reached.hole, size) if reached.hole is not None else None,
    )


# -- holes ---------------------------------------------------------------------------------------------------------------
def _holes(
    catalog: Catalog, continuity: Continuity, target: ResolvedTarget, acknowledged: Sequence[Acknowledgement]
) -> tuple[PlannedHole, ...]:
    size = catalog.archive.segment_size
    way = _on_the_way(catalog, continuity, target)
    return tuple(
        PlannedHole(
            timeline=judged.hole.timeline,
            first=segment_name(judged.hole.timeline, judged.hole.first, size),
            last=segment_name(judged.hole.timeline, judged.hole.last, size),
            on_path=subtract_ranges((judged.hole,), way) != (judged.hole,),
            acknowledged="; ".join(judged.reasons) if judged.acknowledged else None,
            open=tuple(_segments(part, size) for part in judged.open),
        )
        for judged in judge_holes(holes(catalog, continuity), acknowledged, size)
    )


def _on_the_way(catalog: Catalog, continuity: Continuity, target: ResolvedTarget) -> tuple[SegmentRange, ...]:
    """The holes on the way of sound backups to the target; for ``latest`` the way has no end."""
    found = holes_towards(catalog, continuity, target.timeline)
    if target.requested.kind is TargetKind.LATEST:
        return found
    limit = segment_of(target.lsn, catalog.archive.segment_size)
    return tuple(part.model_copy(update={"last": min(part.last, limit)}) for part in found if part.first <= limit)


def _segments(part: SegmentRange, segment_size: int) -> Segments:
    return Segments(
        timeline=part.timeline,
        first=segment_name(part.timeline, part.first, segment_size),
        last=segment_name(part.timeline, part.last, segment_size),
    )
