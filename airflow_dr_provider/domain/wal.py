"""Names of the files in a WAL archive, and sets of segments as ranges.

A segment's name is 24 hexadecimal digits: timeline, high and low half of its number, where the low half counts the segments
of 4 GiB of WAL: 256 of them at 16 MiB, 32 at 128 MiB, 4 at 1 GiB (PostgreSQL manual, *WAL Internals*; ``XLogFileName`` in
``xlog_internal.h``). The *number* of a segment here is its start LSN divided by the segment size, so that neighbours differ
by one whatever the size.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from itertools import islice
from typing import Any

from airflow_dr_provider.domain.catalog import SegmentRange, TimelineFork
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.segment_runs import Run, SegmentRuns, as_ranges, joined, runs_of_names, sorted_runs

_XLOGID = 1 << 32
_TIMELINES = 1 << 32
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_PARTIAL = re.compile(r"([0-9A-F]{24})\.partial")
_BACKUP = re.compile(r"[0-9A-F]{24}\.[0-9A-F]{8}\.backup")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_HISTORY_LINE = re.compile(r"\s*(\d{1,10})\s+([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})(?:\s.*)?", re.DOTALL | re.ASCII)
_NUMBER_BITS = 64
_HEX = b"0123456789ABCDEF"


# -- names -------------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=32)
def segments_per_xlogid(segment_size: int) -> int:
    """How many segments lie in 4 GiB of WAL.

    :param segment_size: bytes.
    :raises ValueError: when it is no power of two from 1 MiB to 1 GiB (``initdb --wal-segsize``).
    """
    if not 1 << 20 <= segment_size <= 1 << 30 or segment_size & (segment_size - 1):
        raise ValueError(f"{segment_size} is not a WAL segment size: a power of two from 1 MiB to 1 GiB is")
    return _XLOGID // segment_size


def segment_name(timeline: int, number: int, segment_size: int) -> str:
    """The file name of a segment.

    :raises ValueError: when there can be no such segment.
    """
    high, low = divmod(number, segments_per_xlogid(segment_size))
    if not 0 < timeline < _TIMELINES or not 0 <= high < _XLOGID:
        raise ValueError(f"there is no WAL segment {number} on timeline {timeline}")
    return f"{timeline:08X}{high:08X}{low:08X}"


def parse_segment(name: str, segment_size: int) -> tuple[int, int] | None:
    """Timeline and number of a complete segment's file name.

    :return: None for any other name, lower case too (no server asks for such a file), and for one that can't exist at this
        segment size.
    """
    return _place(name, segments_per_xlogid(segment_size)) if _SEGMENT.fullmatch(name) is not None else None


def _place(name: str, per: int) -> tuple[int, int] | None:
    timeline, high, low = int(name[:8], 16), int(name[8:16], 16), int(name[16:], 16)
    if timeline == 0 or low >= per:
        return None
    return timeline, high * per + low


def segment_of(lsn: int, segment_size: int) -> int:
    """The number of the segment that holds the byte at *lsn*."""
    return lsn // segment_size


def segment_start(number: int, segment_size: int) -> Lsn:
    """Where a segment starts; the last position there is when it would start beyond that."""
    return Lsn(min(number * segment_size, (1 << 64) - 1))


def is_partial(name: str) -> bool:
    """Whether a name is that of a segment's beginning (``….partial``): recovery never asks for one."""
    return _PARTIAL.fullmatch(name) is not None


def is_backup_history(name: str) -> bool:
    """Whether a name is that of a backup history file (``<segment>.<offset>.backup``)."""
    return _BACKUP.fullmatch(name) is not None


def is_history(name: str) -> bool:
    """Whether a name is that of a timeline's history file."""
    return history_timeline(name) is not None


def parse_partial(name: str, segment_size: int) -> tuple[int, int] | None:
    """Timeline and number of the segment of which a ``.partial`` file is the beginning; None for any other name."""
    match = _PARTIAL.fullmatch(name)
    return parse_segment(match[1], segment_size) if match else None


def history_name(timeline: int) -> str:
    """The file name of a timeline's history."""
    return f"{timeline:08X}.history"


def history_timeline(name: str) -> int | None:
    """The timeline whose history a file holds by its name; None for any other name, and for timelines 0 and 1."""
    match = _HISTORY.fullmatch(name)
    timeline = int(match[1], 16) if match else 0
    return timeline if timeline > 1 else None


def range_text(segments: SegmentRange, segment_size: int) -> str:
    """A range for people: its first and last file name."""
    first = segment_name(segments.timeline, segments.first, segment_size)
    if segments.first == segments.last:
        return first
    return f"{first} to {segment_name(segments.timeline, segments.last, segment_size)}"


