"""Holes in the WAL that a person has accepted: exactly the segments that were named, and not one more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.wal import parse_segment, subtract_ranges


class Acknowledgement(Value):
    """What a person wrote down.

    :param first: the first segment's file name; *last* the last one's, of the same timeline.
    """

    first: str
    last: str
    reason: str

    def segments(self, segment_size: int) -> SegmentRange | None:
        """The segments that it covers; None when no such names exist at this segment size."""
        first, last = parse_segment(self.first, segment_size), parse_segment(self.last, segment_size)
        if first is None or last is None:
            return None
        return SegmentRange(timeline=first[0], first=first[1], last=last[1])


class JudgedHole(Value):
    """A hole, and what of it is known.

    :param open: the part that nobody has acknowledged; empty for a known hole. A hole that grew is open again.
    :param reasons: why the rest is accepted.
    """

    hole: SegmentRange
    open: tuple[SegmentRange, ...]
    reasons: tuple[str, ...] = ()

    @property
    def acknowledged(self) -> bool:
        """Whether every segment of it is."""
        return not self.open


def judge_holes(
    holes: Iterable[SegmentRange], acknowledgements: Sequence[Acknowledgement], segment_size: int
) -> tuple[JudgedHole, ...]:
    """Each hole beside what was acknowledged of it."""
    known = [(ack, part) for ack in acknowledgements if (part := ack.segments(segment_size)) is not None]
    judged = []
    for hole in holes:
        touching = [(ack, part) for ack, part in known if subtract_ranges((hole,), (part,)) != (hole,)]
        judged.append(
            JudgedHole(
                hole=hole,
                open=subtract_ranges((hole,), [part for _, part in touching]),
                reasons=tuple(dict.fromkeys(ack.reason for ack, _ in touching)),
            )
        )
    return tuple(judged)
