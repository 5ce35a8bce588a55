"""The same chain without Airflow: in a real disaster Airflow may be down too."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow_dr_provider.domain.chain import Move
from airflow_dr_provider.domain.request import PLAIN, RunRequest
from airflow_dr_provider.domain.verdicts import StageName, Verdict
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.spec.loader import spec_digest
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.stages.abandon import abandon
from airflow_dr_provider.stages.drill import Drill
from airflow_dr_provider.stages.injection import strikes
from airflow_dr_provider.stages.interruption import interruptible
from airflow_dr_provider.stages.ownership import is_abandoned, this_process
from airflow_dr_provider.stages.services import Progress, Services
from airflow_dr_provider.state.records import Run

_WAIT_SECONDS = 1.0


async def run_drill(
    services: Services,
    spec: DrillSpec,
    *,
    as_of: datetime | None = None,
    new: bool = False,
    wait: bool = False,
    trigger: str = "runner",
    inject: Sequence[str] = (),
    request: RunRequest = PLAIN,
) -> dict[str, Any]:
    """Walk a drill's chain to its end, or go on with the unfinished run whose process is dead.

    :param as_of: the moment of the disaster, when it isn't now.
    :param new: don't go on with an unfinished run; clean it up and begin another.
    :param wait: wait for a run of this drill that is under way, instead of refusing.
    :param inject: faults to inject into the run's own copy, ``FAULT`` or ``FAULT@TIER``.
    :param request: what whoever triggered the run asks of it.
    :return: the record.
    :raises SpecError: ``INJECTION_REFUSED`` for a fault or a tier that isn't known.
    :raises StateError: ``ALREADY_RUNNING``, or the state store can't be used.
    :raises RunInterruptedError: after SIGTERM, SIGINT or SIGHUP, once everything is cleaned up.
    """
    injected = strikes(spec, inject, request)
    walk = _walk(services, spec, as_of=as_of, new=new, wait=wait, trigger=trigger, injected=injected, request=request)
    return await interruptible(walk)


async def _walk(
    services: Services,
    spec: DrillSpec,
    *,
    as_of: datetime | None,
    new: bool,
    wait: bool,
    trigger: str,
    injected: tuple[str, ...],
    request: RunRequest,
) -> dict[str, Any]:
    earlier = await _earlier(services, spec, as_of=as_of, new=new, wait=wait, injected=injected, request=request)
    now = services.clock()
    drill = await _interruptible(
        services,
        Drill.begin(
            services,
            spec,
            run_id=earlier.id if earlier else f"{spec.drill}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}",
            owner=this_process(),
            trigger=earlier.trigger if earlier else trigger,
            as_of=earlier.as_of if earlier else as_of,
            inject=injected,
            request=request,
        ),
        spec,
    )
    rung: int | None = drill.first if drill.terminal is None else None
    while rung is not None:
        await _attempt(drill, rung)
        step = drill.next_step(rung)
        rung = step.rung if step.move is Move.NEXT_RUNG else None
    return await drill.close()


async def _interruptible(services: Services, opening: Any, spec: DrillSpec) -> Drill:
    """Open the run; interrupted while that goes on, it is closed, since nothing was made yet."""
    try:
        drill: Drill = await opening
    except asyncio.CancelledError:
        for run in services.store.unfinished_runs(spec.drill):
            if run.owner == this_process():
                await abandon(services, run, "INTERRUPTED", "a signal ended the run while it opened")
        raise
    return drill


async def _attempt(drill: Drill, rung: int) -> None:
    """One attempt: its stages until one doesn't pass, and its teardown whatever the way out."""
    stage = StageName.SELECT
    try:
        for stage in drill.stages(rung):
            result = await drill.perform(rung, stage)
            if result.verdict is not Verdict.PASSED:
                break
    except asyncio.CancelledError:
        with contextlib.suppress(DrillError):  # the teardown removes what could not be ended
            await drill.cancel(rung, stage)
        await drill.perform(rung, StageName.TEARDOWN)
        await abandon(drill.services, drill.run, "INTERRUPTED", "a signal ended the run")
        raise
    except DrillError:
        # Nothing of a stage's own gets here; the state store is down. What runs must not outlive this process for that.
        await drill.discard(rung)
        raise
    await drill.perform(rung, StageName.TEARDOWN)


async def _earlier(
    services: Services,
    spec: DrillSpec,
    *,
    as_of: datetime | None,
    new: bool,
    wait: bool,
    injected: tuple[str, ...],
    request: RunRequest,
) -> Run | None:
    """The unfinished run to go on with, if there is one; those that can't be gone on with are cleaned up and closed.

    A run that is under way is left alone: opening another is then refused by the store, unless the spec allows overlap.
    """
    while True:
        alive = False
        for run in services.store.unfinished_runs(spec.drill):
            if not is_abandoned(services, run, services.clock()):
                alive = True
                continue
            same = run.owner.kind == "runner" and run.spec_digest == spec_digest(spec) and as_of in (None, run.as_of)
            if new or not same or (run.injected, run.request) != (injected, request):
                await abandon(services, run, "INTERRUPTED", "its process ended without closing it; another run began")
                continue
            services.progress(Progress(run_id=run.id, place="start", message=f"going on with {run.id}, whose process is dead"))
            return services.store.take_over(run.id, this_process(), expected=run.owner)
        if not alive or not wait or spec.overlap:
            return None
        await asyncio.sleep(_WAIT_SECONDS)
