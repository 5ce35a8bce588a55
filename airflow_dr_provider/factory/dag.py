"""A drill as a DAG: one task group for each rung of the chain, routers between them, one verdict below everything.

Why it looks as it does is measured on Airflow 3.3.2 and written in ARCHITECTURE.md, section *The DAG*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import DAG, Label, Param, TaskGroup, TriggerRule
from airflow.sdk.definitions.param import ParamsDict

from airflow_dr_provider.domain.chain import Rung, unroll
from airflow_dr_provider.domain.fault_list import FAULTS
from airflow_dr_provider.domain.injection import NONE
from airflow_dr_provider.factory.document import dag_document
from airflow_dr_provider.factory.placement import Placement
from airflow_dr_provider.factory.routing import route, route_start
from airflow_dr_provider.factory.schedule import dag_schedule
from airflow_dr_provider.operators.base import DRILL_RUN_ID
from airflow_dr_provider.operators.drill import (
    DrillAnswerOperator,
    DrillReportOperator,
    DrillVerdictOperator,
    StartDrillOperator,
)
from airflow_dr_provider.operators.pitr_restore import CacheWarmOperator, PITRRestoreOperator
from airflow_dr_provider.operators.pitr_select import PITRSelectOperator
from airflow_dr_provider.operators.sandbox import SandboxProvisionOperator, SandboxReserveOperator, SandboxTeardownOperator
from airflow_dr_provider.sensors.validation_gate import ValidationGateSensor
from airflow_dr_provider.spec.models import DrillSpec, Tier

LOST_WORKER = {"retries": 2, "retry_delay": timedelta(seconds=10)}
"""Airflow's own retries are for tasks whose process was lost; a verdict is never tried again."""
BACKSTOP = timedelta(minutes=10)
"""By how much Airflow's own limit on a task lies above the tier's, which the stage keeps by itself and in order."""
OUTSIDE = ("start", "route_start", "triage", "answer", "report", "verdict")
"""Tasks that belong to no attempt."""
ANYWHERE = Placement()
"""Tasks that name no queue."""
SKIPS_TEARDOWNS = ("dagrun_timeout", "fail_fast")
DRILL_OF_THE_DRILL = "Drill of the drill"
"""The section of the form that has faults to inject."""
ANSWERS = ("Declare an incident", "Accept the risk", "No answer")


def build_drill_dag(
    spec: DrillSpec, *, dag_id: str | None = None, placement: Placement = ANYWHERE, **dag_arguments: Any
) -> DAG:
    """The DAG of a drill. Pure: the same spec gives the same DAG, byte for byte, and nothing but the spec is looked at.

    :param dag_id: the drill's name when left out.
    :param placement: which workers serve its tasks.
    :param dag_arguments: passed on to :class:`airflow.sdk.DAG`.
    :raises ValueError: for ``dagrun_timeout`` and ``fail_fast``, which skip teardowns.
    """
    for argument in SKIPS_TEARDOWNS:
        if dag_arguments.get(argument):
            raise ValueError(
                f"{argument} skips teardowns and would leave sandboxes behind. A drill's time is limited by its tiers' timeout."
            )
    with DAG(
        dag_id=dag_id or spec.drill,
        description=spec.description or f"Disaster recovery drill of {spec.drill}",
        doc_md=dag_document(spec),
        schedule=dag_schedule(spec),
        catchup=False,
        max_active_runs=16 if spec.overlap else 1,
        tags=sorted({"dr", *spec.tags}),
        default_args={"owner": "dr", **LOST_WORKER, **_queued(placement.queue)},
        **dag_arguments,
    ) as dag:
        build_chain(spec, Place(placement=placement))
    # After the tasks: every task that is made copies what the DAG has by then, once for each class that it is made of, and
    # keeps the last copy in each version of the serialised DAG. Airflow merges the two again when a task runs.
    dag.params = ParamsDict(_params(spec))
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


def _params(spec: DrillSpec) -> dict[str, Param]:
    tiers = [tier.name for tier in spec.tiers]
    return {
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="Moment of the disaster",
            description_md="RPO is counted from it. Now, when left empty.",
            section="Recovery",
        ),
        "reason": Param(
            None,
            type=["null", "string"],
            maxLength=500,
            title="Reason",
            description_md="Why this drill is run by hand.",
            section="Record",
        ),
        "inject": Param(
            NONE,
            enum=[NONE, *FAULTS],
            values_display={name: f"{name}: {fault.meaning}" for name, fault in FAULTS.items()},
            title="Fault",
            description_md="Damages the drill's own copy, to see that the drill notices. The run then proves nothing else.",
            section=DRILL_OF_THE_DRILL,
        ),
        "inject_tier": Param(
            tiers[0],
            enum=tiers,
            title="Tier",
            description_md="The tier whose first attempt the fault strikes.",
            section=DRILL_OF_THE_DRILL,
        ),
    }


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
    def routing(self) -> dict[str, str]:
        """Arguments of every router."""
        return {} if self.own else {"prefix": self.prefix, **self.common}


