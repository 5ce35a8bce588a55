"""Remove the sandbox, and look again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.stages.keep import keep, keep_log, wanted
from airflow_dr_provider.stages.release import release

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext


async def run(context: AttemptContext) -> StageResult:
    """Destroy what the ledger has of this attempt; what is still there afterwards makes the stage fail, by name."""
    resource = context.services.store.resource(context.sandbox_name)
    if resource is None or resource.released_at is not None:
        return _passed("nothing to remove")
    await keep_log(context, resource)
    if wanted(context):
        return keep(context, resource)
    leftovers = await release(context.services, resource)
    if leftovers:
        return StageResult(
            stage=StageName.TEARDOWN,
            verdict=Verdict.FAILED,
            signature="CLEANUP_FAILED",
            detail=f"still there: {'; '.join(leftovers)}",
            facts={"leftovers": list(leftovers), "released": False},
        )
    return _passed(f"{resource.name} is gone")


def _passed(detail: str) -> StageResult:
    return StageResult(stage=StageName.TEARDOWN, verdict=Verdict.PASSED, detail=detail, facts={"released": True})
