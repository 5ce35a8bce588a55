"""How far the archive's WAL carries a backup, and where segments are missing."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange, WalArchive
from airflow_dr_provider.domain.lineage import Stretch, ancestry, lineage, place_of, timeline_at
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.segment_index import SegmentIndex
from airflow_dr_provider.domain.soundness import sound_backups
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.wal import segment_of, segment_start, subtract_ranges, union_ranges

__all__ = ["Continuity", "Reach", "ancestry", "holes", "latest_timeline", "reach", "timeline_at", "whole_path"]


class Reach(Value):
    """What recovery of one backup finds on its way to a timeline.

    :param path: the segments that it reads, in replay order, without a hole; the timeline may change on the way. Segments that
        lie only inside the backup are part of it.
    :param end_lsn: where the path ends: every position before it can be replayed, none from it on. The end of the last
        segment; an earlier one where that segment is a parent's and the timeline goes on in a child's file that is missing.
        The backup's start when the path is empty.
    :param hole: the first missing segments, when later ones of the way are there. None when the way just ends: archive lag
        is no hole.
    :param consistent: whether the path covers the WAL from the backup's start to its stop.
    :param on_timeline: whether the backup lies on the way to the timeline: the same timeline or an ancestor, left at or after
        the backup's stop.
    """

    path: tuple[SegmentRange, ...] = ()
    end_lsn: Lsn = Lsn(0)
    hole: SegmentRange | None = None
    consistent: bool = False
    on_timeline: bool = False


class Continuity:
    """An archive, indexed once for the questions of a whole selection.

    :param bad: segments found damaged since the catalog was read; they count as missing, as the archive's flawed ones do.
    """

    def __init__(self, archive: WalArchive, bad: Sequence[SegmentRange] = ()) -> None:
        self.archive = archive
        self.index = SegmentIndex(subtract_ranges(archive.ranges, (*archive.flawed, *bad)))
        self._lineages: dict[int, tuple[Stretch, ...]] = {}

    def lineage(self, timeline: int) -> tuple[Stretch, ...]:
        """See :func:`airflow_dr_provider.domain.lineage.lineage`; kept."""
        if timeline not in self._lineages:
            self._lineages[timeline] = lineage(self.archive, timeline)
        return self._lineages[timeline]

    def reach(self, backup: Backup, timeline: int) -> Reach:
        """See :func:`reach`."""
        start = backup.start_lsn
        if start is None or not self.on_timeline(backup, timeline):
            return Reach(end_lsn=start if start is not None else Lsn(0))
        here = _Either(self.index, SegmentIndex(backup.own_wal)) if backup.own_wal else self.index
        path, end, hole = _walk(
            self.lineage(timeline), segment_of(start, self.archive.segment_size), here, self.archive.segment_size
        )
        if end is None or end <= start:
            path, end = [], start
        consistent = bool(path) and backup.stop_lsn is not None and start <= backup.stop_lsn <= end
        return Reach(path=tuple(path), end_lsn=end, hole=hole, consistent=consistent, on_timeline=True)

    def archived(self, path: Sequence[SegmentRange]) -> tuple[SegmentRange, ...]:
        """The segments of a path that the archive has, in the path's order: what is left lies inside the backup."""
        return tuple(run for part in path for run in self.index.runs(part.timeline, part.first, part.last))

    def has_own_segment(self, timeline: int) -> bool:
        """Whether a complete, usable segment lies on the timeline at or after the place where it left its parent."""
        return self.index.next_from(timeline, self.lineage(timeline)[-1].first) is not None

    def on_timeline(self, backup: Backup, timeline: int) -> bool:
        """Whether a backup lies on the way to a timeline: its own is part of it and was left at or after the backup's stop."""
        way = self.lineage(timeline)
        place = place_of(way, backup.timeline)
        return place is not None and backup.stop_lsn is not None and backup.stop_lsn <= way[place].end

    def missing(self, backup: Backup, timeline: int) -> tuple[SegmentRange, ...]:
        """Segments that the archive lacks from a backup's start to the last archived one on the way to a timeline."""
        if backup.start_lsn is None or not self.on_timeline(backup, timeline):
            return ()
        way = self.lineage(timeline)
        steps = _steps(way, segment_of(backup.start_lsn, self.archive.segment_size))
        lasts = [self.index.last_between(member, first, last) for member, first, last in steps]
        for index, (member, first, _) in enumerate(steps):
            if lasts[index] is None and _parent_copy(way, member, first, self.index) is not None:
                lasts[index] = first - 1
        ends = [index for index, last in enumerate(lasts) if last is not None]
        if not ends:
            return ()
        found: list[SegmentRange] = []
        for index, (member, first, last) in enumerate(steps[: ends[-1] + 1]):
            final = lasts[index]
            found.extend(self.index.gaps(member, first, final if index == ends[-1] and final is not None else last))
        return tuple(found)


