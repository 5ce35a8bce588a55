from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.objectives import Achieved, achieved_rpo, met, stage_seconds
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from tests.unit.domain.builders import NOON


@given(st.integers(-(10**6), 10**6))
def test_rpo_counts_back_from_the_disaster_and_is_never_negative(seconds: int) -> None:
    lost = achieved_rpo(NOON, NOON - timedelta(seconds=seconds))
    assert lost == max(0, seconds)


@pytest.mark.parametrize(
    ("achieved", "objective", "expected"),
    [(1.0, 1.0, True), (0.0, 1.0, True), (1.1, 1.0, False), (None, 1.0, None), (1.0, None, None)],
)
def test_met(achieved: float | None, objective: float | None, expected: bool | None) -> None:
    assert met(achieved, objective) is expected


def test_stages_add_up_over_attempts_without_teardown() -> None:
    def took(stage: StageName, seconds: float) -> StageResult:
        return StageResult(stage=stage, verdict=Verdict.PASSED, elapsed_seconds=seconds)

    results = [took(StageName.RESTORE, 2), took(StageName.TEARDOWN, 9), took(StageName.SELECT, 1), took(StageName.RESTORE, 3)]
    assert list(stage_seconds(results).items()) == [("select", 1.0), ("restore", 5.0)]


def test_achieved_reads_back() -> None:
    achieved = Achieved(rpo_seconds=3.5, rpo_source="heartbeat", rpo_met=True, stages={"restore": 1.5})
    assert Achieved.model_validate_json(achieved.model_dump_json()) == achieved
