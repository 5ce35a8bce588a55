"""When a drill is due: crons, the edges of a time zone, blackouts, and a share of the jitter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.cadence import (
    Blackout,
    Cadence,
    CronWindow,
    Period,
    WeeklyWindow,
    in_blackout,
    next_time,
    share_of,
    times_before,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)  # a Monday
CRONS = ("*/15 * * * *", "0 3 * * *", "30 2 * * *", "30 2 * * 1", "0 0 1 * *", "5,35 */6 * * *", "15 1-3 * * *")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata", "Africa/Casablanca")
MICROSECOND = timedelta(microseconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(cadence: Cadence, after: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    while len(found) < count:
        time = next_time(cadence, after)
        assert time is not None
        found.append(time)
        after = time
    return found


@pytest.mark.parametrize(
    ("cron", "moment", "times"),
    [
        ("0 12 * * *", NOON, [NOON, NOON - timedelta(days=1)]),
        ("0 12 * * *", NOON - MICROSECOND, [NOON - timedelta(days=1), NOON - timedelta(days=2)]),
        ("0 0 29 2 *", NOON, [datetime(2024, 2, 29, tzinfo=UTC), datetime(2020, 2, 29, tzinfo=UTC)]),
    ],
)
def test_times_before(cron: str, moment: datetime, times: list[datetime]) -> None:
    assert list(times_before(Cadence(crons=(cron,)), moment, 2)) == times


@pytest.mark.parametrize(
    ("cron", "zone", "after", "times"),
    [
        # Put forward from 02:00 to 03:00 on 29 March: 02:30 comes an hour later, once.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:30", "2026-03-30T00:30"]),
        ("30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:30", "2026-03-30T00:30"]),
        ("30 * * * *", "Europe/Berlin", "2026-03-29T00:00", ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"]),
        # Put back from 03:00 to 02:00 on 25 October: 02:30 comes twice and counts the second time; hourly ones come both times.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T01:30", "2026-10-26T01:30"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]),
        ("0 1 * * *", "America/New_York", "2026-11-01T00:00", ["2026-11-01T06:00", "2026-11-02T06:00"]),
        # Half an hour, and a day that never was (30 December 2011).
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["2026-10-03T15:45", "2026-10-04T15:15"]),
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00", ["2011-12-29T22:00", "2011-12-30T22:00", "2011-12-31T22:00"]),
    ],
    ids=str,
)
def test_edges_of_a_zone(cron: str, zone: str, after: str, times: list[str]) -> None:
    assert following(Cadence(crons=(cron,), timezone=zone), utc(after), len(times)) == [utc(time) for time in times]


def test_several_crons_are_one_cadence() -> None:
    cadence = Cadence(crons=("0 3 * * *", "0 15 * * *", "0 15 1 * *"))
    assert following(cadence, NOON, 3) == [utc("2026-06-01T15:00"), utc("2026-06-02T03:00"), utc("2026-06-02T15:00")]


def test_a_cadence_by_backups_alone_has_no_times() -> None:
    assert next_time(Cadence(after_backup=True), NOON) is None
    assert times_before(Cadence(after_backup=True), NOON, 3) == ()


# -- blackouts ---------------------------------------------------------------------------------------------------------
FREEZE = Period(begin=utc("2026-12-20T00:00"), end=utc("2027-01-07T00:00"), reason="freeze")
SATURDAYS = WeeklyWindow(days=(5,), begin=0, end=360, timezone="Europe/Berlin")
FRIDAY_NIGHTS = WeeklyWindow(days=(4,), begin=22 * 60, end=26 * 60, timezone="UTC")
FIRSTS = CronWindow(cron="0 0 1 * *", lasts_seconds=6 * 3600, timezone="Asia/Tokyo")


@pytest.mark.parametrize(
    ("blackout", "inside", "outside"),
    [
        (FREEZE, ["2026-12-20T00:00", "2027-01-06T23:59"], ["2026-12-19T23:59", "2027-01-07T00:00"]),
        (SATURDAYS, ["2026-06-05T22:00", "2026-06-06T03:59"], ["2026-06-05T21:59", "2026-06-06T04:00", "2026-06-07T00:00"]),
        (FRIDAY_NIGHTS, ["2026-06-05T22:00", "2026-06-06T01:59"], ["2026-06-05T21:59", "2026-06-06T02:00", "2026-06-05T01:00"]),
        (FIRSTS, ["2026-05-31T15:00", "2026-05-31T20:59"], ["2026-05-31T14:59", "2026-05-31T21:00"]),
    ],
)
def test_what_a_blackout_covers(blackout: Blackout, inside: list[str], outside: list[str]) -> None:
    cadence = Cadence(crons=("* * * * *",), blackouts=(blackout,))
    assert [in_blackout(cadence, utc(moment)) is not None for moment in inside] == [True] * len(inside)
    assert [in_blackout(cadence, utc(moment)) for moment in outside] == [None] * len(outside)


def test_a_blackout_covers_both_hours_of_a_clock_that_is_put_back() -> None:
    night = WeeklyWindow(days=(6,), begin=120, end=180, timezone="Europe/Berlin")
    window = in_blackout(Cadence(blackouts=(night,)), utc("2026-10-25T00:30"))
    assert window is not None
    assert window[1:] == (utc("2026-10-25T00:00"), utc("2026-10-25T02:00"))
    for hours in (WeeklyWindow(days=(6,), begin=150, end=165, timezone="Europe/Berlin"), night):
        assert in_blackout(Cadence(blackouts=(hours,)), utc("2026-10-25T00:40")) is not None
        assert in_blackout(Cadence(blackouts=(hours,)), utc("2026-10-25T01:40")) is not None


def test_times_in_a_blackout_are_none() -> None:
    cadence = Cadence(crons=("0 3 * * *",), blackouts=(FREEZE,))
    assert next_time(cadence, utc("2026-12-19T03:00")) == utc("2027-01-07T03:00")
    assert times_before(cadence, utc("2027-01-07T03:00"), 2) == (utc("2027-01-07T03:00"), utc("2026-12-19T03:00"))


def test_the_first_moment_after_a_blackout_is_a_time() -> None:
    cadence = Cadence(crons=("0 * * * *",), blackouts=(FRIDAY_NIGHTS,))
    assert next_time(cadence, utc("2026-06-05T21:30")) == utc("2026-06-06T02:00")


def test_a_long_blackout_of_a_busy_cadence_is_leapt_over() -> None:
    years = Period(begin=utc("2026-01-01T00:00"), end=utc("2035-01-01T00:00"))
    assert next_time(Cadence(crons=("* * * * *",), blackouts=(years,)), NOON) == utc("2035-01-01T00:00")


def test_blackouts_that_leave_no_time() -> None:
    always = WeeklyWindow(days=tuple(range(7)), begin=0, end=1440, timezone="UTC")
    cadence = Cadence(crons=("0 3 * * *",), blackouts=(always,))
    assert next_time(cadence, NOON) is None
    assert times_before(cadence, NOON, 1) == ()


def test_of_several_blackouts_the_last_to_end_counts() -> None:
    longer = Period(begin=utc("2026-12-01T00:00"), end=utc("2027-02-01T00:00"), reason="longer")
    window = in_blackout(Cadence(blackouts=(longer, FREEZE)), utc("2026-12-24T00:00"))
    assert window is not None
    assert window[0] == longer


# -- jitter ------------------------------------------------------------------------------------------------------------
def test_a_share_is_the_drills_own() -> None:
    assert share_of(timedelta(minutes=15), "orders") == 88, "and the same in every version"
    shares = [share_of(timedelta(minutes=15), f"drill{number}") for number in range(1000)]
    assert all(0 <= share < 900 for share in shares)
    by_minute = [sum(share // 60 == minute for share in shares) for minute in range(15)]
    assert max(by_minute) < 100, "a thousand drills don't begin in the same minutes"


def test_blackouts_are_about_when_it_really_begins() -> None:
    hour = WeeklyWindow(days=(0,), begin=13 * 60, end=14 * 60, timezone="UTC")
    cadence = Cadence(crons=("50 12 * * *",), offset_seconds=900, blackouts=(hour,))
    assert next_time(cadence, NOON) == utc("2026-06-02T13:05")


# -- laws --------------------------------------------------------------------------------------------------------------
cadences = st.builds(
    Cadence,
    crons=st.lists(st.sampled_from(CRONS), min_size=1, max_size=2, unique=True).map(tuple),
    timezone=st.sampled_from(ZONES),
    offset_seconds=st.sampled_from((0, 88, 3600)),
    blackouts=st.lists(st.sampled_from((FREEZE, SATURDAYS, FRIDAY_NIGHTS, FIRSTS)), max_size=2, unique=True).map(tuple),
)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
# The hours around the changes of the clock, where a wrong reading shows.
changes = st.tuples(
    st.sampled_from(("2026-03-29T01:00", "2026-10-25T01:00", "2026-03-08T07:00", "2026-11-01T06:00", "2026-10-03T15:30")),
    st.integers(-30 * 3600, 30 * 3600),
).map(lambda drawn: utc(drawn[0]) + timedelta(seconds=drawn[1]))


@settings(deadline=None)
@given(cadences, moments | changes)
def test_forwards_and_backwards_tell_the_same_times(cadence: Cadence, moment: datetime) -> None:
    later = following(cadence, moment, 4)
    assert later == sorted(set(later))
    assert later[0] > moment
    assert all(in_blackout(cadence, time) is None for time in later)
    assert times_before(cadence, later[-1], 4) == tuple(reversed(later))
    assert times_before(cadence, later[0] - MICROSECOND, 1) == times_before(cadence, moment, 1)


@settings(deadline=None)
@given(st.sampled_from(CRONS), st.sampled_from(ZONES), moments | changes)
def test_every_time_is_one_of_the_wall_clock_or_a_shifted_one(cron: str, zone: str, moment: datetime) -> None:
    """By another way: each minute of the following day is read on the wall clock and matched against the cron."""
    from croniter import croniter

    cadence = Cadence(crons=(cron,), timezone=zone)
    found = [time for time in following(cadence, moment, 3) if time <= moment + timedelta(days=1)]
    here = ZoneInfo(zone)
    for time in found:
        local = time.astimezone(here).replace(tzinfo=None, fold=0)
        shifts = {
            (time - timedelta(days=1)).astimezone(here).utcoffset(), time.astimezone(here).utcoffset(),
            (time + timedelta(days=1)).astimezone(here).utcoffset(),
        }  # fmt: skip
        differences = {abs(a - b) for a in shifts for b in shifts if a is not None and b is not None}
        assert any(croniter.match(cron, local - difference) for difference in differences)


@settings(deadline=None)
@given(cadences)
def test_it_reads_back_and_has_one_text(cadence: Cadence) -> None:
    again = Cadence.model_validate_json(cadence.model_dump_json())
    assert again == cadence
    assert again.text() == cadence.text()


def test_a_cron_alone_is_its_own_text() -> None:
    assert Cadence(crons=("0 3 * * *",)).text() == "0 3 * * *"
    assert Cadence(crons=("0 3 * * *",), after_backup=True).text() != "0 3 * * *"