# -- histories ---------------------------------------------------------------------------------------------------------
def parse_history(timeline: int, text: str) -> tuple[TimelineFork, ...]:
    """The ancestry that a ``.history`` file tells, oldest fork first.

    Each line holds a timeline and the position at which the next one left it; the last line's next one is *timeline*. Blank
    lines and comments are passed over, what follows the position is a remark (``readTimeLineHistory`` in ``timeline.c``).
    The positions need not rise: a server that stopped before its own timeline began writes such a file.

    :param timeline: the timeline in the file's name.
    :raises ValueError: where PostgreSQL would refuse the file too: a line that is none, timelines that don't rise.
    """
    parents: list[tuple[int, Lsn]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _HISTORY_LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{history_name(timeline)}, line {number}: not a timeline and the position where it was left")
        parent = int(match[1])
        if parent < 1 or (parents and parent <= parents[-1][0]):
            raise ValueError(f"{history_name(timeline)}, line {number}: timelines must rise from line to line")
        parents.append((parent, Lsn(match[2])))
    if not parents:
        return ()
    if parents[-1][0] >= timeline:
        raise ValueError(f"{history_name(timeline)}: it names timeline {parents[-1][0]}, which can't be its ancestor")
    children = [parent for parent, _ in parents[1:]] + [timeline]
    return tuple(
        TimelineFork(timeline=child, parent=parent, switch_lsn=switch)
        for child, (parent, switch) in zip(children, parents, strict=True)
    )


# -- sets of segments --------------------------------------------------------------------------------------------------
def merge_ranges(segments: Iterable[tuple[int, int]]) -> tuple[SegmentRange, ...]:
    """Segments as ranges, sorted by timeline and number.

    Read in batches: memory grows with the ranges, not with the segments.

    :param segments: (timeline, number), in any order, doubles allowed.
    """
    runs = SegmentRuns(_NUMBER_BITS)
    source = iter(segments)
    while batch := list(islice(source, runs.batch)):
        if not runs.orderly and _scattered(batch):
            runs.mark([timeline << _NUMBER_BITS | number for timeline, number in batch])
        else:
            batch.sort()
            runs.add(list(joined((timeline, number, number) for timeline, number in batch)), len(batch))
    return runs.ranges()


def ranges_of_names(names: Iterable[str], segment_size: int) -> tuple[SegmentRange, ...]:
    """The complete segments among an archive's file names, as ranges: :func:`parse_segment` and :func:`merge_ranges` in one.

    Names are judged and joined by the batch, so that a million of them take about as long as turning them into integers and
    sorting those. Whatever isn't a segment's name is passed over.

    :param names: in any order, doubles allowed.
    """
    per = segments_per_xlogid(segment_size)
    runs = SegmentRuns(32 + per.bit_length() - 1)
    source = iter(names)
    while batch := list(islice(source, runs.batch)):
        found = _segment_names(batch)
        if not runs.orderly and _scattered(found):
            runs.mark(_numbers(found, per))
        else:
            # A set would lose what order there is.
            rising = found if _rising(found) else sorted(dict.fromkeys(found))
            runs.add(list(joined(runs_of_names(rising, per))), len(batch))
    return runs.ranges()


def _numbers(names: list[str], per: int) -> list[int]:
    """Segments' names as numbers of which neighbours differ by one: the timeline, then the segment's number."""
    values = [int(name, 16) for name in names]
    if values and (reduce(operator.or_, values) & 0xFFFFFFFF >= per or min(values) >> 64 == 0):
        values = [value for value in values if value & 0xFFFFFFFF < per and value >> 64]
    shift, low = 32 - per.bit_length() + 1, per - 1
    return [value >> shift | value & low for value in values]


def _segment_names(names: list[str]) -> list[str]:
    """Those of names that have a segment's form."""
    if set(map(len, names)) != {24}:
        names = [name for name in names if len(name) == 24]
    # One pass in C over the whole batch; int() alone would take signs, blanks, underscores and lower case.
    together = "".join(names)
    if not together.isascii() or together.encode("ascii").translate(None, _HEX):
        names = [name for name in names if _SEGMENT.fullmatch(name)]
    return names


def _rising(values: Sequence[Any]) -> bool:
    return all(map(operator.lt, values, islice(values, 1, None)))


def _scattered(values: Sequence[Any]) -> bool:
    """Whether values are in no order to speak of: more than a sixteenth of them lie before the one in front of them."""
    descents: int = sum(map(operator.gt, values, islice(values, 1, None)))
    return descents * 16 > len(values)


def union_ranges(*groups: Iterable[SegmentRange]) -> tuple[SegmentRange, ...]:
    """All segments of several sets of ranges: sorted, neighbours merged, none overlapping."""
    return as_ranges(joined(sorted_runs(part for group in groups for part in group)))


def subtract_ranges(ranges: Iterable[SegmentRange], removed: Iterable[SegmentRange]) -> tuple[SegmentRange, ...]:
    """The segments of *ranges* that are not in *removed*, sorted and merged; both may be unsorted and overlap."""
    kept: list[Run] = []
    holes = list(joined(sorted_runs(removed)))
    at = 0
    for timeline, first, last in joined(sorted_runs(ranges)):
        while at < len(holes) and (holes[at][0], holes[at][2]) < (timeline, first):
            at += 1
        position, start = at, first
        while position < len(holes) and holes[position][0] == timeline and holes[position][1] <= last:
            if holes[position][1] > start:
                kept.append((timeline, start, holes[position][1] - 1))
            start = max(start, holes[position][2] + 1)
            position += 1
        if start <= last:
            kept.append((timeline, start, last))
    return as_ranges(kept)


def count_segments(ranges: Iterable[SegmentRange]) -> int:
    """How many segments ranges hold that don't overlap."""
    return sum(part.last - part.first + 1 for part in ranges)
