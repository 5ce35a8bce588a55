"""Where a target lies as far as names, headers and the backups' own positions tell: no record of the WAL is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.regions import Region
from airflow_dr_provider.domain.soundness import sound_backups
from airflow_dr_provider.domain.target import RecoveryTarget, Resolution, ResolvedTarget, TargetKind

ESTIMABLE = frozenset({TargetKind.LATEST, TargetKind.LSN})
"""The targets that have a position before any record is read; a time, a transaction and a restore point have none."""


def estimated_target(
    catalog: Catalog, stretches: Sequence[Region], target: RecoveryTarget, timeline: int, moment: datetime
) -> Resolution | None:
    """The point that stands for a target of an :data:`ESTIMABLE` kind; None when no stretch holds it.

    For ``latest`` the last byte of the contiguous WAL: the last record begins at it or before. Where backups tell that this
    WAL goes beyond the moment of the disaster, the last byte before the first of those that began after it.

    :param stretches: see :func:`airflow_dr_provider.domain.regions.regions`.
    """
    if target.kind is TargetKind.LSN:
        wanted = Lsn(target.value)
        if not any(stretch.begin_lsn <= wanted < stretch.end_lsn for stretch in stretches):
            return None
        time = latest_time(catalog, wanted)
        return Resolution(target=ResolvedTarget(timeline=timeline, lsn=wanted, time=time, requested=target), exact=False)
    stretch = next((stretch for stretch in stretches if _begins_before(stretch, moment)), None)
    if stretch is None:
        return None
    later = [
        backup.start_lsn
        for backup in sound_backups(catalog)
        if backup.start_lsn is not None and backup.start_time is not None and backup.start_time > moment
    ]
    end = min((stretch.end_lsn, *(lsn for lsn in later if lsn > stretch.begin_lsn)))
    note = "the end of the archived WAL, whose last record was not read"
    if later:
        note = f"somewhere before {end}: which record is the last before {moment.isoformat()} was not read"
    elif stretch.hole is not None:
        note = "the WAL before a hole that no backup gets over; its last record was not read"
    return Resolution(
        target=ResolvedTarget(
            timeline=timeline, lsn=Lsn(end - 1), time=latest_time(catalog, Lsn(end - 1)), requested=target, note=note
        ),
        hole=stretch.hole if not later else None,
        exact=False,
    )


def _begins_before(stretch: Region, moment: datetime) -> bool:
    return any(backup.stop_time is None or backup.stop_time <= moment for backup in stretch.backups)


def latest_time(catalog: Catalog, lsn: Lsn) -> datetime | None:
    """The latest time at which a position can have been written: the start of the first backup that begins behind it.

    :return: None when no backup begins behind it.
    """
    starts = (
        backup.start_time
        for backup in sound_backups(catalog)
        if backup.start_lsn is not None and backup.start_lsn > lsn and backup.start_time is not None
    )
    return min(starts, default=None)
