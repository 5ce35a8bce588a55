"""A run in numbers, from its results and its record: what Airflow's statistics and the Prometheus file both say."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from airflow_dr_provider.domain.verdicts import StageResult


class MetricKind(StrEnum):
    """What becomes of the values of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    TIMING = "timing"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One value.

    :param group: the middle of its name: ``run``, ``stage``, ``check`` or ``watch``.
    :param leaf: the end of its name.
    :param value: seconds where it is a time.
    :param tags: by name, ``drill`` not among them; their order is that of the untagged name.
    """

    drill: str
    group: str
    leaf: str
    kind: MetricKind
    value: float
    tags: dict[str, str] = field(default_factory=dict)


def stage_metrics(drill: str, place: str, result: StageResult) -> tuple[Metric, ...]:
    """How a stage of an attempt ended.

    :param place: the attempt, ``cold#2``; the tier is what stands before the ``#``.
    """
    where = {"tier": place.partition("#")[0], "stage": result.stage.value, "verdict": result.verdict.value}
    made = [
        Metric(drill=drill, group="stage", leaf="count", kind=MetricKind.COUNTER, value=1, tags=where),
        Metric(drill=drill, group="stage", leaf="duration", kind=MetricKind.TIMING, value=result.elapsed_seconds, tags=where),
    ]
    if result.signature is not None:
        tags = {"tier": where["tier"], "signature": result.signature}
        made.append(Metric(drill=drill, group="failure", leaf="count", kind=MetricKind.COUNTER, value=1, tags=tags))
    for check in result.checks:
        tags = {"tier": where["tier"], "check": check.name, "verdict": check.verdict.value}
        made.append(Metric(drill=drill, group="check", leaf="count", kind=MetricKind.COUNTER, value=1, tags=tags))
    return tuple(made)


def run_metrics(record: dict[str, Any]) -> tuple[Metric, ...]:
    """How a run ended. Of one with an injected fault only that it was, for what a damaged copy measures says nothing."""
    drill = str(record["drill"])
    if record.get("injected"):
        seen = all(entry.get("as_expected") for entry in record["injected"])
        tags = {"noticed": "yes" if seen else "no"}
        return (Metric(drill=drill, group="injection", leaf="count", kind=MetricKind.COUNTER, value=1, tags=tags),)
    ended = Metric(
        drill=drill, group="run", leaf="count", kind=MetricKind.COUNTER, value=1, tags={"outcome": str(record["outcome"])}
    )
    return (ended, *run_gauges(record))


def run_gauges(record: dict[str, Any]) -> tuple[Metric, ...]:
    """What holds of a run until the next one; what was not measured is left out, never 0."""
    achieved, objectives = record["achieved"], record["objectives"]
    values: dict[str, float | None] = {
        "rto_seconds": achieved["rto_seconds"],
        "rpo_seconds": achieved["rpo_seconds"],
        "rto_objective_seconds": objectives["rto_seconds"],
        "rpo_objective_seconds": objectives["rpo_seconds"],
        "attempts": len(record["attempts"]),
        "leftovers": len(record["leftovers"]),
        "exit_code": record["exit_code"],
        "closed_timestamp_seconds": datetime.fromisoformat(record["closed_at"]).timestamp(),
    }
    return tuple(
        Metric(drill=str(record["drill"]), group="run", leaf=leaf, kind=MetricKind.GAUGE, value=value)
        for leaf, value in values.items()
        if value is not None
    )


def watch_metrics(drill: str, *, findings: int | None, age_seconds: float | None) -> tuple[Metric, ...]:
    """What a scan of a catalog found.

    :param age_seconds: how old the newest state is that could be restored; None when nobody knows.
    """
    values = {"findings": findings, "restorable_age_seconds": age_seconds}
    return tuple(
        Metric(drill=drill, group="watch", leaf=leaf, kind=MetricKind.GAUGE, value=value)
        for leaf, value in values.items()
        if value is not None
    )
