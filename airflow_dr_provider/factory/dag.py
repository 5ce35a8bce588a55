"""A drill as a DAG: one task group for each rung of the chain, routers between them, one verdict below everything.

Why it looks as it does is measured on Airflow 3.3.2 and written in ARCHITECTURE.md, section *The DAG*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Label, TaskGroup, TriggerRule
from airflow.sdk.definitions.param import ParamsDict

from airflow_dr_provider.domain.chain import Rung, unroll
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.factory.document import dag_document
from airflow_dr_provider.factory.form import form
from airflow_dr_provider.factory.triage import RETRY, answered, question
from airflow_dr_provider.notifications.deadline import rto_deadline
from airflow_dr_provider.operators.drill import (
    DrillReportOperator,
    DrillVerdictOperator,
    StartDrillOperator,
)
from airflow_dr_provider.operators.pitr_restore import CacheWarmOperator, PITRRestoreOperator
from airflow_dr_provider.operators.pitr_select import PITRSelectOperator
from airflow_dr_provider.operators.proved import DrillProvedOperator
from airflow_dr_provider.operators.router import DrillRouterOperator, DrillStartRouterOperator
from airflow_dr_provider.operators.sandbox import SandboxProvisionOperator, SandboxReserveOperator, SandboxTeardownOperator
from airflow_dr_provider.sensors.validation_gate import ValidationGateSensor
from airflow_dr_provider.spec.models import DrillSpec, Tier
from airflow_dr_provider.spec.notifications import missing_packages

LOST_WORKER = {"retries": 2, "retry_delay": timedelta(seconds=10)}
"""Airflow's own retries are for tasks whose process was lost; a verdict is never tried again."""
BACKSTOP = timedelta(minutes=10)
"""By how much Airflow's own limit on a task lies above the tier's, which the stage keeps by itself and in order."""
OUTSIDE = ("start", "route_start", "triage", "answer", "route_answer", RETRY, f"route_{RETRY}", "report", "proved", "verdict")
"""Tasks that belong to no attempt."""


def build_drill_dag(spec: DrillSpec, *, dag_id: str | None = None, **dag_arguments: Any) -> DAG:
    """The DAG of a drill. Pure: the same spec gives the same DAG, byte for byte, and nothing but the spec is looked at.

    :param dag_id: the drill's name when left out.
    :param dag_arguments: passed on to :class:`airflow.sdk.DAG`.
    :raises SpecError: when it notifies by a provider that isn't installed.
    """
    missing = missing_packages(spec.notifications)
    if missing:
        raise SpecError(" ".join(missing))
    with DAG(
        dag_id=dag_id or spec.drill,
        description=spec.description or f"Disaster recovery drill of {spec.drill}",
        doc_md=dag_document(spec),
        schedule=spec.schedule,
        catchup=False,
        max_active_runs=16 if spec.overlap else 1,
        tags=sorted({"dr", *spec.tags}),
        params=form(spec),
        default_args={"owner": "dr", **LOST_WORKER},
        **{**rto_deadline(spec), **dag_arguments},
    ) as dag:
        _chain(spec)
        for task in dag.tasks:
            # Airflow gives every task a copy of the DAG's parameters and merges the two again when it runs: bytes in each version.
            task.params = _without(task.params, dag.params)
    return dag


def _without(params: Any, others: Any) -> ParamsDict:
    """Parameters as they were defined, those of *others* left out."""
    return ParamsDict({name: params.get_param(name) for name in params if name not in others})


def group_names(rungs: Sequence[Rung]) -> tuple[str, ...]:
    """The names of the rungs' task groups: ``primary``, and ``cold_2`` for a tier's second attempt.

    A name that a tier or a task of the DAG has already is lengthened; the first attempts, which people know, choose first.
    """
    taken = {*OUTSIDE}
    names: dict[int, str] = {}
    for rung in sorted(rungs, key=lambda rung: (rung.number > 1, rung.index)):
        name = rung.tier if rung.number == 1 else f"{rung.tier}_{rung.number}"
        while name in taken or f"route_{name}" in taken:
            name += "_"
        taken |= {name, f"route_{name}"}
        names[rung.index] = name
    return tuple(names[rung.index] for rung in rungs)


@dataclass(frozen=True)
class _Group:
    rung: Rung
    name: str
    enter: Any
    gate: Any
    teardown: Any


