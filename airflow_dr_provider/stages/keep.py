"""Let the server that carried a recovery stay up after its run, because a person asked for it; and keep its log's end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.state.people import People
from airflow_dr_provider.state.records import Resource

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext

LOG_LINES = 200


def wanted(context: AttemptContext) -> bool:
    """Whether this attempt's server stays: it was asked for, and its gate passed. What failed is never kept."""
    gate = context.earlier(StageName.VALIDATE)
    return context.run.request.keep_seconds > 0 and gate is not None and gate.verdict is Verdict.PASSED


def keep(context: AttemptContext, resource: Resource) -> StageResult:
    """Give the sandbox a lease of its own; when that ends, it is the reaper's.

    Where the passwords lie is said, not what they are: the file goes with the sandbox.
    """
    until = context.services.clock() + timedelta(seconds=context.run.request.keep_seconds)
    kept = People(context.services.store).keep_sandbox(resource.name, until)
    endpoint = context.sandbox.endpoint(SandboxHandle.model_validate(kept.handle))
    until = kept.lease_until
    return StageResult(
        stage=StageName.TEARDOWN,
        verdict=Verdict.PASSED,
        detail=f"{resource.name} is kept until {until.isoformat(timespec='seconds')}, by request",
        facts={
            "released": False,
            "kept": {"name": resource.name, "until": until.isoformat(), **endpoint.model_dump(mode="json")},
        },
    )


async def keep_log(context: AttemptContext, resource: Resource) -> None:
    """Put the end of the server's log into the store, where people find it when the sandbox is gone. Never in the way."""
    try:
        text = await context.sandbox.log_tail(SandboxHandle.model_validate(resource.handle), LOG_LINES)
    except (DrillError, OSError):
        return
    if text:
        People(context.services.store).keep_log(context.attempt.id, text, now=context.services.clock())
