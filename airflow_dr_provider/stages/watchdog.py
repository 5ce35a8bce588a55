"""A watchdog beside a stage: when a limit is passed, the stage is cancelled in order and the attempt ends by a name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from airflow_dr_provider.domain.budget import WATCHED, Breach, Limits, Watch, breach, shortage
from airflow_dr_provider.domain.chain import first_rung
from airflow_dr_provider.domain.reports import Vitals
from airflow_dr_provider.domain.verdicts import StageName, StageResult
from airflow_dr_provider.errors import DrillError, SandboxError
from airflow_dr_provider.stages.spent import spent_seconds
from airflow_dr_provider.state.durations import tier_seconds

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext

INTERVAL = 1.0
"""Seconds between two looks; the first one is taken at once."""


async def watched(
    context: AttemptContext, stage: StageName, work: Coroutine[Any, Any, StageResult], *, waited: float = 0.0
) -> StageResult:
    """The stage's result, with what the watchdog saw in its metrics.

    :param waited: seconds of the stage that are over, spent elsewhere.

    :raises SandboxError: by the breach's signature, once the stage has given back what it held.
    """
    if stage not in WATCHED:
        return await work
    guard = _Guard(context, stage, waited)
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(guard.until_breach())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = working.done()
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
    if ended:
        result = working.result()
        return result.model_copy(update={"metrics": {**result.metrics, **guard.metrics}})
    found = watching.result()
    raise SandboxError(f"{found.detail}.", code=found.signature, facts={"vitals": guard.last.model_dump(mode="json")})


def out_of_budget(context: AttemptContext) -> str | None:
    """Why this tier is not worth beginning any more; None when it is."""
    return shortage(
        first=context.rung.index == first_rung(context.rungs, context.run.request.first_tier).index,
        left=budget_seconds(context),
        timeout=context.tier.timeout.total_seconds(),
        known=tier_seconds(context.services.store, context.spec.drill, context.rung.tier),
    )


def budget_seconds(context: AttemptContext) -> float:
    """Seconds left of the tolerable downtime. As in the RTO, time counts that was spent in stages."""
    return context.spec.objectives.mtd.total_seconds() - spent_seconds(context.inputs, context.history)


class _Guard:
    def __init__(self, context: AttemptContext, stage: StageName, waited: float) -> None:
        limits = context.spec.limits
        self._limits = Limits(
            disk_free=limits.disk_free,
            memory_free=limits.memory_free,
            silence_seconds=limits.unreachable.total_seconds(),
        )
        self._context = context
        self._stage = stage
        self._budget = budget_seconds(context) - waited
        self._served = False
        self._silent_since: float | None = None
        self.last = Vitals()
        self.metrics: dict[str, float] = {}

    async def until_breach(self) -> Breach:
        begun = time.monotonic()
        handle = self._context.handle()
        while True:
            try:
                self._saw(await self._context.sandbox.vitals(handle))
            except (DrillError, OSError):
                # A sandbox that can't be looked at is one that the stage can't work with; it says so in better words. What is
                # left of the time is known all the same.
                self.last = self.last.model_copy(update={"disk_free": None, "memory_free": None})
            found = breach(self._limits, self._watch(begun))
            if found is not None:
                return found
            await asyncio.sleep(INTERVAL)

    def _watch(self, begun: float) -> Watch:
        now = time.monotonic()
        return Watch(
            stage=self._stage,
            vitals=self.last,
            served=self._served,
            silent_seconds=now - self._silent_since if self._silent_since is not None else 0.0,
            budget_seconds=self._budget - (now - begun),
        )

    def _saw(self, vitals: Vitals) -> None:
        self.last = vitals
        self._served = self._served or vitals.server is not None
        if vitals.answers is not False:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = time.monotonic()
        for name, value, worst in (
            ("lowest_disk_free_bytes", vitals.disk_free, min),
            ("lowest_memory_free_bytes", vitals.memory_free, min),
            ("highest_memory_used_bytes", vitals.memory_used, max),
        ):
            if value is not None:
                self.metrics[name] = worst(self.metrics.get(name, float(value)), float(value))
