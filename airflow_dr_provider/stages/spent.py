"""How much of the tolerable time a run has spent."""

from __future__ import annotations

from airflow_dr_provider.domain.chain import AttemptHistory
from airflow_dr_provider.stages.inputs import RunInputs


def spent_seconds(inputs: RunInputs, history: tuple[AttemptHistory, ...]) -> float:
    """Opening, and every stage so far; what lay between two processes isn't counted."""
    return inputs.opened_seconds + sum(result.elapsed_seconds for attempt in history for result in attempt.results)
