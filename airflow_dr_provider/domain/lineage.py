"""Timelines: which of them wrote which part of the WAL that leads to a given one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from airflow_dr_provider.domain.catalog import TimelineFork, WalArchive

END_OF_WAL = 1 << 64


def ancestry(archive: WalArchive, timeline: int) -> tuple[TimelineFork, ...]:
    """The forks between timeline 1 and *timeline*, oldest first.

    :return: empty for timeline 1 and for one whose parent is unknown; partial when a parent's own fork is unknown.
    """
    known: dict[int, TimelineFork] = {}
    for fork in archive.forks:
        other = known.get(fork.timeline)
        # Two histories that contradict each other: the choice must not depend on their order.
        if other is None or (fork.switch_lsn, fork.parent) < (other.switch_lsn, other.parent):
            known[fork.timeline] = fork
    forks: list[TimelineFork] = []
    while (found := known.get(timeline)) is not None and 0 < found.parent < timeline:
        forks.append(found)
        timeline = found.parent
    return tuple(reversed(forks))


class Stretch(NamedTuple):
    """What one timeline of a lineage contributes.

    :param begin: the LSN at which the timeline left its parent; 0 for the oldest known.
    :param end: the LSN at which a younger one of the lineage took over, exclusive.
    :param first: the number of the segment that holds *begin*.
    :param last: the number of the last segment that this timeline is the right one for; less than *first* where a younger
        timeline's files stand for all of it.
    :param last_shared: the number of the segment in which it ends, and of which the next timeline's file is a copy.
    """

    timeline: int
    begin: int
    end: int
    first: int
    last: int
    last_shared: int


def lineage(archive: WalArchive, timeline: int) -> tuple[Stretch, ...]:
    """The stretches of WAL that lead to *timeline*, oldest first.

    A position belongs to the youngest timeline that begins at or before it (``tliOfPointInHistory`` in PostgreSQL's
    ``timeline.c``); a segment is read from the youngest timeline that begins in it or before (``XLogFileReadAnyTLI`` in
    ``xlogrecovery.c``). Switch positions need not rise: a server told to follow timeline 2 that stopped before 2 began writes
    a history in which 3 left 2 at an earlier position than 2 left 1.
    """
    forks = ancestry(archive, timeline)
    oldest = forks[0].parent if forks else timeline
    begins = [(oldest, 0), *((fork.timeline, int(fork.switch_lsn)) for fork in forks)]
    size = archive.segment_size
    stretches: list[Stretch] = []
    end = END_OF_WAL
    for member, begin in reversed(begins):
        whole_end = end // size if end < END_OF_WAL else END_OF_WAL // size
        stretches.append(Stretch(member, begin, end, begin // size, whole_end - 1, (end - 1) // size if end else -1))
        end = min(end, begin)
    return tuple(reversed(stretches))


def timeline_at(archive: WalArchive, timeline: int, lsn: int) -> int:
    """The timeline that wrote position *lsn* of the WAL that leads to *timeline*.

    What recovery towards *timeline* reports as the timeline that it replayed when it stops at *lsn*.
    """
    return next((stretch.timeline for stretch in reversed(lineage(archive, timeline)) if stretch.begin <= lsn), timeline)


def place_of(stretches: Sequence[Stretch], timeline: int | None) -> int | None:
    """The index of a timeline in a lineage; None when it isn't part of it."""
    return next((index for index, stretch in enumerate(stretches) if stretch.timeline == timeline), None)
