"""Hard rules: whether a backup can serve a recovery target at all, with every reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, Catalog, SegmentRange
from airflow_dr_provider.domain.continuity import Reach
from airflow_dr_provider.domain.span import in_words
from airflow_dr_provider.domain.target import ResolvedTarget, StoppingPoint, TargetKind
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.wal import range_text


class Ineligibility(StrEnum):
    """Why a backup can't be chosen. The order is that of the reasons in a row."""

    INCOMPLETE = "incomplete"
    NO_MANIFEST = "no_manifest"
    MANIFEST_DAMAGED = "manifest_damaged"
    NO_LABEL = "no_label"
    BASE_MISSING = "base_missing"
    BASE_FLAWED = "base_flawed"
    ERROR_FLAG = "error_flag"
    UNREADABLE = "unreadable"
    POSITION_UNKNOWN = "position_unknown"
    QUARANTINED = "quarantined"
    REFUSED = "refused"
    OTHER_SYSTEM = "other_system"
    VERSION_NOT_RUNNABLE = "version_not_runnable"
    WRONG_TIMELINE = "wrong_timeline"
    AFTER_TARGET = "after_target"
    AFTER_MOMENT = "after_moment"
    OUTSIDE_LOOKBACK = "outside_lookback"
    WAL_HOLE_BEFORE_CONSISTENCY = "wal_hole_before_consistency"
    WAL_ENDS_BEFORE_CONSISTENCY = "wal_ends_before_consistency"
    WAL_HOLE_BEFORE_TARGET = "wal_hole_before_target"
    WAL_ENDS_BEFORE_TARGET = "wal_ends_before_target"
    RPO_EXCEEDED = "rpo_exceeded"


Reasons = tuple[tuple[Ineligibility, str], ...]
"""Each reason with a sentence for a person."""

_FLAWS: dict[BackupFlaw, tuple[Ineligibility, str]] = {
    BackupFlaw.INCOMPLETE: (Ineligibility.INCOMPLETE, "it was never finished, or part of it is gone"),
    BackupFlaw.NO_MANIFEST: (Ineligibility.NO_MANIFEST, "it has no manifest, so nothing in it can be verified"),
    BackupFlaw.MANIFEST_DAMAGED: (Ineligibility.MANIFEST_DAMAGED, "its manifest can't be read or fails its own checksum"),
    BackupFlaw.NO_LABEL: (Ineligibility.NO_LABEL, "it has no backup_label, so nobody knows where its recovery starts"),
    BackupFlaw.BASE_MISSING: (Ineligibility.BASE_MISSING, "a backup that it builds on is not there"),
    BackupFlaw.ERROR_FLAG: (Ineligibility.ERROR_FLAG, "the tool that made it marked it as faulty"),
    BackupFlaw.UNREADABLE: (Ineligibility.UNREADABLE, "it can't be read"),
}


class SelectionInputs(Value):
    """All that a choice depends on: the same inputs give the same choice, and an auditor can recompute it.

    :param target: the run's target; every tier aims at the same.
    :param moment: the moment of the disaster, from which RPO and lookback count; the target's own time for a target other
        than latest. With an offset, as every time in the catalog.
    :param rpo_seconds: the tier's RPO; infinity for none.
    :param lookback_seconds: how old a backup may be; infinity for no bound.
    :param quarantined: ids of backups that failed in this run or an earlier one, with the signature. It spreads to every
        backup whose chain holds one of them, and no further.
    :param refused: ids not to be used again in this run, with the signature; spreads as quarantine does.
    :param bad: segments found damaged in this run.
    :param runnable_versions: PostgreSQL's major versions that the tier's sandbox can run; None when it isn't known.
    :param stopping_points: for target latest, the last record before a backup's hole, by backup id: up to there a backup may
        serve that can't reach the target, when the RPO allows it.
    :param tried: ids that failed in this run through no fault of theirs; they may be chosen again, and their rows say so.
    :param another: whether those come last, whatever their score: a person asked for another backup.
    """

    catalog: Catalog
    target: ResolvedTarget
    moment: datetime
    rpo_seconds: float
    lookback_seconds: float
    quarantined: dict[str, str] = Field(default_factory=dict)
    refused: dict[str, str] = Field(default_factory=dict)
    bad: tuple[SegmentRange, ...] = ()
    runnable_versions: tuple[int, ...] | None = None
    stopping_points: dict[str, StoppingPoint] = Field(default_factory=dict)
    tried: tuple[str, ...] = ()
    another: bool = False


