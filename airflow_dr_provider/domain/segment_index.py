"""Which segments are there: a set of ranges that answers by bisection."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.wal import union_ranges


class SegmentIndex:
    """Segments by timeline and number.

    :param ranges: in any order, overlaps allowed.
    """

    def __init__(self, ranges: Iterable[SegmentRange] = ()) -> None:
        self._firsts: dict[int, list[int]] = {}
        self._lasts: dict[int, list[int]] = {}
        for part in union_ranges(ranges):
            self._firsts.setdefault(part.timeline, []).append(part.first)
            self._lasts.setdefault(part.timeline, []).append(part.last)

    @property
    def timelines(self) -> tuple[int, ...]:
        """Every timeline that has a segment, ascending."""
        return tuple(sorted(self._firsts))

    def run_end(self, timeline: int, number: int) -> int | None:
        """The last segment of the unbroken run that holds *number*; None when *number* is not there."""
        firsts = self._firsts.get(timeline, [])
        index = bisect_right(firsts, number) - 1
        if index < 0 or self._lasts[timeline][index] < number:
            return None
        return self._lasts[timeline][index]

    def next_from(self, timeline: int, number: int) -> int | None:
        """The first segment at or after *number*; None when there is none."""
        lasts = self._lasts.get(timeline, [])
        index = bisect_left(lasts, number)
        return max(self._firsts[timeline][index], number) if index < len(lasts) else None

    def last_between(self, timeline: int, first: int, last: int) -> int | None:
        """The last segment from *first* to *last*, both included; None when there is none."""
        firsts = self._firsts.get(timeline, []) if first <= last else []
        index = bisect_right(firsts, last) - 1
        if index < 0 or self._lasts[timeline][index] < first:
            return None
        return min(self._lasts[timeline][index], last)

    def gaps(self, timeline: int, first: int, last: int) -> Iterator[SegmentRange]:
        """The segments from *first* to *last*, both included, that are not there, as ranges."""
        while first <= last:
            found = self.next_from(timeline, first)
            if found is None or found > last:
                yield SegmentRange(timeline=timeline, first=first, last=last)
                return
            if found > first:
                yield SegmentRange(timeline=timeline, first=first, last=found - 1)
            end = self.run_end(timeline, found)
            first = (found if end is None else end) + 1

    def runs(self, timeline: int, first: int, last: int) -> Iterator[SegmentRange]:
        """The segments from *first* to *last*, both included, that are there, as ranges."""
        while first <= last:
            found = self.next_from(timeline, first)
            if found is None or found > last:
                return
            end = self.run_end(timeline, found)
            end = found if end is None else min(end, last)
            yield SegmentRange(timeline=timeline, first=found, last=end)
            first = end + 1
