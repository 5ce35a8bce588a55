"""The times of a schedule, looked at from behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.spec.schedule import times_before

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
CRONS = ("*/15 * * * *", "0 3 * * *", "30 2 * * 1", "0 0 1 * *", "@daily", "@hourly", "@weekly")


@pytest.mark.parametrize(
    ("cron", "moment", "times"),
    [
        ("0 12 * * *", NOON, [NOON, NOON - timedelta(days=1)]),
        ("0 12 * * *", NOON - timedelta(microseconds=1), [NOON - timedelta(days=1), NOON - timedelta(days=2)]),
        ("@daily", NOON, [NOON - timedelta(hours=12), NOON - timedelta(hours=36)]),
        ("0 0 29 2 *", NOON, [datetime(2024, 2, 29, tzinfo=UTC), datetime(2020, 2, 29, tzinfo=UTC)]),
    ],
)
def test_times(cron: str, moment: datetime, times: list[datetime]) -> None:
    assert list(times_before(cron, moment, 2)) == times


@given(st.sampled_from(CRONS), st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.integers(0, 5))
def test_laws(cron: str, moment: datetime, count: int) -> None:
    """Newest first, none after the moment, as many as wanted, and the same from any moment between two of them."""
    moment = moment.replace(tzinfo=UTC)
    times = times_before(cron, moment, count)
    assert len(times) == count
    assert list(times) == sorted(set(times), reverse=True)
    assert all(time <= moment for time in times)
    if times:
        assert times_before(cron, times[0], count) == times
