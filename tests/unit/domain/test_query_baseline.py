from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.query_baseline import (
    KEPT_RUNS,
    Latency,
    Plan,
    PlanNode,
    QueryBaseline,
    degraded,
    percentile,
    read_plan,
    slower,
)

TIMES = st.floats(0.01, 1e6)
LATENCIES = st.builds(lambda low, more: Latency(p50=low, p95=low + more), TIMES, TIMES)

# What PostgreSQL 18 answers to EXPLAIN (FORMAT JSON), cut to what is read.
JOINED: list[dict[str, Any]] = [
    {
        "Plan": {
            "Node Type": "Nested Loop",
            "Total Cost": 40.5,
            "Plans": [
                {
                    "Node Type": "Bitmap Heap Scan",
                    "Relation Name": "orders",
                    "Alias": "o",
                    "Plans": [{"Node Type": "Bitmap Index Scan", "Index Name": "orders_by_customer"}],
                },
                {"Node Type": "Index Scan", "Relation Name": "customers", "Index Name": "customers_pkey"},
                {"Node Type": "Seq Scan", "Relation Name": "countries"},
            ],
        }
    }
]


def plan(kind: str, cost: float) -> Plan:
    return Plan(root=PlanNode(kind=kind, relation="orders", index="" if kind == "Seq Scan" else "by_customer"), cost=cost)


def baseline(*times: float, digest: str = "d", version: int = 18) -> QueryBaseline:
    return QueryBaseline(
        digest=digest,
        server_version=version,
        plan=plan("Index Scan", 8),
        latencies=tuple(Latency(p50=time, p95=2 * time) for time in times),
    )


def test_a_plan_is_read_without_what_changes_from_run_to_run() -> None:
    read = read_plan(JOINED)
    assert read.cost == 40.5
    assert read.root.indexed == {"orders", "customers"}
    assert read.root.read_whole == {"countries"}
    assert str(read.root) == (
        "Nested Loop(Bitmap Heap Scan on orders(Bitmap Index Scan by orders_by_customer), "
        "Index Scan on customers by customers_pkey, Seq Scan on countries)"
    )
    assert Plan.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (plan("Index Scan", 8), plan("Seq Scan", 400), ("orders",)),
        (plan("Index Scan", 8), plan("Seq Scan", 20), ()),  # the planner's own choice, and no dearer
        (plan("Index Scan", 8), plan("Index Only Scan", 400), ()),
        (plan("Seq Scan", 8), plan("Seq Scan", 400), ()),
        (plan("Seq Scan", 400), plan("Index Scan", 8), ()),
    ],
)
def test_degraded(before: Plan, after: Plan, lost: tuple[str, ...]) -> None:
    assert degraded(before, after, 3) == lost


@given(LATENCIES, LATENCIES, st.floats(1.01, 100))
def test_a_time_is_never_slower_than_itself_and_never_in_both_directions(a: Latency, b: Latency, ratio: float) -> None:
    assert not slower(a, a, ratio)
    assert not (slower(a, b, ratio) and b.p50 <= a.p50 and b.p95 <= a.p95)


@given(LATENCIES, LATENCIES, st.floats(1.01, 50), st.floats(1, 50))
def test_a_wider_ratio_never_finds_more(a: Latency, b: Latency, ratio: float, wider: float) -> None:
    assert not slower(a, b, ratio * wider) or slower(a, b, ratio)


def test_what_a_busy_host_adds_is_no_finding() -> None:
    assert not slower(Latency(p50=0.1, p95=0.2), Latency(p50=5, p95=60), 3)
    assert slower(Latency(p50=0.1, p95=0.2), Latency(p50=25, p95=26), 3)
    assert slower(Latency(p50=10, p95=20), Latency(p50=12, p95=300), 3)


@given(st.lists(TIMES, min_size=1, max_size=50), st.floats(1, 100))
def test_percentiles_are_of_the_values(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values) * (1 - 1e-12)
    assert percentile(values, 100) == max(values)


def test_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_the_baseline_is_the_median_of_the_last_good_runs() -> None:
    kept = baseline(1.0)
    for time in (1.0, 50.0, 1.0, 1.0):
        kept = kept.followed_by(baseline(time))
    assert kept.latency == Latency(p50=1, p95=2)
    for _ in range(KEPT_RUNS):
        kept = kept.followed_by(baseline(4.0))
    assert len(kept.latencies) == KEPT_RUNS
    assert kept.latency == Latency(p50=4, p95=8)
    assert baseline().latency is None


@pytest.mark.parametrize("later", [baseline(9, digest="other"), baseline(9, version=19)])
def test_another_query_or_server_begins_anew(later: QueryBaseline) -> None:
    assert baseline(1, 1).followed_by(later) == later