def reach(archive: WalArchive, backup: Backup, timeline: int, *, bad: Sequence[SegmentRange] = ()) -> Reach:
    """How far WAL carries a backup towards a timeline.

    The segment in which a timeline left its parent is read from the child's file where that exists (PostgreSQL looks for the
    youngest timeline's file first), else from the parent's, which then holds up to the switch and not a byte further. The
    parent's later segments are never part of it, nor are ``.partial`` files.

    :param bad: segments found damaged since the catalog was read.
    """
    return Continuity(archive, bad).reach(backup, timeline)


def whole_path(found: Reach, segment_size: int) -> tuple[SegmentRange, ...]:
    """A reach's path without a last segment that also holds what its parent timeline wrote after the way left it.

    What to look through for the last record of the way: in that one segment, not all records before its end are on it.
    """
    whole = found.end_lsn // segment_size
    return tuple(
        part if part.last < whole else part.model_copy(update={"last": whole - 1}) for part in found.path if part.first < whole
    )


def latest_timeline(catalog: Catalog) -> int:
    """The youngest timeline that recovery can end on: it has archived segments of its own and descends from a sound backup.

    A stray ``.history`` file makes no timeline.

    :return: failing that, the newest sound backup's own timeline; failing that too, the newest backup's, or 1.
    """
    continuity = Continuity(catalog.archive)
    sound = sound_backups(catalog)
    for timeline in reversed(continuity.index.timelines):
        if continuity.has_own_segment(timeline) and any(continuity.on_timeline(backup, timeline) for backup in sound):
            return timeline
    placed = [backup for backup in catalog.backups if backup.timeline is not None and backup.stop_lsn is not None]
    newest = max(sound or placed, key=_age, default=None)
    return newest.timeline if newest is not None and newest.timeline is not None else 1


def holes(catalog: Catalog, continuity: Continuity | None = None) -> tuple[SegmentRange, ...]:
    """Segments that sound backups need and the archive lacks although it has later ones, sorted by timeline.

    Along each timeline that has segments of its own or a backup. What is missing before the oldest sound backup, the tail, and
    segments that every backup before them carries inside itself are no holes.

    :param continuity: of the catalog's archive, when there is one already.
    """
    continuity = continuity or Continuity(catalog.archive)
    timelines = {timeline for timeline in continuity.index.timelines if continuity.has_own_segment(timeline)}
    timelines.update(backup.timeline for backup in sound_backups(catalog) if backup.timeline is not None)
    return union_ranges(*(holes_towards(catalog, continuity, timeline) for timeline in timelines))


def holes_towards(catalog: Catalog, continuity: Continuity, timeline: int) -> tuple[SegmentRange, ...]:
    """The holes on the way of sound backups to one timeline, from the oldest of them on; see :func:`holes`."""
    backups = sorted(
        (backup for backup in sound_backups(catalog) if continuity.on_timeline(backup, timeline)),
        key=lambda backup: (backup.start_lsn, backup.id),
    )
    if not backups:
        return ()
    oldest = backups[0]
    missing = continuity.missing(oldest, timeline)
    found = list(subtract_ranges(missing, oldest.own_wal))
    if tuple(found) != union_ranges(missing):
        # The oldest backup carries some of what is missing; a hole is only what another one needs and doesn't carry.
        for backup in backups[1:]:
            found.extend(subtract_ranges(continuity.missing(backup, timeline), backup.own_wal))
    return union_ranges(found)


