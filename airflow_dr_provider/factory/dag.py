"""A drill as a DAG: one task group for each rung of the chain, routers between them, one verdict below everything.

Why it looks as it does is measured on Airflow 3.3.2 and written in ARCHITECTURE.md, section *The DAG*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, TriggerRule
from airflow.sdk.definitions.param import ParamsDict

from airflow_dr_provider.domain.chain import Rung, unroll
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.factory.document import dag_document
from airflow_dr_provider.factory.form import form
from airflow_dr_provider.factory.placement import Placement
from airflow_dr_provider.factory.schedule import dag_schedule
from airflow_dr_provider.factory.triage import RETRY, answered, lead, question
from airflow_dr_provider.notifications.deadline import rto_deadline
from airflow_dr_provider.operators.base import DRILL_RUN_ID
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
ANYWHERE = Placement()
"""Tasks that name no queue."""
SKIPS_TEARDOWNS = ("dagrun_timeout", "fail_fast")


def build_drill_dag(
    spec: DrillSpec, *, dag_id: str | None = None, placement: Placement = ANYWHERE, **dag_arguments: Any
) -> DAG:
    """The DAG of a drill. Pure: the same spec gives the same DAG, byte for byte, and nothing but the spec is looked at.

    :param dag_id: the drill's name when left out.
    :param placement: which workers serve its tasks.
    :param dag_arguments: passed on to :class:`airflow.sdk.DAG`.
    :raises ValueError: for ``dagrun_timeout`` and ``fail_fast``, which skip teardowns.
    :raises SpecError: when it notifies by a provider that isn't installed.
    """
    for argument in SKIPS_TEARDOWNS:
        if dag_arguments.get(argument):
            raise ValueError(
                f"{argument} skips teardowns and would leave sandboxes behind. A drill's time is limited by its tiers' timeout."
            )
    missing = missing_packages(spec.notifications)
    if missing:
        raise SpecError(" ".join(missing))
    with DAG(
        dag_id=dag_id or spec.drill,
        description=spec.description or f"Disaster recovery drill of {spec.drill}",
        doc_md=dag_document(spec),
        schedule=dag_schedule(spec),
        catchup=False,
        max_active_runs=16 if spec.overlap else 1,
        tags=sorted({"dr", *spec.tags}),
        default_args={"owner": "dr", **LOST_WORKER, **_queued(placement.queue)},
        **{**rto_deadline(spec), **dag_arguments},
    ) as dag:
        build_chain(spec, Place(placement=placement))
    # After the tasks: every task that is made copies what the DAG has by then, once for each class that it is made of, and
    # keeps the last copy in each version of the serialised DAG. Airflow merges the two again when a task runs.
    dag.params = ParamsDict(form(spec))
    return dag


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


def _queued(queue: str | None) -> dict[str, Any]:
    """A task's queue, where there is one to be named."""
    return {} if queue is None else {"queue": queue}


@dataclass(frozen=True)
class Place:
    """Where a chain's tasks are put: into a DAG of their own, or into a group of somebody's DAG.

    :param prefix: what their ids begin with there.
    :param run_id: the run's id in the state store, a template; None for that of the DAG run.
    :param start: more arguments for the task that opens the run.
    :param placement: which workers serve them.
    """

    prefix: str = ""
    run_id: str | None = None
    start: dict[str, Any] = field(default_factory=dict)
    placement: Placement = ANYWHERE

    @property
    def own(self) -> bool:
        """Whether it is a DAG of their own."""
        return not self.prefix

    @property
    def common(self) -> dict[str, Any]:
        """Arguments of every operator of the drill."""
        return {} if self.run_id is None else {"drill_run_id": self.run_id}

    @property
    def routing(self) -> dict[str, Any]:
        """Arguments of every router."""
        return {"prefix": self.prefix, **self.common}

    def of_tier(self, tier: Tier) -> dict[str, Any]:
        """Arguments of every task of a tier's attempts: their queue and their pool."""
        return {
            **_queued(self.placement.queue_of(tier.sandbox)),
            **({"pool": tier.pool} if tier.pool is not None else {}),
        }


