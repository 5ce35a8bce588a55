"""The choice of a backup: hard rules, a score, a stable tie-break; winners and losers are kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from airflow_dr_provider.domain.catalog import Backup, SegmentRange
from airflow_dr_provider.domain.continuity import Continuity, Reach
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.eligibility import (
    Ineligibility,
    Reasons,
    SelectionInputs,
    ineligibility,
    stopping_point,
)
from airflow_dr_provider.domain.lineage import ancestry
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.score import Term, score, terms
from airflow_dr_provider.domain.soundness import cluster_of
from airflow_dr_provider.domain.target import ResolvedTarget, StoppingPoint
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.wal import range_text, segment_of

__all__ = ["Ineligibility", "Row", "SelectionInputs", "SelectionTable", "Term", "select"]

_HOLES = {Ineligibility.WAL_HOLE_BEFORE_CONSISTENCY, Ineligibility.WAL_HOLE_BEFORE_TARGET}
_BEFORE_TARGET = {Ineligibility.WAL_HOLE_BEFORE_TARGET, Ineligibility.WAL_ENDS_BEFORE_TARGET}
_OUT_OF_REACH = {
    Ineligibility.AFTER_TARGET,
    Ineligibility.WRONG_TIMELINE,
    Ineligibility.WAL_ENDS_BEFORE_CONSISTENCY,
    Ineligibility.WAL_ENDS_BEFORE_TARGET,
}


class Row(Value):
    """One candidate in the table.

    :param reasons: why it can't be chosen, each with a sentence; empty for an eligible one.
    :param terms: the parts of its score; empty when it isn't eligible.
    :param end_lsn: the position up to which WAL carries it towards the target's timeline; None off the way to that.
    :param hole: the first missing segments on that way.
    :param short: True when it can't reach the target and would serve up to an earlier point.
    :param tried: True when an attempt of this run with it failed for another cause.
    """

    backup_id: str
    eligible: bool
    reasons: Reasons = ()
    terms: tuple[Term, ...] = ()
    score: int | None = None
    end_lsn: Lsn | None = None
    hole: SegmentRange | None = None
    short: bool = False
    tried: bool = False


class SelectionTable(Value):
    """The whole choice.

    :param rows: every backup of the catalog, the chosen one first.
    :param reason: a signature's code when nothing was chosen, else "": ``RPO_EXCEEDED`` when some backup failed on the RPO
        alone, ``WAL_HOLE`` when some failed on missing WAL alone, ``TARGET_UNREACHABLE`` when the target lies off what every
        sound backup can reach, else ``NO_CANDIDATE``.
    :param detail: a sentence for a person, in both cases.
    """

    rows: tuple[Row, ...] = ()
    chosen: RestoreCoordinate | None = None
    reason: str = ""
    detail: str = ""


class _Candidate(NamedTuple):
    backup: Backup
    reach: Reach
    short: StoppingPoint | None
    row: Row


def select(inputs: SelectionInputs) -> SelectionTable:
    """Choose the backup to restore, and say why.

    Eligibility first, with every reason of each backup; then the score; between equal scores the newer stop position, then
    the id. The order of the catalog's entries, and of every set in the inputs, makes no difference.
    """
    continuity = Continuity(inputs.catalog.archive, inputs.bad)
    entries = _ordered(inputs.catalog.backups)
    backups: dict[str, Backup] = {}
    for backup in entries:
        backups.setdefault(backup.id, backup)
    cluster = cluster_of(inputs.catalog)
    judged = (_candidate(inputs, backup, continuity, backups, cluster) for backup in backups.values())
    candidates = sorted(judged, key=partial(_rank, another=inputs.another))
    rows = tuple(candidate.row for candidate in candidates)
    if candidates and candidates[0].row.eligible:
        best = candidates[0]
        chosen = _coordinate(inputs, best, continuity)
        return SelectionTable(rows=rows, chosen=chosen, detail=_praise(inputs, best, chosen, rows))
    reason, detail = _why_nothing(inputs, candidates)
    return SelectionTable(rows=rows, reason=reason, detail=detail)


def _ordered(backups: Sequence[Backup]) -> list[Backup]:
    """Backups in an order of their own content: two entries of one id are told apart by all that they say."""
    if len({backup.id for backup in backups}) == len(backups):
        return sorted(backups, key=lambda backup: backup.id)
    return sorted(backups, key=lambda backup: (backup.id, bool(backup.flaws), backup.model_dump_json()))


def _candidate(
    inputs: SelectionInputs, backup: Backup, continuity: Continuity, backups: dict[str, Backup], cluster: int | None
) -> _Candidate:
    reach = continuity.reach(backup, inputs.target.timeline)
    reasons = ineligibility(inputs, backup, reach, backups=backups, cluster=cluster)
    short = stopping_point(inputs, backup, reach)
    parts = () if reasons else terms(backup, inputs.target, short, inputs.catalog.archive.segment_size)
    row = Row(
        backup_id=backup.id,
        eligible=not reasons,
        reasons=reasons,
        terms=parts,
        score=None if reasons else score(parts),
        end_lsn=reach.end_lsn if reach.on_timeline else None,
        hole=reach.hole,
        short=not reasons and short is not None,
        tried=backup.id in inputs.tried,
    )
    return _Candidate(backup, reach, short, row)


def _rank(candidate: _Candidate, *, another: bool) -> tuple[bool, bool, int, int, str]:
    row, stop = candidate.row, candidate.backup.stop_lsn
    return not row.eligible, another and row.tried, -(row.score or 0), -int(stop) if stop is not None else 1, row.backup_id


def _coordinate(inputs: SelectionInputs, best: _Candidate, continuity: Continuity) -> RestoreCoordinate:
    backup, archive = best.backup, inputs.catalog.archive
    if backup.server_version is None:
        raise ValueError(f"{backup.id} was found eligible although its version is unknown")
    target = inputs.target if best.short is None else _short_target(inputs, best.short, best.reach)
    return RestoreCoordinate(
        backup_id=backup.id,
        chain=backup.chain,
        server_version=backup.server_version,
        system_identifier=backup.system_identifier,
        target=target,
        wal=continuity.archived(_cut(best.reach.path, segment_of(target.lsn, archive.segment_size))),
        histories=tuple(fork.timeline for fork in ancestry(archive, target.timeline)),
        segment_size=archive.segment_size,
        size_bytes=backup.size_bytes,
        short=best.short is not None,
    )


def _short_target(inputs: SelectionInputs, point: StoppingPoint, reach: Reach) -> ResolvedTarget:
    """The last point before the hole. The timeline stays the run's: the way to it is what was followed up to the hole."""
    size = inputs.catalog.archive.segment_size
    cause = f"{range_text(reach.hole, size)} is missing" if reach.hole is not None else f"its WAL ends at {reach.end_lsn}"
    note = f"The target {inputs.target.lsn} can't be reached: {cause}. The last point before is {point.lsn}."
    return ResolvedTarget(
        timeline=inputs.target.timeline,
        lsn=point.lsn,
        inclusive=True,
        time=point.time,
        requested=inputs.target.requested,
        note=note,
    )