def reaches(reach: Reach, target: ResolvedTarget) -> bool:
    """Whether a way through the WAL holds the record at which recovery is to stop (its first byte, at least)."""
    return reach.consistent and target.lsn < reach.end_lsn


def stopping_point(inputs: SelectionInputs, backup: Backup, reach: Reach) -> StoppingPoint | None:
    """Where a backup that can't reach the target latest may stop instead; None when it reaches it, or can't stop anywhere."""
    if inputs.target.requested.kind is not TargetKind.LATEST or reaches(reach, inputs.target):
        return None
    point = inputs.stopping_points.get(backup.id)
    if point is None or not reach.consistent or backup.stop_lsn is None:
        return None
    return point if backup.stop_lsn <= point.lsn < min(reach.end_lsn, inputs.target.lsn) else None


def ineligibility(
    inputs: SelectionInputs, backup: Backup, reach: Reach, *, backups: Mapping[str, Backup], cluster: int | None
) -> Reasons:
    """Every reason why a backup can't serve; empty for an eligible one.

    :param reach: what the backup reaches towards the target's timeline, with ``inputs.bad`` left out.
    :param backups: the catalog's backups by id.
    :param cluster: see :func:`airflow_dr_provider.domain.soundness.cluster_of`.
    """
    reasons = {
        **_own_reasons(backup, backups),
        **_memory_reasons(inputs, backup),
        **_fit_reasons(inputs, backup, cluster),
        **_time_reasons(inputs, backup),
        **_wal_reasons(inputs, backup, reach),
        **_rpo_reasons(inputs, backup, reach),
    }
    return tuple((code, reasons[code]) for code in Ineligibility if code in reasons)


def _own_reasons(backup: Backup, backups: Mapping[str, Backup]) -> dict[Ineligibility, str]:
    reasons: dict[Ineligibility, str] = {}
    for flaw in backup.flaws:
        code, sentence = _FLAWS[flaw]
        reasons[code] = f"{sentence}: {backup.note}" if backup.note else sentence
    missing = sorted(base for base in backup.chain if base not in backups)
    if missing:
        reasons[Ineligibility.BASE_MISSING] = f"it builds on {', '.join(missing)}, which is not there"
    flawed = sorted(base for base in backup.chain if base in backups and backups[base].flaws)
    if flawed:
        reasons[Ineligibility.BASE_FLAWED] = f"it builds on {', '.join(flawed)}, which can't be used"
    unknown = [
        name
        for name, value in (("timeline", backup.timeline), ("start", backup.start_lsn), ("stop", backup.stop_lsn))
        if value is None
    ]
    if unknown:
        reasons[Ineligibility.POSITION_UNKNOWN] = f"its catalog entry doesn't tell its {' and '.join(unknown)}"
    return reasons


def _memory_reasons(inputs: SelectionInputs, backup: Backup) -> dict[Ineligibility, str]:
    reasons: dict[Ineligibility, str] = {}
    for code, memory, word in (
        (Ineligibility.QUARANTINED, inputs.quarantined, "in quarantine"),
        (Ineligibility.REFUSED, inputs.refused, "refused in this run"),
    ):
        causes = [name for name in dict.fromkeys((backup.id, *backup.chain)) if name in memory]
        if causes:
            cause = causes[0]
            whose = "it is" if cause == backup.id else f"it builds on {cause}, which is"
            reasons[code] = f"{whose} {word}: {memory[cause]}"
    return reasons


