"""Query plans and latencies against earlier good runs: what is kept of a query, and when a new measurement is worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from airflow_dr_provider.domain.value import Value

KEPT_RUNS = 9
"""Of how many good runs the latencies are kept: their median is the baseline, so that no single lucky or slow run is."""
NOISE_P50_MILLISECONDS = 10.0
NOISE_P95_MILLISECONDS = 100.0
"""What a busy host adds to any query now and then: a smaller difference is no finding, whatever the ratio."""

_READS_ALL = "Seq Scan"


class PlanNode(Value):
    """One node of a plan, without what changes from run to run.

    :param relation: the table that it reads, "" for none.
    :param index: the index that it uses, "" for none.
    """

    kind: str
    relation: str = ""
    index: str = ""
    children: tuple[PlanNode, ...] = ()

    def nodes(self) -> Iterator[PlanNode]:
        """The node and all below it."""
        yield self
        for child in self.children:
            yield from child.nodes()

    @property
    def indexed(self) -> frozenset[str]:
        """Relations that are reached through an index. A bitmap's index stands below the node that names the relation."""
        return frozenset(
            node.relation
            for node in self.nodes()
            if node.relation and (node.index or any(below.index for child in node.children for below in child.nodes()))
        )

    @property
    def read_whole(self) -> frozenset[str]:
        """Relations that are read from end to end."""
        return frozenset(node.relation for node in self.nodes() if node.kind == _READS_ALL and node.relation)

    def __str__(self) -> str:
        """In one line: ``Nested Loop(Seq Scan on orders, Index Scan on customers by customers_pkey)``."""
        text = self.kind + (f" on {self.relation}" if self.relation else "") + (f" by {self.index}" if self.index else "")
        return text + (f"({', '.join(str(child) for child in self.children)})" if self.children else "")


class Plan(Value):
    """A plan's shape, and what the planner thinks that it costs."""

    root: PlanNode
    cost: float


class Latency(Value):
    """How long a query took, warm, in milliseconds."""

    p50: float
    p95: float


class QueryBaseline(Value):
    """What is kept of a query.

    :param digest: of its text, database and parameters: another query under the same name has no baseline yet.
    :param server_version: the major version that planned it; another one plans otherwise.
    :param plan: of the last good run.
    :param latencies: of the last good runs, the newest last.
    """

    digest: str
    server_version: int
    plan: Plan
    latencies: tuple[Latency, ...] = ()

    @property
    def latency(self) -> Latency | None:
        """The median of what is kept; None when nothing was timed."""
        if not self.latencies:
            return None
        return Latency(p50=median(each.p50 for each in self.latencies), p95=median(each.p95 for each in self.latencies))

    def followed_by(self, later: QueryBaseline) -> QueryBaseline:
        """The baseline after another good run."""
        same = (self.digest, self.server_version) == (later.digest, later.server_version)
        kept = (*self.latencies, *later.latencies)[-KEPT_RUNS:] if same else later.latencies
        return later.model_copy(update={"latencies": kept})


def read_plan(explained: Sequence[Mapping[str, Any]]) -> Plan:
    """A plan from what ``EXPLAIN (FORMAT JSON)`` answers."""
    top = explained[0]["Plan"]
    return Plan(root=_node(top), cost=float(top["Total Cost"]))


def _node(node: Mapping[str, Any]) -> PlanNode:
    return PlanNode(
        kind=str(node["Node Type"]),
        relation=str(node.get("Relation Name", "")),
        index=str(node.get("Index Name", "")),
        children=tuple(_node(child) for child in node.get("Plans", ())),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile.

    :raises ValueError: without values.
    """
    if not values:
        raise ValueError("no percentile of nothing")
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def degraded(before: Plan, after: Plan, max_ratio: float) -> tuple[str, ...]:
    """Relations that were reached through an index and are read whole now, where the planner's own cost rose beyond the ratio.

    A plan that only differs is no worse: with other amounts of data the planner rightly chooses another one, which costs less
    than the old one would.
    """
    if after.cost <= max_ratio * before.cost:
        return ()
    return tuple(sorted((before.root.indexed - after.root.indexed) & after.root.read_whole))


def slower(before: Latency, after: Latency, max_ratio: float) -> bool:
    """Whether the median, or the 95th percentile, rose beyond the ratio and beyond what is noise."""
    return (after.p50 > max_ratio * before.p50 and after.p50 - before.p50 > NOISE_P50_MILLISECONDS) or (
        after.p95 > max_ratio * before.p95 and after.p95 - before.p95 > NOISE_P95_MILLISECONDS
    )
