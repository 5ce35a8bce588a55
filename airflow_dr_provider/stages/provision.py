"""Make the empty, isolated environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.errors import StateError

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext


async def run(context: AttemptContext) -> StageResult:
    """Provision, then ask the ledger again: a lease that ended meanwhile means that nobody else will clean this up."""
    handle = await context.sandbox.provision(context.handle(), context.coordinate())
    try:
        context.keep_handle(handle)
    except StateError:
        await context.sandbox.destroy(handle)
        raise
    isolation = context.sandbox.isolation(handle)
    reached = ", ".join(isolation.reached) or "none"
    return StageResult(
        stage=StageName.PROVISION,
        verdict=Verdict.PASSED,
        detail=f"isolation: {reached}" + (f"; missing: {isolation.missing}" if isolation.missing else ""),
        facts={"isolation": isolation.model_dump(mode="json"), "sandbox": handle.name},
    )
