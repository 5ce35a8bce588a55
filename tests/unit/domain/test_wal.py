from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.segment_index import SegmentIndex
from airflow_dr_provider.domain.wal import (
    count_segments,
    history_name,
    history_timeline,
    is_backup_history,
    is_history,
    is_partial,
    merge_ranges,
    parse_history,
    parse_partial,
    parse_segment,
    range_text,
    ranges_of_names,
    segment_name,
    segment_of,
    segment_start,
    subtract_ranges,
    union_ranges,
)
from tests.unit.domain.builders import SIZE, segments
from tests.unit.domain.worlds import SIZES, files_of

sizes = st.sampled_from(SIZES)
small = st.tuples(st.integers(1, 3), st.integers(0, 40))
small_ranges = st.lists(
    st.builds(
        lambda timeline, first, more: segments(timeline, first, first + more),
        st.integers(1, 3),
        st.integers(0, 30),
        st.integers(0, 5),
    ),
    max_size=12,
)


def is_normal(ranges: tuple[SegmentRange, ...]) -> bool:
    return all((one.timeline, one.last + 1) < (other.timeline, other.first) for one, other in pairwise(ranges))


# -- names -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("000000010000000000000001", 16 << 20, (1, 1)),
        ("0000000100000000000000FF", 16 << 20, (1, 255)),
        ("000000010000000100000000", 16 << 20, (1, 256)),
        ("00000001000000000000001F", 128 << 20, (1, 31)),
        ("000000010000000100000000", 128 << 20, (1, 32)),
        ("000000010000000000000003", 1 << 30, (1, 3)),
        ("0000000A0000000000000FFF", 1 << 20, (10, 4095)),
        ("FFFFFFFFFFFFFFFF000000FF", 16 << 20, (0xFFFFFFFF, (1 << 40) - 1)),
        # Names that can't exist at that size: the low half never gets that far.
        ("000000010000000000000100", 16 << 20, None),
        ("000000010000000000000020", 128 << 20, None),
        ("000000010000000000000004", 1 << 30, None),
        ("000000010000000000001000", 1 << 20, None),
        # No timeline 0, and nothing but 24 capital digits.
        ("000000000000000000000001", 16 << 20, None),
        ("00000001000000000000000a", 16 << 20, None),
        ("00000001000000000000001", 16 << 20, None),
        ("0000000100000000000000011", 16 << 20, None),
        ("+00000010000000000000001", 16 << 20, None),
        ("0000_0010000000000000001", 16 << 20, None),
        (" 00000010000000000000001", 16 << 20, None),
        ("00000001000000000000000\n", 16 << 20, None),
        ("000000010000000000000001\n", 16 << 20, None),
        ("00000001000000000000000\uff11", 16 << 20, None),
        ("000000010000000000000001.partial", 16 << 20, None),
        ("00000002.history", 16 << 20, None),
        ("", 16 << 20, None),
    ],
)
def test_segment_names(name: str, size: int, expected: tuple[int, int] | None) -> None:
    assert parse_segment(name, size) == expected
    bulk = ranges_of_names([name], size)
    assert bulk == (() if expected is None else (segments(*expected),))


