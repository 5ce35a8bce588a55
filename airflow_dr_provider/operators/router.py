"""Send the chain on: the domain's decisions, as tasks' ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow.providers.standard.operators.python import BranchPythonOperator

from airflow_dr_provider.domain.chain import TRIAGE, Move, Step
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.hooks.exceptions import DrillFailedError
from airflow_dr_provider.links.drill import DrillRecordLink
from airflow_dr_provider.operators.base import DrillMixin, keep_to_the_signature


def _ask(**context: Any) -> str:
    # The task that runs, whose templates are rendered; not the one that the DAG was made of.
    chosen: str = context["task"].choose_branch(context)
    return chosen


class DrillRouterOperator(DrillMixin, BranchPythonOperator):
    """Where the chain goes after a rung; writes the move to the run's log.

    Only what the store has counts, not what Airflow says of the tasks: a gate that a person marked successful proved nothing.
    An attempt is torn down before it is judged. Airflow skips the teardown of a sandbox that was never reserved; here it is
    noted that there was nothing to remove, and an attempt whose task was lost before it wrote anything counts as cut off.

    Why it moved stands in its XCom ``why`` and on the record's page: in Airflow 3.3 a task can't write its own note.

    :param entries: the first task of every rung, by the rung's index.
    :param rung: the attempt that ended; its place in the chain, from 0.
    :param prefix: what the drill's task ids begin with, in a group of somebody's DAG.
    :param drill_run_id: the run's id in the state store; that of the DAG run when left out. (templated)
    :param state_conn_id: an Airflow connection to the state database, when ``AIRFLOW_DR_STATE`` or ``[dr]`` don't name it.
    :param workdir: where local sandboxes live on the worker, when ``AIRFLOW_DR_WORKDIR`` or ``[dr]`` don't say it.
    """

    template_fields: Sequence[str] = ("drill_run_id",)
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    operator_extra_links = (DrillRecordLink(),)

    def __init__(
        self,
        *,
        entries: Mapping[int, str],
        rung: int = 0,
        prefix: str = "",
        drill_run_id: str | None = None,
        state_conn_id: str | None = None,
        workdir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=_ask, **kwargs)
        keep_to_the_signature(self)
        self.entries = entries
        self.rung = rung
        self.prefix = prefix
        self.drill_run_id = drill_run_id
        self.state_conn_id = state_conn_id
        self.workdir = workdir

    def choose_branch(self, context: Any) -> str:
        """The task to go to."""
        with self.hook().drill(self.run_id_in_store) as drill:
            self.run(drill.perform(self.rung, StageName.TEARDOWN))
            step = drill.next_step(self.rung)
            # Nobody is asked twice: below the attempt that was asked for there is the report alone.
            to = f"{self.prefix}report" if drill.rungs[self.rung].asked else task_of(step, self.entries, self.prefix)
        reason = f"{step.source} → {step.destination}: {step.reason}" + (f" ({step.detail})" if step.detail else "")
        context["ti"].xcom_push(key="why", value={"to": to, "reason": reason})
        return to


class DrillStartRouterOperator(DrillRouterOperator):
    """The first rung, or where a run ends that ended when it opened. See :class:`DrillRouterOperator` for the parameters."""

    def choose_branch(self, context: Any) -> str:
        """The task to go to."""
        with self.hook().drill(self.run_id_in_store) as drill:
            step = drill.terminal
            return entry(self.entries, drill.first) if step is None else task_of(step, self.entries, self.prefix)


class DrillAnswerRouterOperator(DrillRouterOperator):
    """The attempt that a person asked for, or the report. See :class:`DrillRouterOperator` for the parameters."""

    def choose_branch(self, context: Any) -> str:
        """The task to go to."""
        with self.hook().drill(self.run_id_in_store) as drill:
            answer = drill.run.triage
        return entry(self.entries, self.rung) if answer is not None and answer.tier is not None else f"{self.prefix}report"


def task_of(step: Step, entries: Mapping[int, str], prefix: str = "") -> str:
    """The task that a step leads to."""
    if step.move is Move.NEXT_RUNG and step.rung is not None:
        return entry(entries, step.rung)
    return f"{prefix}triage" if step.destination == TRIAGE else f"{prefix}report"


def entry(entries: Mapping[int, str], rung: int) -> str:
    """The first task of a rung.

    :raises DrillFailedError: when the DAG has no such rung.
    """
    if rung not in entries:
        raise DrillFailedError(
            f"The run's chain goes on with attempt {rung + 1}, which this DAG doesn't have: its spec was changed after the run "
            f"began. Trigger the drill again."
        )
    return entries[rung]
