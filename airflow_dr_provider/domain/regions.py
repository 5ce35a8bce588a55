"""The stretches of WAL that recovery can follow along a timeline, and the timeline that a target means."""

from __future__ import annotations

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.continuity import Continuity, Reach, latest_timeline, whole_path
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.soundness import sound_backups
from airflow_dr_provider.domain.target import RecoveryTarget
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.errors import TargetError


class Region(Value):
    """A stretch of WAL without a hole, and the backups from which it can be replayed.

    :param backups: in the order in which they become consistent.
    """

    path: tuple[SegmentRange, ...]
    end_lsn: Lsn
    hole: SegmentRange | None
    backups: tuple[Backup, ...]

    @property
    def begin_lsn(self) -> Lsn:
        """The first position at which recovery can stop here: where the first backup is consistent."""
        return self.backups[0].stop_lsn or Lsn(0)


def regions(catalog: Catalog, timeline: int) -> tuple[Region, ...]:
    """The stretches that lead along a timeline, the one that reaches furthest first."""
    continuity = Continuity(catalog.archive)
    found: dict[Lsn, list[tuple[Backup, Reach]]] = {}
    for backup in sound_backups(catalog):
        reached = continuity.reach(backup, timeline)
        if reached.consistent and reached.on_timeline:
            found.setdefault(reached.end_lsn, []).append((backup, reached))
    return tuple(_region(found[end], end, catalog.archive.segment_size) for end in sorted(found, reverse=True))


def _region(members: list[tuple[Backup, Reach]], end: Lsn, segment_size: int) -> Region:
    longest = min(members, key=lambda pair: (pair[0].start_lsn or Lsn(0), pair[0].id))[1]
    members = sorted(members, key=lambda pair: (pair[0].stop_lsn or Lsn(0), pair[0].id))
    return Region(
        path=whole_path(longest, segment_size),
        end_lsn=end,
        hole=longest.hole,
        backups=tuple(backup for backup, _ in members),
    )


def choose_timeline(catalog: Catalog, target: RecoveryTarget) -> int:
    """The number of the timeline that a target means.

    :raises TargetError: when ``current`` is asked for and no backup knows its timeline.
    """
    if isinstance(target.timeline, int):
        return target.timeline
    if target.timeline == "latest":
        return latest_timeline(catalog)
    newest = max(sound_backups(catalog), key=lambda backup: (backup.stop_lsn or Lsn(0), backup.id), default=None)
    if newest is None or newest.timeline is None:
        raise TargetError("No sound backup is left that could tell the current timeline. Name one in target.timeline.")
    return newest.timeline
