"""Write down that a sandbox will be made, before anything is made."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.state.records import Resource, ResourceState

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext

GRACE = timedelta(minutes=30)
"""What a sandbox may outlive its tier's time by, for queues and clocks, before the reaper takes it."""


async def run(context: AttemptContext) -> StageResult:
    """Write the intent with its lease. Trivial on purpose: a setup that fails gets no teardown."""
    now = context.services.clock()
    handle = context.sandbox.handle(context.sandbox_name)
    context.services.store.intend(
        Resource(
            name=context.sandbox_name,
            run_id=context.run.id,
            attempt_id=context.attempt.id,
            kind=context.tier.sandbox.kind,
            state=ResourceState.INTENDED,
            handle=handle.model_dump(mode="json"),
            settings=context.tier.sandbox.model_dump(mode="json"),
            workdir=str(context.services.workdir),
            intended_at=now,
            lease_until=now + context.tier.timeout + GRACE,
        )
    )
    return StageResult(
        stage=StageName.RESERVE, verdict=Verdict.PASSED, detail=context.sandbox_name, facts={"sandbox": context.sandbox_name}
    )
