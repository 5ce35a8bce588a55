"""When no tier recovered: the question to a person, the attempt that the answer may ask for, and where they lead."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Label, Param, TriggerRule

from airflow_dr_provider.domain.triage import Answer
from airflow_dr_provider.notifications.question import question_notifiers
from airflow_dr_provider.operators.drill import DrillAnswerOperator
from airflow_dr_provider.operators.router import DrillAnswerRouterOperator, DrillRouterOperator
from airflow_dr_provider.spec.models import DrillSpec

RETRY = "retry"
"""The task group of the attempt that a person may ask for."""


def lead(above: Any, below: Any, label: str) -> None:
    """An edge with a label. Not ``above >> Label(label) >> below``: that takes tasks of different groups for their groups."""
    above.set_downstream(below, edge_modifier=Label(label))


def question(spec: DrillSpec, run_id: str) -> HITLOperator:
    """The question, on Airflow's page under *Required Actions*. It ends by itself, as unanswered.

    :param run_id: the run's id in the state store, a template.
    """
    tiers = [tier.name for tier in spec.tiers]
    users = [{"id": user, "name": user} for user in spec.triage.assigned_users]
    assigned: dict[str, Any] = {"assigned_users": users} if users else {}
    return HITLOperator(
        task_id="triage",
        subject=f"{spec.drill}: no tier recovered",
        body=(f"Why: `airflow-dr show {run_id}`, or the tab Drill. A risk is accepted with a comment only."),
        options=[answer.value for answer in Answer],
        defaults=[Answer.NONE.value],
        params={
            "comment": Param(None, type=["null", "string"], maxLength=2000, title="Comment"),
            "tier": Param(tiers[0], enum=tiers, title="Tier", description="To try again"),
        },
        **assigned,
        notifiers=question_notifiers(spec),
        response_timeout=spec.triage.response_timeout,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        retries=0,
    )


def answered(
    triage: HITLOperator,
    retry: Any,
    report: Any,
    entries: dict[int, str],
    common: dict[str, Any],
    routing: dict[str, Any],
    placed: dict[str, Any],
) -> None:
    """Wire what comes after the question, down to the report.

    A DAG has no way back, so the attempt that may be asked for stands below the question, once; which tier it is of, the
    answer says, and every task of it asks the store.

    :param retry: the task group of that attempt.
    :param entries: the first task of every rung, by the rung's index.
    :param common: arguments of every operator of the drill.
    :param routing: arguments of every router.
    :param placed: what sends a task to the host of that attempt.
    """
    answer = DrillAnswerOperator(task_id="answer", question=triage.task_id, **common)
    router = DrillAnswerRouterOperator(task_id="route_answer", rung=retry.rung.index, entries=entries, **routing)
    end = DrillRouterOperator(
        task_id=f"route_{RETRY}",
        rung=retry.rung.index,
        entries=entries,
        trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
        **routing,
        **placed,
    )
    triage >> answer >> router
    lead(router, retry.enter, "try again")
    lead(router, report, "nothing to try")
    [retry.enter, retry.gate, retry.teardown] >> end >> report