def _fit_reasons(inputs: SelectionInputs, backup: Backup, cluster: int | None) -> dict[Ineligibility, str]:
    reasons: dict[Ineligibility, str] = {}
    if cluster is not None and backup.system_identifier is not None and backup.system_identifier != cluster:
        reasons[Ineligibility.OTHER_SYSTEM] = f"it is of cluster {backup.system_identifier}, not of {cluster}"
    if backup.server_version is None:
        reasons[Ineligibility.VERSION_NOT_RUNNABLE] = "its PostgreSQL version is unknown"
    elif inputs.runnable_versions is not None and backup.server_version not in inputs.runnable_versions:
        have = ", ".join(str(version) for version in sorted(set(inputs.runnable_versions))) or "none"
        reasons[Ineligibility.VERSION_NOT_RUNNABLE] = f"it needs PostgreSQL {backup.server_version}; the sandbox has {have}"
    return reasons


def _time_reasons(inputs: SelectionInputs, backup: Backup) -> dict[Ineligibility, str]:
    reasons: dict[Ineligibility, str] = {}
    if backup.stop_lsn is not None and backup.stop_lsn > inputs.target.lsn:
        reasons[Ineligibility.AFTER_TARGET] = (
            f"it is consistent from {backup.stop_lsn} on, after the target {inputs.target.lsn}"
        )
    if backup.stop_time is None:
        return reasons
    # For other targets than latest the moment is the target's own time, and positions decide: clocks that tell a backup's end
    # are whole seconds, or another host's.
    if backup.stop_time > inputs.moment and inputs.target.requested.kind is TargetKind.LATEST:
        reasons[Ineligibility.AFTER_MOMENT] = f"it ended at {backup.stop_time.isoformat()}, after {inputs.moment.isoformat()}"
    age = (inputs.moment - backup.stop_time).total_seconds()
    if age > inputs.lookback_seconds:
        reasons[Ineligibility.OUTSIDE_LOOKBACK] = (
            f"it is {in_words(age)} old; the lookback is {in_words(inputs.lookback_seconds)}"
        )
    return reasons


def _wal_reasons(inputs: SelectionInputs, backup: Backup, reach: Reach) -> dict[Ineligibility, str]:
    target = inputs.target
    if backup.timeline is None or backup.start_lsn is None or backup.stop_lsn is None:
        return {}
    if not reach.on_timeline:
        sentence = f"it lies on timeline {backup.timeline} up to {backup.stop_lsn}, off the way to timeline {target.timeline}"
        return {Ineligibility.WRONG_TIMELINE: sentence}
    if reach.consistent and reaches(reach, target):
        return {}
    hole = reach.hole
    where = range_text(hole, inputs.catalog.archive.segment_size) if hole is not None else ""
    if not reach.consistent:
        if hole is not None:
            return {Ineligibility.WAL_HOLE_BEFORE_CONSISTENCY: f"{where} is missing, before its stop at {backup.stop_lsn}"}
        sentence = f"its WAL ends at {reach.end_lsn}, before its stop at {backup.stop_lsn}"
        return {Ineligibility.WAL_ENDS_BEFORE_CONSISTENCY: sentence}
    if stopping_point(inputs, backup, reach) is not None and _rpo_breach(inputs, backup, reach) is None:
        return {}
    if hole is not None:
        return {Ineligibility.WAL_HOLE_BEFORE_TARGET: f"{where} is missing, before the target {target.lsn}"}
    return {Ineligibility.WAL_ENDS_BEFORE_TARGET: f"its WAL ends at {reach.end_lsn}, before the target {target.lsn}"}


def _rpo_reasons(inputs: SelectionInputs, backup: Backup, reach: Reach) -> dict[Ineligibility, str]:
    breach = _rpo_breach(inputs, backup, reach)
    if breach is None:
        return {}
    return {Ineligibility.RPO_EXCEEDED: f"{in_words(breach)} of data would be lost; the RPO is {in_words(inputs.rpo_seconds)}"}


def _rpo_breach(inputs: SelectionInputs, backup: Backup, reach: Reach) -> float | None:
    """The seconds of data that would be lost when they are more than the RPO; None when they aren't, or nobody knows."""
    point = stopping_point(inputs, backup, reach)
    time = inputs.target.time if point is None else point.time
    if time is None:
        return None
    lost = (inputs.moment - time).total_seconds()
    return lost if lost > inputs.rpo_seconds else None
