"""Small catalogs for tests: positions are written in segments, so ``at(3.5)`` is the middle of segment 3."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange, TimelineFork, WalArchive
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.selection import SelectionInputs
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget, StoppingPoint, TargetKind

SIZE = 16 << 20
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
SYSTEM = 7_000_000_000_000_000_001


def at(segments: float, size: int = SIZE) -> Lsn:
    return Lsn(int(segments * size))


def minutes(before_noon: float) -> datetime:
    return NOON - timedelta(minutes=before_noon)


def segments(timeline: int, first: int, last: int | None = None) -> SegmentRange:
    return SegmentRange(timeline=timeline, first=first, last=first if last is None else last)


def fork(timeline: int, parent: int, switch: float) -> TimelineFork:
    return TimelineFork(timeline=timeline, parent=parent, switch_lsn=at(switch))


def archive(*ranges: SegmentRange, forks: Iterable[TimelineFork] = (), **fields: Any) -> WalArchive:
    return WalArchive(segment_size=SIZE, ranges=ranges, forks=tuple(forks), **fields)


def backup(name: str, start: float, stop: float | None = None, *, age: float | None = None, **fields: Any) -> Backup:
    """A sound backup from *start* to *stop* (half a segment later), that ended *age* minutes before noon."""
    values: dict[str, Any] = {
        "system_identifier": SYSTEM,
        "server_version": 18,
        "timeline": 1,
        "start_lsn": at(start),
        "stop_lsn": at(start + 0.5 if stop is None else stop),
        "stop_time": minutes(60 - start if age is None else age),
    }
    return Backup(id=name, repository="test", **{**values, **fields})


def target(where: float, *, timeline: int = 1, kind: TargetKind = TargetKind.LATEST, age: float | None = 1) -> ResolvedTarget:
    return ResolvedTarget(
        timeline=timeline,
        lsn=at(where),
        time=None if age is None else minutes(age),
        requested=RecoveryTarget(kind=kind, value="" if kind is TargetKind.LATEST else "asked"),
    )


def point(where: float, *, timeline: int = 1, age: float | None = 5) -> StoppingPoint:
    return StoppingPoint(timeline=timeline, lsn=at(where), end_lsn=at(where) + 64, time=None if age is None else minutes(age))


def catalog(wal: WalArchive, *backups: Backup, **fields: Any) -> Catalog:
    return Catalog(identity="test:/", backups=backups, archive=wal, **fields)


def inputs(wal: WalArchive, *backups: Backup, to: ResolvedTarget, **fields: Any) -> SelectionInputs:
    values: dict[str, Any] = {"moment": NOON, "rpo_seconds": 3600.0, "lookback_seconds": 7 * 86400.0}
    return SelectionInputs(catalog=catalog(wal, *backups), target=to, **{**values, **fields})