class _Either:
    """Segments that lie in the archive or inside one backup."""

    def __init__(self, archive: SegmentIndex, own: SegmentIndex) -> None:
        self._sets = (archive, own)

    def run_end(self, timeline: int, number: int) -> int | None:
        end: int | None = None
        grown = True
        while grown:
            grown = False
            for segments in self._sets:
                further = segments.run_end(timeline, number if end is None else end + 1)
                if further is not None:
                    end, grown = further, True
        return end

    def next_from(self, timeline: int, number: int) -> int | None:
        return min(
            (found for segments in self._sets if (found := segments.next_from(timeline, number)) is not None), default=None
        )


def _steps(way: Sequence[Stretch], start: int) -> list[tuple[int, int, int]]:
    """Timeline, first and last segment of each stretch from segment *start* on, where it is the one to read."""
    return [
        (stretch.timeline, max(stretch.first, start), stretch.last)
        for stretch in way
        if max(stretch.first, start) <= stretch.last
    ]


def _walk(
    way: Sequence[Stretch], start: int, here: SegmentIndex | _Either, segment_size: int
) -> tuple[list[SegmentRange], Lsn | None, SegmentRange | None]:
    """Follow a lineage from a segment on: the path, where it ends (None when it has no segment), the hole after it."""
    path: list[SegmentRange] = []
    end: Lsn | None = None
    steps = _steps(way, start)
    for index, (timeline, first, last) in enumerate(steps):
        run_end = here.run_end(timeline, first)
        if run_end is not None:
            path.append(SegmentRange(timeline=timeline, first=first, last=min(run_end, last)))
            end = segment_start(path[-1].last + 1, segment_size)
            if run_end >= last:
                continue
            missing = run_end + 1
        else:
            missing = first
            parent = _parent_copy(way, timeline, first, here)
            if parent is not None:
                joined = path.pop().first if path and path[-1].timeline == parent.timeline else first
                path.append(SegmentRange(timeline=parent.timeline, first=joined, last=first))
                end = Lsn(parent.end)
        return path, end, _hole(way, steps[index:], missing, here)
    return path, end, None


def _parent_copy(way: Sequence[Stretch], timeline: int, number: int, here: SegmentIndex | _Either) -> Stretch | None:
    """The youngest ancestor whose file of the segment is there and holds a part of it that is still valid."""
    candidates = way[: place_of(way, timeline)]
    return next(
        (
            stretch
            for stretch in reversed(candidates)
            if stretch.first <= number <= stretch.last_shared and here.run_end(stretch.timeline, number) is not None
        ),
        None,
    )


def _hole(
    way: Sequence[Stretch], steps: Sequence[tuple[int, int, int]], missing: int, here: SegmentIndex | _Either
) -> SegmentRange | None:
    """The missing segments from *missing* on in the first step, when that step or a later one has any after them."""
    timeline, _, last = steps[0]
    found = here.next_from(timeline, missing)
    if found is not None and found <= last:
        return SegmentRange(timeline=timeline, first=missing, last=found - 1)
    for other, first, final in steps[1:]:
        found = here.next_from(other, first)
        if (found is not None and found <= final) or _parent_copy(way, other, first, here) is not None:
            return SegmentRange(timeline=timeline, first=missing, last=last)
    return None


def _age(backup: Backup) -> tuple[float, int, int, str]:
    stop = backup.stop_time.timestamp() if backup.stop_time is not None else float("-inf")
    return stop, int(backup.stop_lsn or 0), backup.timeline or 0, backup.id
