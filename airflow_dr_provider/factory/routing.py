"""Where a router sends the chain: the domain's decision, as a task's id."""

from __future__ import annotations

import asyncio

from airflow.sdk import get_current_context

from airflow_dr_provider.domain.chain import TRIAGE, Move, Step
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.hooks.drill import DrillHook
from airflow_dr_provider.hooks.exceptions import DrillFailedError


def route_start(entries: dict[str, str], prefix: str = "", drill_run_id: str | None = None) -> str:
    """The first rung, or where a run ends that ended when it opened.

    :param prefix: what the drill's task ids begin with, in a group of somebody's DAG.
    :param drill_run_id: the run's id in the state store; that of the DAG run when None.
    """
    with DrillHook().drill(drill_run_id or _run_id()) as drill:
        step = drill.terminal
    return task_of(step, entries, prefix) if step is not None else _entry(entries, 0)


def route(rung: int, entries: dict[str, str], prefix: str = "", drill_run_id: str | None = None) -> str:
    """Where the chain goes after a rung; writes the move to the run's log.

    Only what the store has counts, not what Airflow says of the tasks: a gate that a person marked successful proved nothing.
    An attempt is torn down before it is judged. Airflow skips the teardown of a sandbox that was never reserved; here it is
    noted that there was nothing to remove, and an attempt whose task was lost before it wrote anything counts as cut off.
    For the parameters see :func:`route_start`.
    """
    with DrillHook().drill(drill_run_id or _run_id()) as drill:
        asyncio.run(drill.perform(rung, StageName.TEARDOWN))
        step = drill.next_step(rung)
    return task_of(step, entries, prefix)


def task_of(step: Step, entries: dict[str, str], prefix: str = "") -> str:
    """The task that a step leads to."""
    if step.move is Move.NEXT_RUNG and step.rung is not None:
        return _entry(entries, step.rung)
    return f"{prefix}triage" if step.destination == TRIAGE else f"{prefix}report"


def _entry(entries: dict[str, str], rung: int) -> str:
    if str(rung) not in entries:
        raise DrillFailedError(
            f"The run's chain goes on with attempt {rung + 1}, which this DAG doesn't have: its spec was changed after the run "
            f"began. Trigger the drill again."
        )
    return entries[str(rung)]


def _run_id() -> str:
    context = get_current_context()
    return f"{context['dag'].dag_id}:{context['run_id']}"
