"""Recovery objectives: how much data was lost, how long recovery took, and whether that is within what was promised."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import Field

from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.verdicts import StageName, StageResult


class Achieved(Value):
    """What a run achieved against its objectives.

    :param rpo_seconds: seconds of data lost: from the last data recovered to the disaster; None when it can't be told.
    :param rpo_source: where the last data's time comes from (``heartbeat``, ``last commit``), or why there is none.
    :param rpo_met: None when there is no figure or no objective.
    :param rto_seconds: seconds until the recovery was proved, failed attempts included; None when nothing was recovered.
    :param stages: the RTO by stage, over all attempts; teardown is no part of it.
    """

    rpo_seconds: float | None = None
    rpo_source: str = ""
    rpo_met: bool | None = None
    rto_seconds: float | None = None
    rto_met: bool | None = None
    stages: dict[str, float] = Field(default_factory=dict)


def achieved_rpo(moment: datetime, last_data: datetime) -> float:
    """Seconds of data lost: NIST SP 800-34's recovery point, counted back from the disaster.

    :param moment: the disaster.
    :param last_data: the newest data recovered. Later than the disaster, as clocks may have it, it counts as nothing lost.
    :return: never negative.
    """
    return max(0.0, (moment - last_data).total_seconds())


def met(achieved: float | None, objective: float | None) -> bool | None:
    """Whether a figure is within its objective; None when either isn't there: what is unknown has not been met."""
    return None if achieved is None or objective is None else achieved <= objective


def stage_seconds(results: Iterable[StageResult]) -> dict[str, float]:
    """Seconds by stage, in the stages' order; teardown left out: it comes after the recovery was proved."""
    spent: dict[StageName, float] = {}
    for result in results:
        spent[result.stage] = spent.get(result.stage, 0.0) + max(0.0, result.elapsed_seconds)
    return {stage.value: spent[stage] for stage in StageName if stage in spent and stage is not StageName.TEARDOWN}
