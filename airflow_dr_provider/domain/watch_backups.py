"""What a scan finds among the backups: none that can be used, one that was spoiled, none taken for too long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from airflow_dr_provider.domain.eligibility import Ineligibility
from airflow_dr_provider.domain.restorable import Standing
from airflow_dr_provider.domain.watch_scan import CatalogScan, CatalogSeen, Found

_RHYTHM = 8
"""From so many of the last backups the usual time between two is taken."""


def backup_findings(scan: CatalogScan, seen: CatalogSeen | None, moment: datetime) -> Iterator[Found]:
    """What is wrong with the backups."""
    if scan.restorable is None:
        yield Found("NOT_RESTORABLE", "repository", _why_none(scan))
    yield from _spoiled(scan, seen)
    yield from _overdue(scan, moment)


def sound_ids(scan: CatalogScan) -> tuple[str, ...]:
    """The backups with nothing wrong, in the order in which they stop."""
    return tuple(standing.backup.id for standing in scan.standings if standing.sound)


def spoiled_ids(scan: CatalogScan, seen: CatalogSeen | None) -> tuple[str, ...]:
    """Backups that were sound once, are still there, and are sound no more."""
    once = {*seen.sound, *seen.spoiled} if seen is not None else set()
    return tuple(standing.backup.id for standing in scan.standings if standing.backup.id in once and not standing.sound)


def backup_notes(scan: CatalogScan, found: set[str]) -> Iterator[str]:
    """Why backups can't be used that are no finding: one that is being taken looks like one that was never finished.

    :param found: ids of those that are.
    """
    for standing in scan.standings:
        said = [sentence for code, sentence in standing.reasons if code is not Ineligibility.OUTSIDE_LOOKBACK]
        if said and standing.backup.id not in found:
            yield f"backup {standing.backup.id}: {'; '.join(said)}"


def _why_none(scan: CatalogScan) -> str:
    if not scan.standings:
        return "the repository lists no backup"
    newest = scan.standings[-1]
    why = "; ".join(sentence for _, sentence in newest.reasons)
    lead = f"none of {len(scan.standings)} backups can be used, not even" if len(scan.standings) > 1 else "the only backup is"
    return f"{lead} {newest.backup.id}: {why}"


def _spoiled(scan: CatalogScan, seen: CatalogSeen | None) -> Iterator[Found]:
    """Retention takes the oldest backup away and may be at it while we look: that one has to be found twice."""
    if seen is None:
        return
    spoiled, still = set(spoiled_ids(scan, seen)), set(sound_ids(scan))
    for standing in scan.standings:
        name = standing.backup.id
        if name not in spoiled:
            continue
        older = seen.sound[: seen.sound.index(name)] if name in seen.sound else ()
        if name in seen.spoiled or not still.isdisjoint(older):
            yield Found("BACKUP_SPOILED", f"backup {name}", f"it was sound, and is not any more: {_reasons(standing)}")


def _reasons(standing: Standing) -> str:
    return "; ".join(sentence for _, sentence in standing.reasons)


def _overdue(scan: CatalogScan, moment: datetime) -> Iterator[Found]:
    """Half of the lookback is over, or more where backups are usually taken less often than that."""
    newest = max((time for time, usable in _stops(scan) if usable), default=None)
    if newest is None:
        return
    times = sorted(time for time, _ in _stops(scan))[-_RHYTHM:]
    usual = max(((later - earlier).total_seconds() for earlier, later in pairwise(times)), default=0.0)
    age = (moment - newest).total_seconds()
    if age > max(scan.lookback_seconds / 2, 1.5 * usual):
        left = timedelta(seconds=round(scan.lookback_seconds - age))
        yield Found(
            "BACKUP_OVERDUE",
            "repository",
            f"the newest usable backup is {timedelta(seconds=round(age))} old; in {left} the lookback leaves none",
        )


def _stops(scan: CatalogScan) -> list[tuple[datetime, bool]]:
    """When each sound backup ended, and whether it can still be used."""
    sound = [one for one in scan.standings if one.sound]
    return [(one.backup.stop_time, not one.reasons) for one in sound if one.backup.stop_time is not None]
