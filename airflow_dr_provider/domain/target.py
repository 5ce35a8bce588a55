"""Recovery targets: what was asked for, and the one point that it came to mean."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.value import Value


class TargetKind(StrEnum):
    """The ways in which PostgreSQL can be told where to stop (manual, section *Recovery Target*)."""

    LATEST = "latest"
    TIME = "time"
    LSN = "lsn"
    XID = "xid"
    RESTORE_POINT = "restore_point"


class RecoveryTarget(Value):
    """What was asked for.

    :param value: the time (ISO 8601 with an offset), LSN, transaction id or restore point's name as text; "" for latest.
    :param timeline: ``latest``, ``current`` (the backup's own) or a number.
    """

    kind: TargetKind = TargetKind.LATEST
    value: str = ""
    timeline: Literal["latest", "current"] | int = "latest"


class StoppingPoint(Value):
    """A record in the WAL at which recovery can be told to stop.

    :param lsn: where the record starts: what ``recovery_target_lsn`` is compared with.
    :param end_lsn: the position after the record.
    :param time: the newest commit at or before it; None when no commit was found near.
    """

    timeline: int
    lsn: Lsn
    end_lsn: Lsn
    time: datetime | None = None


class ResolvedTarget(Value):
    """The explicit point that every tier of a run aims at.

    :param lsn: the record at which recovery stops (``recovery_target_lsn``).
    :param inclusive: whether that record is replayed (``recovery_target_inclusive``).
    :param time: the last commit that the point includes, None when unknown.
    :param requested: what was asked for.
    :param note: a sentence when the point isn't quite what was asked for, say because of a hole; else "".
    """

    timeline: int
    lsn: Lsn
    inclusive: bool = True
    time: datetime | None = None
    requested: RecoveryTarget
    note: str = ""


class Resolution(Value):
    """What a target came to mean in one archive at one moment.

    :param hole: the hole that ends the way, when the target is the last point before one.
    :param exact: whether the record was read; False for an estimate from names and headers alone. Its position and its time
        are then the latest that they can be.
    """

    target: ResolvedTarget
    hole: SegmentRange | None = None
    exact: bool = True


def aimed_moment(resolved: ResolvedTarget, moment: datetime) -> datetime:
    """The moment from which RPO and lookback count: the disaster's for ``latest``, else the target's own.

    :param moment: the moment of the disaster; it serves too where the target's own time is unknown.
    """
    asked = resolved.requested
    if asked.kind is TargetKind.TIME:
        return datetime.fromisoformat(asked.value)
    return moment if asked.kind is TargetKind.LATEST or resolved.time is None else resolved.time