def _chain(spec: DrillSpec) -> None:
    rungs = unroll(tuple((tier.name, tier.role, tier.retries) for tier in spec.tiers), spec.selection.candidates)
    tiers = {tier.name: tier for tier in spec.tiers}
    start = StartDrillOperator(task_id="start", spec=spec)
    groups = [
        _group(rung, name, tiers[rung.tier], warm=tiers[rung.tier].cache_warming != "none")
        for rung, name in zip(rungs, group_names(rungs), strict=True)
    ]
    entries = {group.rung.index: group.enter.task_id for group in groups}
    asked = len(rungs)
    entries[asked] = f"{RETRY}.enter"

    begin = DrillStartRouterOperator(task_id="route_start", entries=entries)
    triage = question(spec)
    report = DrillReportOperator(task_id="report", trigger_rule=TriggerRule.ALL_DONE)
    verdict = DrillVerdictOperator(task_id="verdict").as_teardown(setups=start, on_failure_fail_dagrun=True)

    start >> begin
    begin >> Label("opened") >> groups[0].enter
    later = [group for group in groups[1:] if group.rung.number == 1]
    begin >> Label("begins later") >> [group.enter for group in later]
    begin >> Label("target can't be reached") >> triage
    begin >> Label("could not begin") >> report
    for group, following in zip(groups, (*groups[1:], None), strict=True):
        router = DrillRouterOperator(
            task_id=f"route_{group.name}",
            rung=group.rung.index,
            entries=entries,
            trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
        )
        # Below the teardown: what a tier holds of this host is given back before the next one takes its own.
        [group.enter, group.gate, group.teardown] >> router
        if following is not None:
            router >> Label("failed") >> following.enter
        if following is None or following.rung.tier == group.rung.tier:
            router >> Label("nothing left to try") >> triage
        else:
            router >> triage
        router >> Label("recovered") >> report
        # A tier that the start may lead to has to lie directly below every router, too: a router skips what it doesn't choose
        # of the tasks directly below it, and of no others. What else comes later is skipped by what lies before it.
        router >> [other.enter for other in later if other.rung.index > group.rung.index + 1]
    longest = max(spec.tiers, key=lambda tier: tier.timeout)
    warm = any(tier.cache_warming != "none" for tier in spec.tiers)
    extra = Rung(index=asked, tier=longest.name, number=1, role="asked for in triage", retries=0, asked=True)
    retry = _group(extra, RETRY, longest, warm=warm)
    answered(triage, retry, report, entries)
    report >> DrillProvedOperator(task_id="proved", drill=spec.drill) >> verdict
    report >> verdict
    # A run that a person marked failed skips the report, not the teardowns: the verdict waits for those by itself.
    [group.teardown for group in (*groups, retry)] >> verdict


def _group(rung: Rung, name: str, tier: Tier, *, warm: bool) -> _Group:
    limit = tier.timeout + BACKSTOP
    with TaskGroup(group_id=name, tooltip=f"{rung.role}, attempt {rung.number}"):
        # The start or a router leads here, whichever the run came by; those that were passed over on the way are skipped.
        rule = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS if rung.index and rung.number == 1 else TriggerRule.ALL_SUCCESS
        enter = EmptyOperator(task_id="enter", trigger_rule=rule)
        select = PITRSelectOperator(task_id="select", rung=rung.index, execution_timeout=limit)
        reserve = SandboxReserveOperator(task_id="reserve", rung=rung.index, execution_timeout=limit)
        provision = SandboxProvisionOperator(task_id="provision", rung=rung.index, execution_timeout=limit)
        restore = PITRRestoreOperator(task_id="restore", rung=rung.index, execution_timeout=limit)
        gate = ValidationGateSensor(task_id="gate", rung=rung.index, timeout=limit)
        # No limit of its own: an ended teardown leaves what it was about to remove.
        teardown = SandboxTeardownOperator(task_id="teardown", rung=rung.index, priority_weight=100)
        enter >> select >> reserve >> provision >> restore
        if not warm:
            restore >> gate
        else:
            restore >> CacheWarmOperator(task_id="warm", rung=rung.index, execution_timeout=limit) >> gate
        gate >> teardown.as_teardown(setups=reserve)
    return _Group(rung, name, enter, gate, teardown)
