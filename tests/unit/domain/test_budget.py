"""When an attempt is ended before its time, and when none is begun."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.budget import SERVED, Limits, Watch, breach, shortage
from airflow_dr_provider.domain.reports import Vitals
from airflow_dr_provider.domain.signatures import SIGNATURES
from airflow_dr_provider.domain.verdicts import StageName

LIMITS = Limits(disk_free=100, memory_free=100, silence_seconds=30)
HEALTHY = Vitals(server=1, answers=True, disk_free=100, memory_free=100, memory_used=10)


def found(
    stage: StageName = StageName.VALIDATE, *, served: bool = True, silent: float = 0, left: float = 1, **vitals: object
) -> str | None:
    watch = Watch(
        stage=stage, vitals=HEALTHY.model_copy(update=vitals), served=served, silent_seconds=silent, budget_seconds=left
    )
    passed = breach(LIMITS, watch)
    return passed.signature if passed is not None else None


def test_a_healthy_one_goes_on() -> None:
    assert {found(stage) for stage in StageName} == {None}
    assert found(silent=30) is None


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        ({"disk_free": 99}, "DISK_LOW"),
        ({"memory_free": 99}, "MEMORY_LOW"),
        ({"server": None, "answers": None}, "SERVER_DIED"),
        ({"answers": False, "silent": 30.1}, "SERVER_UNREACHABLE"),
        ({"left": 0}, "BUDGET_EXHAUSTED"),
        ({"disk_free": 0, "server": None}, "DISK_LOW"),
    ],
)
def test_each_limit(seen: dict[str, object], code: str) -> None:
    assert found(**seen) == code  # type: ignore[arg-type]
    assert code in SIGNATURES


def test_a_server_is_missed_only_where_it_was_and_is_needed() -> None:
    assert found(StageName.RESTORE, server=None) is None
    assert found(served=False, server=None) is None
    assert all(found(stage, server=None) == "SERVER_DIED" for stage in SERVED)


@given(st.sampled_from(StageName), st.booleans())
def test_what_is_not_told_breaks_no_limit(stage: StageName, served: bool) -> None:
    assert (
        breach(LIMITS, Watch(stage=stage, vitals=Vitals(server=1), served=served, silent_seconds=0, budget_seconds=1)) is None
    )


seconds = st.floats(min_value=0, max_value=1e6)


@given(seconds, seconds, st.lists(seconds, max_size=5))
def test_the_first_attempt_is_always_worth_it_and_more_time_never_makes_one_worse(
    left: float, timeout: float, known: list[float]
) -> None:
    assert shortage(first=True, left=left, timeout=timeout, known=known) is None
    if shortage(first=False, left=left, timeout=timeout, known=known) is None:
        assert shortage(first=False, left=left + 1, timeout=timeout, known=known) is None


def test_what_is_known_counts_more_than_the_timeout() -> None:
    assert shortage(first=False, left=100, timeout=600, known=[]) == (
        "it takes 600 s by its timeout, and 100 s are left of the tolerable downtime; it was not begun"
    )
    assert shortage(first=False, left=100, timeout=600, known=[90, 95, 900]) is None
    assert "120 s in earlier runs" in str(shortage(first=False, left=100, timeout=60, known=[110, 120, 130]))
