"""The latest run of each drill as text for Prometheus' textfile collector: for a runner that has no Airflow around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_dr_provider.evidence.metrics import run_gauges

_MEANING = {
    "rto_seconds": "How long the latest run took to recover.",
    "rpo_seconds": "How much data, in time, the latest run lost.",
    "rto_objective_seconds": "How long a recovery may take.",
    "rpo_objective_seconds": "How much data, in time, may be lost.",
    "attempts": "How many attempts the latest run made.",
    "leftovers": "What the latest run left behind.",
    "exit_code": "The exit code of the latest run; 0 is a recovery by the first tier.",
    "closed_timestamp_seconds": "When the latest run ended.",
}


def open_metrics(records: Iterable[dict[str, Any]]) -> str:
    """The exposition, one family a value (Prometheus text format 0.0.4).

    :param records: one a drill; those with an injected fault are passed over.
    """
    kept = sorted((record for record in records if not record.get("injected")), key=lambda record: str(record["drill"]))
    families: dict[str, list[str]] = {}
    for record in kept:
        for metric in run_gauges(record):
            line = f'airflow_dr_run_{metric.leaf}{{drill="{metric.drill}"}} {metric.value:.15g}'
            families.setdefault(metric.leaf, []).append(line)
        outcome = f'airflow_dr_run_outcome{{drill="{record["drill"]}",outcome="{record["outcome"]}"}} 1'
        families.setdefault("outcome", []).append(outcome)
    lines = []
    for leaf, values in families.items():
        lines.append(f"# HELP airflow_dr_run_{leaf} {_MEANING.get(leaf, 'How the latest run ended.')}")
        lines.append(f"# TYPE airflow_dr_run_{leaf} gauge")
        lines.extend(values)
    return "".join(f"{line}\n" for line in lines)
