"""Acknowledged holes: exactly the segments that were named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.acknowledgement import Acknowledgement, judge_holes
from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.wal import segment_name
from tests.unit.domain.builders import SIZE, segments
from tests.unit.domain.worlds import files_of


def known(first: int, last: int, *, timeline: int = 1, size: int = SIZE, reason: str = "the disk") -> Acknowledgement:
    return Acknowledgement(first=segment_name(timeline, first, size), last=segment_name(timeline, last, size), reason=reason)


@pytest.mark.parametrize(
    ("acknowledged", "left", "reasons"),
    [
        ((), (segments(1, 5, 7),), ()),
        ((known(5, 7),), (), ("the disk",)),
        ((known(1, 9),), (), ("the disk",)),
        ((known(5, 6),), (segments(1, 7),), ("the disk",)),
        ((known(6, 6),), (segments(1, 5), segments(1, 7)), ("the disk",)),
        ((known(5, 6), known(7, 7, reason="the fire")), (), ("the disk", "the fire")),
        ((known(8, 9), known(1, 4)), (segments(1, 5, 7),), ()),
        ((known(5, 7, timeline=2),), (segments(1, 5, 7),), ()),
    ],
)
def test_one_hole(acknowledged: tuple[Acknowledgement, ...], left: tuple[SegmentRange, ...], reasons: tuple[str, ...]) -> None:
    (found,) = judge_holes([segments(1, 5, 7)], acknowledged, SIZE)
    assert (found.hole, found.open, found.reasons) == (segments(1, 5, 7), left, reasons)
    assert found.acknowledged == (left == ())


def test_a_name_that_no_segment_of_this_size_has_covers_nothing() -> None:
    nowhere = Acknowledgement(first="0000000100000000000000FF", last="000000010000000000000FFF", reason="x")
    (found,) = judge_holes([segments(1, 200, 300)], [nowhere], SIZE)
    assert found.open == (segments(1, 200, 300),)


def test_names_over_the_end_of_4_gib() -> None:
    size = 1 << 30
    (found,) = judge_holes([segments(1, 3, 5)], [known(3, 5, size=size)], size)
    assert found.acknowledged


parts = st.tuples(st.integers(1, 2), st.integers(0, 20), st.integers(0, 5))


@given(st.lists(parts, max_size=5), st.lists(parts, max_size=5))
def test_what_is_left_open_is_what_nobody_named(holes: list[tuple[int, int, int]], named: list[tuple[int, int, int]]) -> None:
    given_holes = [segments(timeline, first, first + more) for timeline, first, more in holes]
    acknowledged = [known(first, first + more, timeline=timeline) for timeline, first, more in named]
    covered = files_of(tuple(segments(timeline, first, first + more) for timeline, first, more in named))
    judged = judge_holes(given_holes, acknowledged, SIZE)
    assert [found.hole for found in judged] == given_holes
    for found in judged:
        assert files_of(found.open) == files_of((found.hole,)) - covered
        assert bool(found.reasons) == bool(files_of((found.hole,)) & covered)