def _cut(path: Sequence[SegmentRange], number: int) -> tuple[SegmentRange, ...]:
    """A path up to a segment and the one after it: the record at which recovery stops may run over its end."""
    return tuple(
        part if part.last <= number + 1 else part.model_copy(update={"last": number + 1})
        for part in path
        if part.first <= number + 1
    )


def _praise(inputs: SelectionInputs, best: _Candidate, chosen: RestoreCoordinate, rows: Sequence[Row]) -> str:
    eligible = sum(row.eligible for row in rows)
    others = "no other backup is eligible" if eligible == 1 else f"it leads {eligible} eligible backups"
    if chosen.short:
        return f"{best.backup.id}, up to {chosen.target.lsn} only; {others}. {chosen.target.note}"
    return f"{best.backup.id} reaches the target {inputs.target.lsn}; {others}."


def _why_nothing(inputs: SelectionInputs, candidates: Sequence[_Candidate]) -> tuple[str, str]:
    if not candidates:
        return "NO_CANDIDATE", "The repository lists no backup; take one, or point the drill at the right repository."
    barred = [(candidate, {code for code, _ in candidate.row.reasons}) for candidate in candidates]
    for candidate, codes in barred:
        others = codes - {Ineligibility.RPO_EXCEEDED}
        if Ineligibility.RPO_EXCEEDED in codes and (not others or (candidate.short is not None and others <= _BEFORE_TARGET)):
            return "RPO_EXCEEDED", _sentence(candidate, "Only the RPO stands in the way of", Ineligibility.RPO_EXCEEDED)
    for candidate, codes in barred:
        if codes & _HOLES and codes <= _HOLES | {Ineligibility.RPO_EXCEEDED}:
            return "WAL_HOLE", _sentence(candidate, "WAL is missing on the way of", *sorted(codes & _HOLES))
    sound = [(candidate, codes) for candidate, codes in barred if not candidate.backup.flaws]
    if sound and all(codes & _OUT_OF_REACH for _, codes in sound):
        candidate, codes = sound[0]
        lead = f"No backup reaches {inputs.target.lsn} on timeline {inputs.target.timeline}, not even"
        return "TARGET_UNREACHABLE", _sentence(
            candidate, lead, *(code for code in Ineligibility if code in codes & _OUT_OF_REACH)
        )
    candidate, codes = barred[0]
    lead = (
        f"None of {len(candidates)} backups is eligible, not even"
        if len(candidates) > 1
        else "The only backup is not eligible,"
    )
    return "NO_CANDIDATE", _sentence(candidate, lead, *(code for code in Ineligibility if code in codes))


def _sentence(candidate: _Candidate, lead: str, *codes: Ineligibility) -> str:
    said = dict(candidate.row.reasons)
    return f"{lead} {candidate.backup.id}: {'; '.join(said[code] for code in codes)}."
