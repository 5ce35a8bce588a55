from __future__ import annotations

from typing import Any

import pytest

from airflow_dr_provider.checks.base import WatchedQuery
from airflow_dr_provider.checks.query_plans import QueryPlansCheck
from airflow_dr_provider.domain.query_baseline import QueryBaseline
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict
from tests.integration.checks.conftest import Cluster

pytestmark = pytest.mark.postgres

ORDERS = """
CREATE TABLE big AS SELECT n AS id, n % 1000 AS customer, md5(n::text) AS body FROM generate_series(1, 50000) n;
CREATE INDEX big_by_customer ON big (customer);
ANALYZE big;
"""


@pytest.fixture
def big(cluster: Cluster, shop: str) -> str:
    cluster.sql(ORDERS, shop)
    return shop


def query(database: str, **changes: Any) -> WatchedQuery:
    values = {
        "name": "by_customer", "sql": "SELECT count(*), min(body) FROM big WHERE customer = 7", "database": database,
        "timeout_seconds": 10.0, "max_ratio": 3.0, **changes,
    }  # fmt: skip
    return WatchedQuery(**values)


async def ask(cluster: Cluster, asked: WatchedQuery, kept: QueryBaseline | None = None) -> CheckResult:
    baselines = {asked.name: kept} if kept is not None else {}
    (result,) = await QueryPlansCheck().run(cluster.context(asked.database, queries=(asked,), query_baselines=baselines))
    assert result.name == f"query:{asked.name}"
    return result


def baseline(result: CheckResult) -> QueryBaseline:
    return QueryBaseline.model_validate(result.facts["baseline"])


async def test_no_queries_no_results(cluster: Cluster) -> None:
    assert await QueryPlansCheck().run(cluster.context("postgres")) == ()


async def test_the_first_run_has_nothing_to_compare_with_and_the_next_passes(cluster: Cluster, big: str) -> None:
    first = await ask(cluster, query(big))
    assert (first.verdict, first.signature, first.required) == (Verdict.COULD_NOT_VERIFY, "NO_REFERENCE", False)
    assert "big_by_customer" in first.facts["plan"]
    second = await ask(cluster, query(big), baseline(first))
    assert second.verdict is Verdict.PASSED, second.detail
    assert second.measurements["query.by_customer.ratio"] > 0
    assert (
        second.measurements["query.by_customer.p95_milliseconds"] >= second.measurements["query.by_customer.p50_milliseconds"]
    )


async def test_a_lost_index_is_a_degraded_plan(cluster: Cluster, big: str) -> None:
    kept = baseline(await ask(cluster, query(big)))
    cluster.sql("DROP INDEX big_by_customer", big)
    result = await ask(cluster, query(big), kept)
    assert (result.verdict, result.signature) == (Verdict.FAILED, "QUERY_PLAN_DEGRADED")
    assert "reads all of big" in result.detail
    assert result.facts["plan"] != result.facts["plan_before"]


async def test_another_plan_that_costs_no_more_is_no_fault(cluster: Cluster, big: str) -> None:
    kept = baseline(await ask(cluster, query(big)))
    cluster.sql("DROP INDEX big_by_customer; DELETE FROM big WHERE id > 20", big)
    cluster.sql("VACUUM FULL ANALYZE big", big)
    result = await ask(cluster, query(big), kept)
    assert result.verdict is Verdict.PASSED, result.detail
    assert "Seq Scan on big" in result.facts["plan"]


async def test_a_query_that_became_slow(cluster: Cluster, big: str) -> None:
    sleepy = "CREATE OR REPLACE FUNCTION nap() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1 FROM pg_sleep({})'"
    cluster.sql(sleepy.format(0.001), big)
    asked = query(big, name="nap", sql="SELECT nap()")
    kept = baseline(await ask(cluster, asked))
    assert (await ask(cluster, asked, kept)).verdict is Verdict.PASSED
    cluster.sql(sleepy.format(0.05), big)
    result = await ask(cluster, asked, kept)
    assert (result.verdict, result.signature) == (Verdict.FAILED, "QUERY_SLOW")


async def test_parameters_are_given_or_the_plan_is_generic(cluster: Cluster, big: str) -> None:
    text = "SELECT body FROM big WHERE customer = $1 AND id > $2"
    timed = await ask(cluster, query(big, sql=text, parameters=("7", "12")))
    assert baseline(timed).latency is not None
    generic = await ask(cluster, query(big, sql=text))
    assert baseline(generic).latency is None
    assert "big_by_customer" in generic.facts["plan"]
    assert (await ask(cluster, query(big, sql=text), baseline(generic))).verdict is Verdict.PASSED
    # What was measured with other parameters is another query's.
    other = await ask(cluster, query(big, sql=text, parameters=("8", "12")), baseline(timed))
    assert other.signature == "NO_REFERENCE"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SELEC 1", "SyntaxError"),
        ("SELECT 1 FROM nowhere", "nowhere"),
        ("SELECT 1; SELECT 2", "SyntaxError"),
        ("SELECT $1::int + $2::int", "wrong number of parameters"),
        ("SELECT pg_sleep(5)", "within its 0.2 s"),
        ("DELETE FROM big RETURNING 1", "InsufficientPrivilege"),
        ("WITH gone AS (DELETE FROM big RETURNING 1) SELECT 1 FROM gone", "could not be run"),
        ("SELECT pg_read_file('PG_VERSION')", "InsufficientPrivilege"),
        ("CREATE TABLE mine AS SELECT 1", "could not be run"),
    ],
)
async def test_what_cannot_be_asked_is_no_pass(cluster: Cluster, big: str, text: str, words: str) -> None:
    parameters = ("1",) if "$2" in text else ()
    result = await ask(cluster, query(big, sql=text, timeout_seconds=0.2, parameters=parameters))
    assert (result.verdict, result.signature, result.required) == (Verdict.COULD_NOT_VERIFY, "QUERY_ERROR", True)
    assert words in result.detail
    assert cluster.sql("SELECT count(*) FROM big", big) == [(50000,)]


async def test_a_role_with_power_runs_nothing(cluster: Cluster, big: str) -> None:
    cluster.smoke = "strong"
    assert (await ask(cluster, query(big))).signature == "QUERY_ERROR"


async def test_a_database_that_is_not_there(cluster: Cluster) -> None:
    assert (await ask(cluster, query("not_there"))).signature == "QUERY_ERROR"