def build_chain(spec: DrillSpec, place: Place) -> None:
    """Put a drill's tasks into the DAG, or the task group, that is being made."""
    common = place.common
    rungs = unroll(tuple((tier.name, tier.role, tier.retries) for tier in spec.tiers), spec.selection.candidates)
    tiers = {tier.name: tier for tier in spec.tiers}
    start = StartDrillOperator(task_id="start", spec=spec, **common, **place.start)
    queues = {name: _queued(place.placement.queue_of(tier.sandbox.queue)) for name, tier in tiers.items()}
    groups = [
        _group(rung, name, tiers[rung.tier], queues[rung.tier], common)
        for rung, name in zip(rungs, group_names(rungs), strict=True)
    ]
    # Text as keys: what goes through Airflow's serialisation has no others.
    entries = {str(group.rung.index): group.enter.task_id for group in groups}

    begin = BranchPythonOperator(
        task_id="route_start", python_callable=route_start, op_kwargs={"entries": entries, **place.routing}
    )
    triage = _triage(spec, place.run_id or DRILL_RUN_ID)
    answer = DrillAnswerOperator(task_id="answer", question=triage.task_id, **common)
    report = DrillReportOperator(task_id="report", trigger_rule=TriggerRule.ALL_DONE, **common)

    start >> begin
    _lead(begin, groups[0].enter, "opened")
    _lead(begin, triage, "target can't be reached")
    _lead(begin, report, "could not begin")
    routers: list[Any] = []
    for group, following in zip(groups, (*groups[1:], None), strict=True):
        router = BranchPythonOperator(
            task_id=f"route_{group.name}",
            python_callable=route,
            op_kwargs={"rung": group.rung.index, "entries": entries, **place.routing},
            trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
            # It tears down what a teardown that was skipped has left, which only that host can.
            **queues[group.rung.tier],
        )
        # Below the teardown: what a tier holds of this host is given back before the next one takes its own.
        [group.enter, group.gate, group.teardown] >> router
        # Below every earlier router, and above triage and report: a router skips what it doesn't choose of the tasks directly
        # below it, and of no others, so that one which ends the chain has to have all that comes later there.
        routers >> router
        if following is not None:
            _lead(router, following.enter, "failed")
        if following is None or following.rung.tier == group.rung.tier:
            _lead(router, triage, "nothing left to try")
        else:
            router >> triage
        _lead(router, report, "recovered")
        routers.append(router)
    triage >> answer >> report
    if place.own:
        ends = [DrillVerdictOperator(task_id="verdict").as_teardown(setups=start, on_failure_fail_dagrun=True)]
    else:
        # What comes after the group waits for its leaves, and a teardown is none: so the verdict is a task like others there, and
        # a teardown below it closes the run, and decides its state, when a person has marked it and only teardowns still run.
        verdict = DrillVerdictOperator(task_id="verdict", trigger_rule=TriggerRule.ALL_DONE, **common)
        ends = [verdict, DrillVerdictOperator(task_id="close", **common).as_teardown(setups=start, on_failure_fail_dagrun=True)]
        verdict >> ends[-1]
    report >> ends
    # A run that a person marked failed skips the report, not the teardowns: the verdict waits for those by itself.
    for group in groups:
        group.teardown >> ends


def _lead(above: Any, below: Any, label: str) -> None:
    """An edge with a label. Not ``above >> Label(label) >> below``: that takes tasks of different groups for their groups."""
    above.set_downstream(below, edge_modifier=Label(label))


def _group(rung: Rung, name: str, tier: Tier, queue: dict[str, Any], common: dict[str, Any]) -> _Group:
    limit = tier.timeout + BACKSTOP
    defaults: Any = {**queue, **({"pool": tier.pool} if tier.pool is not None else {})}
    with TaskGroup(group_id=name, tooltip=f"{rung.role}, attempt {rung.number}", default_args=defaults):
        enter = EmptyOperator(task_id="enter")
        select = PITRSelectOperator(task_id="select", rung=rung.index, execution_timeout=limit, **common)
        reserve = SandboxReserveOperator(task_id="reserve", rung=rung.index, execution_timeout=limit, **common)
        provision = SandboxProvisionOperator(task_id="provision", rung=rung.index, execution_timeout=limit, **common)
        restore = PITRRestoreOperator(task_id="restore", rung=rung.index, execution_timeout=limit, **common)
        gate = ValidationGateSensor(task_id="gate", rung=rung.index, timeout=limit, **common)
        # No limit of its own: an ended teardown leaves what it was about to remove.
        teardown = SandboxTeardownOperator(task_id="teardown", rung=rung.index, priority_weight=100, **common)
        enter >> select >> reserve >> provision >> restore
        if tier.cache_warming == "none":
            restore >> gate
        else:
            restore >> CacheWarmOperator(task_id="warm", rung=rung.index, execution_timeout=limit, **common) >> gate
        gate >> teardown.as_teardown(setups=reserve)
    return _Group(rung, name, enter, gate, teardown)


def _triage(spec: DrillSpec, run_id: str) -> HITLOperator:
    return HITLOperator(
        task_id="triage",
        subject=f"Disaster recovery drill {spec.drill}: no tier recovered",
        body=(
            "No tier of the chain proved a recovery. The record in the state store says what was tried and why it failed: "
            f"`airflow-dr show {run_id}`."
        ),
        options=list(ANSWERS),
        defaults=[ANSWERS[-1]],
        params={
            "comment": Param(None, type=["null", "string"], maxLength=2000, title="Comment", description="Kept in the record.")
        },
        response_timeout=spec.triage.response_timeout,
        trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
        retries=0,
    )
