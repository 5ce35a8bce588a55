from __future__ import annotations

from typing import Any

import pytest

from airflow_dr_provider.checks.base import SmokeTest
from airflow_dr_provider.checks.smoke import SmokeCheck
from airflow_dr_provider.domain.verdicts import Verdict
from tests.integration.checks.conftest import Cluster
from tests.unit.checks.contexts import outcome

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("statement", "expect", "signature"),
    [
        ("SELECT true", True, None),
        ("SELECT false", False, None),
        ("SELECT true", False, "SMOKE_FAILED"),
        ("SELECT NULL::boolean", False, "SMOKE_FAILED"),
        ("SELECT count(*) FROM generate_series(1, 7)", 7, None),
        ("SELECT sum(n) FROM generate_series(1::numeric, 3) n", 6, None),
        ("SELECT 8", 7, "SMOKE_FAILED"),
        ("SELECT 1", True, "SMOKE_ERROR"),
        ("SELECT true", 1, "SMOKE_ERROR"),
        ("SELECT 'sound'::text", "sound", None),
        ("SELECT 'Sound'::varchar", "sound", "SMOKE_FAILED"),
        ("SELECT 7", "7", "SMOKE_ERROR"),
    ],
)
async def test_the_answer_has_to_be_the_expected_one(
    cluster: Cluster, statement: str, expect: Any, signature: str | None
) -> None:
    test = SmokeTest(name="asked", sql=statement, database="postgres", timeout_seconds=10, expect=expect)
    results = await SmokeCheck().run(cluster.context("postgres", smoke=(test,)))
    verdict, code = outcome(results)
    assert code == signature
    assert (verdict is Verdict.PASSED) == results[0].proves_data
    # What was answered stays unsaid, unless it is a truth value.
    assert "8" not in results[0].detail
    assert "Sound" not in results[0].detail