@given(sizes, st.integers(1, (1 << 32) - 1), st.data())
def test_segment_names_read_back(size: int, timeline: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, (1 << 64) // size - 1))
    name = segment_name(timeline, number, size)
    assert parse_segment(name, size) == (timeline, number)
    assert segment_of(segment_start(number, size), size) == number
    assert segment_of(segment_start(number, size) + size - 1, size) == number


@given(sizes, st.text(alphabet="0123456789ABCDEFabcdef._+- xhistoryparl", max_size=40))
def test_any_text_is_judged_alike_one_by_one_and_in_bulk(size: int, name: str) -> None:
    one = parse_segment(name, size)
    assert ranges_of_names([name, name], size) == (() if one is None else (segments(*one),))


@pytest.mark.parametrize("size", [0, 1, 1 << 19, (1 << 20) + 1, 3 << 20, 1 << 31])
def test_no_such_segment_size(size: int) -> None:
    with pytest.raises(ValueError, match="segment size"):
        segment_name(1, 1, size)


@pytest.mark.parametrize(("timeline", "number"), [(0, 1), (1 << 32, 1), (1, -1), (1, 1 << 40)])
def test_no_such_segment(timeline: int, number: int) -> None:
    with pytest.raises(ValueError, match="no WAL segment"):
        segment_name(timeline, number, SIZE)


def test_other_names() -> None:
    assert is_partial("000000010000000000000001.partial")
    assert not is_partial("000000010000000000000001")
    assert parse_partial("000000020000000000000003.partial", SIZE) == (2, 3)
    assert parse_partial("000000020000000000000100.partial", SIZE) is None
    assert parse_partial("000000020000000000000003", SIZE) is None
    assert is_backup_history("000000010000000000000002.00000028.backup")
    assert not is_backup_history("000000010000000000000002.backup")
    assert is_history("0000000A.history")
    assert history_timeline("0000000A.history") == 10
    assert history_name(10) == "0000000A.history"
    for stray in ("00000001.history", "00000000.history", "0000000a.history", "0000000A.history.gz", "A.history"):
        assert history_timeline(stray) is None
    assert range_text(segments(1, 3), SIZE) == "000000010000000000000003"
    assert range_text(segments(1, 3, 4), SIZE) == "000000010000000000000003 to 000000010000000000000004"


# -- histories ---------------------------------------------------------------------------------------------------------
def test_a_history_tells_the_whole_ancestry() -> None:
    text = "# a comment\n1\t0/3000000\tno recovery target specified\n\n  \n2\t1/A0\tbefore 2026-01-01 00:00:00+00\n"
    forks = parse_history(5, text)
    assert [(fork.timeline, fork.parent, fork.switch_lsn) for fork in forks] == [
        (2, 1, Lsn("0/3000000")),
        (5, 2, Lsn("1/A0")),
    ]


def test_a_history_without_remark_and_with_windows_line_ends() -> None:
    assert parse_history(2, "1 0/3000000\r\n")[0].switch_lsn == Lsn("0/3000000")
    assert parse_history(2, "") == ()
    assert parse_history(2, "# only a comment") == ()


def test_switches_need_not_rise() -> None:
    # A server that follows timeline 2 and stops before 2 began writes this.
    forks = parse_history(3, "1\t0/5000000\tx\n2\t0/3000000\tx\n")
    assert [fork.switch_lsn for fork in forks] == [Lsn("0/5000000"), Lsn("0/3000000")]


@pytest.mark.parametrize(
    "text",
    [
        "bogus line\n",
        "1\n",
        "1\tnowhere\n",
        "1\t0/3000000x\tremark\n",
        "2\t0/1\tx\n1\t0/2\tx\n",
        "1\t0/1\tx\n1\t0/2\tx\n",
        "0\t0/1\tx\n",
        "-1\t0/1\tx\n",
        "7\t0/1\tx\n",
        "99999999999\t0/1\tx\n",
    ],
)
def test_a_history_that_postgresql_would_refuse(text: str) -> None:
    with pytest.raises(ValueError, match=r"00000007\.history"):
        parse_history(7, text)


@given(st.integers(2, 1 << 31), st.text(max_size=200))
def test_any_text_is_a_history_or_a_clear_refusal(timeline: int, text: str) -> None:
    try:
        forks = parse_history(timeline, text)
    except ValueError as error:
        assert history_name(timeline) in str(error)  # noqa: PT017
    else:
        assert all(fork.parent < fork.timeline for fork in forks)


# -- sets of segments --------------------------------------------------------------------------------------------------
@given(st.lists(small, max_size=60))
def test_merged_ranges_hold_what_was_given(given_segments: list[tuple[int, int]]) -> None:
    ranges = merge_ranges(iter(given_segments))
    assert files_of(ranges) == set(given_segments)
    assert is_normal(ranges)
    assert ranges == merge_ranges(reversed(given_segments))
    assert count_segments(ranges) == len(set(given_segments))


@given(small_ranges, small_ranges)
def test_union_and_difference(one: list[SegmentRange], other: list[SegmentRange]) -> None:
    both, less = union_ranges(one, other), subtract_ranges(one, other)
    assert files_of(both) == files_of(tuple(one)) | files_of(tuple(other))
    assert files_of(less) == files_of(tuple(one)) - files_of(tuple(other))
    assert is_normal(both)
    assert is_normal(less)


@given(small_ranges, st.integers(1, 3), st.integers(0, 40), st.integers(0, 40))
def test_the_index_answers_as_a_set_would(ranges: list[SegmentRange], timeline: int, first: int, last: int) -> None:
    index, there = SegmentIndex(ranges), files_of(tuple(ranges))
    numbers = sorted(number for member, number in there if member == timeline)
    assert index.next_from(timeline, first) == min((n for n in numbers if n >= first), default=None)
    assert index.last_between(timeline, first, last) == max((n for n in numbers if first <= n <= last), default=None)
    end = None
    while (timeline, first if end is None else end + 1) in there:
        end = first if end is None else end + 1
    assert index.run_end(timeline, first) == end
    window = {(timeline, number) for number in range(first, last + 1)}
    assert files_of(tuple(index.gaps(timeline, first, last))) == window - there
    assert files_of(tuple(index.runs(timeline, first, last))) == window & there
    assert index.timelines == tuple(sorted({member for member, _ in there}))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("order", ["sorted", "shuffled", "reversed"])
def test_bulk_reading_over_several_batches(size: int, order: str) -> None:
    lost = {70_000, 70_001, 130_000}
    numbers = [number for number in range(150_000) if number not in lost]
    names = [segment_name(1, number, size) for number in numbers]
    names += [segment_name(3, number, size) for number in range(10, 20)]
    names += names[:5_000]
    names += ["00000003.history", "backup_label", "000000010000000000000001.partial", "é" * 24]
    if order == "shuffled":
        random.Random(1).shuffle(names)
    elif order == "reversed":
        names.reverse()
    expected = (segments(1, 0, 69_999), segments(1, 70_002, 129_999), segments(1, 130_001, 149_999), segments(3, 10, 19))
    assert ranges_of_names(iter(names), size) == expected
    if order == "shuffled":
        parsed = (parse_segment(name, size) for name in names)
        assert merge_ranges(found for found in parsed if found is not None) == expected


@pytest.mark.parametrize("spread", [1 << 22, 1 << 40])
def test_bulk_reading_of_names_far_apart(spread: int) -> None:
    chance = random.Random(2)
    places = [(chance.randint(1, 3), chance.randrange(spread)) for _ in range(90_000)]
    places += [(timeline, number + 1) for timeline, number in places[::3]]
    chance.shuffle(places)
    names = [segment_name(timeline, number, SIZE) for timeline, number in places]
    found = ranges_of_names(iter(names), SIZE)
    assert is_normal(found)
    assert files_of(found) == set(places)
    assert merge_ranges(iter(places)) == found


@pytest.mark.parametrize("size", SIZES)
def test_bulk_reading_of_one_folder_after_another(size: int) -> None:
    """Each folder in order; the second begins before the first ends, and some of its names are there, too."""
    lists = (range(90_000), range(60_000, 170_000, 2), range(60_001, 170_000, 2))
    names = [segment_name(1, number, size) for numbers in lists for number in numbers]
    assert ranges_of_names(names, size) == (segments(1, 0, 169_999),)


@given(sizes, st.lists(st.tuples(st.integers(1, 2), st.integers(0, 20)), max_size=40), st.integers(0, 3))
def test_bulk_reading_equals_one_by_one(size: int, files: list[tuple[int, int]], high: int) -> None:
    per = (1 << 32) // size
    shifted = [(timeline, per * high + number) for timeline, number in files]
    names = [segment_name(timeline, number, size) for timeline, number in shifted]
    assert ranges_of_names(names, size) == merge_ranges(shifted)
