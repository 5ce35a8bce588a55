"""A drill inside somebody's own DAG."""

from __future__ import annotations

from typing import Any

from airflow.sdk import TaskGroup

from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.factory.dag import LOST_WORKER, Place, build_chain
from airflow_dr_provider.factory.placement import placement
from airflow_dr_provider.operators.base import DRILL_RUN_ID
from airflow_dr_provider.spec.models import DrillSpec


def drill_task_group(
    spec: DrillSpec, *, group_id: str | None = None, as_of: str = "", inject: str = "", **group_arguments: Any
) -> TaskGroup:
    """A drill as a task group of the DAG that is being made: from the opening of its run to the verdict.

    ``before >> drill_task_group(spec) >> after``: the group begins with ``start``, and its only leaf is ``verdict``, which fails
    unless a recovery was proved and nothing is left; what comes after it has to say so with a trigger rule if it is to run in
    any case. Below the verdict lies the teardown ``close``: when a person has marked the run, it closes the drill's run in the
    state store, and fails the DAG run unless the drill had recovered.

    The run's id in the store is ``<dag_id>:<run_id>:<group>``, so a DAG may hold several drills. The schedule of the spec is
    not used, but its blackouts hold for scheduled runs. A DAG with a drill needs what a drill's own DAG has: no
    ``dagrun_timeout`` and no ``fail_fast``, for both skip teardowns.

    :param spec: the drill.
    :param group_id: the group's id; the drill's name when left out.
    :param as_of: the moment of the disaster, ISO 8601 with an offset; now when empty. (templated)
    :param inject: a fault to inject into the run's own copy, ``FAULT@TIER``; none when empty. (templated)
    :param group_arguments: passed on to :class:`airflow.sdk.TaskGroup`.
    :raises SpecError: when the executor can't serve the drill's sandboxes.
    """
    here = placement()
    refused = [f"{'.'.join(str(part) for part in where)}: {why}" for where, why in here.refusals(spec)]
    if refused:
        raise SpecError(f"{spec.drill}: {'; '.join(refused)}.")
    defaults: Any = {**LOST_WORKER, **({"queue": here.queue} if here.queue else {}), **group_arguments.pop("default_args", {})}
    with TaskGroup(group_id=group_id or spec.drill, default_args=defaults, **group_arguments) as group:
        prefix = f"{group.group_id}." if group.prefix_group_id else ""
        if not prefix:
            raise ValueError("A drill's group needs its prefix, so that its tasks are told from others of the DAG.")
        build_chain(
            spec,
            Place(
                prefix=prefix,
                run_id=f"{DRILL_RUN_ID}:{group.group_id}",
                # Several runs of somebody's DAG may be under way.
                start={"as_of": as_of, "inject": inject, "form": False, "alone": False},
                placement=here,
            ),
        )
    return group