def build_chain(spec: DrillSpec, place: Place) -> None:
    """Put a drill's tasks into the DAG, or the task group, that is being made."""
    common, routing = place.common, place.routing
    rungs = unroll(tuple((tier.name, tier.role, tier.retries) for tier in spec.tiers), spec.selection.candidates)
    tiers = {tier.name: tier for tier in spec.tiers}
    start = StartDrillOperator(task_id="start", spec=spec, **common, **place.start)
    groups = [
        _group(rung, name, tiers[rung.tier], place, warm=tiers[rung.tier].cache_warming != "none")
        for rung, name in zip(rungs, group_names(rungs), strict=True)
    ]
    entries = {group.rung.index: group.enter.task_id for group in groups}
    asked = len(rungs)
    entries[asked] = f"{place.prefix}{RETRY}.enter"

    begin = DrillStartRouterOperator(task_id="route_start", entries=entries, **routing)
    triage = question(spec, place.run_id or DRILL_RUN_ID)
    report = DrillReportOperator(task_id="report", trigger_rule=TriggerRule.ALL_DONE, **common)

    start >> begin
    lead(begin, groups[0].enter, "opened")
    later = [group for group in groups[1:] if group.rung.number == 1]
    for group in later:
        lead(begin, group.enter, "begins later")
    lead(begin, triage, "target can't be reached")
    lead(begin, report, "could not begin")
    for group, following in zip(groups, (*groups[1:], None), strict=True):
        router = DrillRouterOperator(
            task_id=f"route_{group.name}",
            rung=group.rung.index,
            entries=entries,
            trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
            **routing,
            # It tears down what a teardown that was skipped has left, which only that tier's host can.
            **_queued(place.placement.queue_of(tiers[group.rung.tier].sandbox)),
        )
        # Below the teardown: what a tier holds of this host is given back before the next one takes its own.
        [group.enter, group.gate, group.teardown] >> router
        if following is not None:
            lead(router, following.enter, "failed")
        if following is None or following.rung.tier == group.rung.tier:
            lead(router, triage, "nothing left to try")
        else:
            router >> triage
        lead(router, report, "recovered")
        # A tier that the start may lead to has to lie directly below every router, too: a router skips what it doesn't choose
        # of the tasks directly below it, and of no others. What else comes later is skipped by what lies before it.
        router >> [other.enter for other in later if other.rung.index > group.rung.index + 1]
    longest = max(spec.tiers, key=lambda tier: tier.timeout)
    warm = any(tier.cache_warming != "none" for tier in spec.tiers)
    extra = Rung(index=asked, tier=longest.name, number=1, role="asked for in triage", retries=0, asked=True)
    retry = _group(extra, RETRY, longest, place, warm=warm)
    answered(triage, retry, report, entries, common, routing, _queued(place.placement.queue_of(longest.sandbox)))
    proved = DrillProvedOperator(task_id="proved", drill=spec.drill, **common)
    report >> proved
    if place.own:
        ends = [DrillVerdictOperator(task_id="verdict").as_teardown(setups=start, on_failure_fail_dagrun=True)]
    else:
        # What comes after the group waits for its leaves, and a teardown is none: so the verdict is a task like others there, and
        # a teardown below it closes the run, and decides its state, when a person has marked it and only teardowns still run.
        verdict = DrillVerdictOperator(task_id="verdict", trigger_rule=TriggerRule.ALL_DONE, **common)
        ends = [verdict, DrillVerdictOperator(task_id="close", **common).as_teardown(setups=start, on_failure_fail_dagrun=True)]
        verdict >> ends[-1]
    proved >> ends
    report >> ends
    # A run that a person marked failed skips the report, not the teardowns: the verdict waits for those by itself.
    for group in (*groups, retry):
        group.teardown >> ends


def _group(rung: Rung, name: str, tier: Tier, place: Place, *, warm: bool) -> _Group:
    limit, common = tier.timeout + BACKSTOP, place.common
    defaults: Any = place.of_tier(tier)
    with TaskGroup(group_id=name, tooltip=f"{rung.role}, attempt {rung.number}", default_args=defaults):
        # The start or a router leads here, whichever the run came by; those that were passed over on the way are skipped.
        rule = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS if rung.index and rung.number == 1 else TriggerRule.ALL_SUCCESS
        enter = EmptyOperator(task_id="enter", trigger_rule=rule)
        select = PITRSelectOperator(task_id="select", rung=rung.index, execution_timeout=limit, **common)
        reserve = SandboxReserveOperator(task_id="reserve", rung=rung.index, execution_timeout=limit, **common)
        provision = SandboxProvisionOperator(task_id="provision", rung=rung.index, execution_timeout=limit, **common)
        restore = PITRRestoreOperator(task_id="restore", rung=rung.index, execution_timeout=limit, **common)
        gate = ValidationGateSensor(task_id="gate", rung=rung.index, timeout=limit, **common)
        # No limit of its own: an ended teardown leaves what it was about to remove.
        teardown = SandboxTeardownOperator(task_id="teardown", rung=rung.index, priority_weight=100, **common)
        enter >> select >> reserve >> provision >> restore
        if not warm:
            restore >> gate
        else:
            restore >> CacheWarmOperator(task_id="warm", rung=rung.index, execution_timeout=limit, **common) >> gate
        gate >> teardown.as_teardown(setups=reserve)
    return _Group(rung, name, enter, gate, teardown)
