"""Segments gathered in batches to runs of neighbours, in whatever order they come: memory grows with the runs.

An archive's listing is in order, nearly so (one folder after the other), or in none at all (a file system's hash order). Batches in
order are joined as runs. Of a listing in no order every batch is full of holes that later ones fill; its segments are marked,
a byte each, in blocks of neighbours, and become runs at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from airflow_dr_provider.domain.catalog import SegmentRange

Run = tuple[int, int, int]
"""Timeline, first and last number."""

BATCH = 1 << 16
_BLOCK_BITS = 8
_BLOCK = 1 << _BLOCK_BITS


class SegmentRuns:
    """Sorted, joined runs that grow batch by batch.

    :param number_bits: how many bits of what is marked are the segment's number, below its timeline.
    """

    def __init__(self, number_bits: int) -> None:
        self._number_bits = number_bits
        self._runs: list[Run] = []
        self._marked = _Marks(number_bits)
        self._sparse = False
        self.batch = BATCH
        """How many segments to give at once: more where joining them costs more."""

    @property
    def orderly(self) -> bool:
        """Whether unordered batches are to be sorted and given as runs all the same: they fill no gaps of each other."""
        return self._sparse

    def add(self, new: list[Run], read: int) -> None:
        """Add a batch's runs, sorted and joined.

        :param read: how many segments the batch had.
        """
        if not self._runs or not new or self._runs[-1][:2] < new[0][:2]:
            # In order, as a sorted listing gives them: at most the last run grows.
            tail = self._runs[-1:]
            self._runs[-1:] = joined([*tail, *new])
        else:
            self._runs = list(joined(sorted(self._runs + new)))
        if len(new) * 4 > read:
            self.batch = min(max(self.batch * 2, 2 * len(self._runs)), BATCH * 4)

    def mark(self, numbers: Sequence[int]) -> None:
        """Add segments in no order.

        :param numbers: each with its timeline before it, at *number_bits*.
        """
        self._marked.add(numbers)
        if self._marked.sparse:
            self._sparse = True
            self._runs = list(joined(sorted([*self._runs, *self._marked.runs()])))
            self._marked = _Marks(self._number_bits)

    def ranges(self) -> tuple[SegmentRange, ...]:
        """All of them."""
        return as_ranges(joined(sorted([*self._runs, *self._marked.runs()])))


class _Marks:
    """Segments in no order, a byte each, in blocks of neighbours."""

    def __init__(self, number_bits: int) -> None:
        self._number_bits = number_bits
        self._blocks: defaultdict[int, bytearray] = defaultdict(partial(bytearray, _BLOCK))
        self._count = 0

    def add(self, numbers: Sequence[int]) -> None:
        blocks, inside = self._blocks, _BLOCK - 1
        for number in numbers:
            blocks[number >> _BLOCK_BITS][number & inside] = 1
        self._count += len(numbers)

    @property
    def sparse(self) -> bool:
        """Whether there are many blocks that hold next to nothing: then they cost more than runs would."""
        return len(self._blocks) > BATCH and len(self._blocks) * 2 > self._count

    def runs(self) -> Iterator[Run]:
        """In order; neighbours in different blocks are not joined."""
        mask = (1 << self._number_bits) - 1
        for index in sorted(self._blocks):
            block, base = self._blocks[index], index << _BLOCK_BITS
            timeline, number = base >> self._number_bits, base & mask
            start = block.find(1)
            while start >= 0:
                end = block.find(0, start)
                end = _BLOCK if end < 0 else end
                yield timeline, number + start, number + end - 1
                start = block.find(1, end)


def sorted_runs(ranges: Iterable[SegmentRange]) -> list[Run]:
    """Ranges as runs, sorted, empty ones left out."""
    return sorted((part.timeline, part.first, part.last) for part in ranges if part.first <= part.last)


def as_ranges(runs: Iterable[Run]) -> tuple[SegmentRange, ...]:
    """Runs as ranges."""
    return tuple(SegmentRange(timeline=timeline, first=first, last=last) for timeline, first, last in runs)


def joined(runs: Iterable[Run]) -> Iterator[Run]:
    """Sorted runs with neighbours and overlaps joined."""
    source = iter(runs)
    current = next(source, None)
    if current is None:
        return
    timeline, first, last = current
    for next_timeline, next_first, next_last in source:
        if next_first <= last + 1 and next_timeline == timeline:
            if next_last > last:
                last = next_last
        else:
            yield timeline, first, last
            timeline, first, last = next_timeline, next_first, next_last
    yield timeline, first, last


def runs_of_names(names: Sequence[str], per: int) -> Iterator[Run]:
    """The runs among segments' names that rise from one to the next, cut at every 4 GiB of WAL.

    Only few names are read as numbers: between two that lie as far apart as their numbers, every one is there.

    :param per: how many segments lie in 4 GiB.
    """
    index, count = 0, len(names)
    while index < count:
        value = int(names[index], 16)
        low = value & 0xFFFFFFFF
        if low >= per or value >> 64 == 0:
            index += 1
            continue
        end = _run_end(names, index, value, min(count, index + per - low))
        number = (value >> 32 & 0xFFFFFFFF) * per + low
        yield value >> 64, number, number + end - index - 1
        index = end


def _run_end(names: Sequence[str], index: int, value: int, limit: int) -> int:
    """The index behind the last name of the run that begins at *index*, before *limit*."""
    whole, broken = index, limit
    probe = limit - 1
    while whole < probe:
        if int(names[probe], 16) - value == probe - index:
            whole = probe
        else:
            broken = probe
        probe = (whole + broken) // 2
    return whole + 1
