"""Put the restored server through its gate."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import psycopg

from airflow_dr_provider.checks.base import CheckContext, HeartbeatPlace, SmokeTest
from airflow_dr_provider.checks.fingerprint import capture
from airflow_dr_provider.checks.gate import run_checks
from airflow_dr_provider.domain.fault_list import Moment
from airflow_dr_provider.domain.reports import FileReport, Recovery, SandboxHandle, WalReport
from airflow_dr_provider.domain.verdicts import CheckResult, StageName, StageResult, Verdict, combine
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.stages.databases import databases
from airflow_dr_provider.stages.injection import strike
from airflow_dr_provider.stages.production import LAST_GOOD_RUN, keep, kept_reference, probes
from airflow_dr_provider.stages.query_baselines import keep_baselines, kept_baselines
from airflow_dr_provider.stages.routing import default_database, routed_checks, routed_smoke, watched_queries

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext

_CAUSES = ("EXTENSION_MISSING", "ROLE_MISSING")


async def run(context: AttemptContext) -> StageResult:
    """Run the profile's checks side by side; the worst verdict is the gate's. A copy that passed becomes a reference."""
    handle = context.handle()
    if not await context.sandbox.alive(handle):
        raise SandboxError(
            f"The restored server of {context.rung.tier} is not running any more. Its log is in the record; the drill goes on.",
            code="SANDBOX_LOST",
        )
    names = await databases(context, handle)
    await strike(context, Moment.IN_GATE)
    begun = time.monotonic()
    checks = await run_checks(routed_checks(context), _check_context(context, handle, names))
    gate_seconds = time.monotonic() - begun
    verdict = combine(checks)
    if verdict is not Verdict.PASSED and not await context.sandbox.alive(handle):
        words = await context.sandbox.log_tail(handle, 3)
        raise SandboxError(
            f"The restored server of {context.rung.tier} ended while it was checked: {words}", code="SERVER_DIED"
        )
    if verdict is Verdict.PASSED and not context.run.injected:
        await _keep_reference(context, handle, names)
        keep_baselines(context, checks)
    worst = _worst(checks, verdict)
    return StageResult(
        stage=StageName.VALIDATE,
        verdict=verdict,
        signature=None if verdict is Verdict.PASSED else (worst.signature if worst else "NO_DATA_CHECK"),
        detail=_summary(checks, worst, verdict),
        metrics={
            "gate_seconds": gate_seconds,
            **{name: value for check in checks for name, value in check.measurements.items()},
        },
        checks=checks,
    )


def _check_context(context: AttemptContext, handle: SandboxHandle, names: tuple[str, ...]) -> CheckContext:
    restored = _restored(context)
    heartbeat = context.spec.source.heartbeat

    async def connect(database: str, role: Literal["admin", "smoke"]) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        return await context.sandbox.connect(handle, database, role=role)

    default = default_database(context, names)
    return CheckContext(
        coordinate=context.coordinate(),
        recovery=Recovery.model_validate(restored["recovery"]),
        files=FileReport.model_validate(restored["files"]),
        wal=WalReport.model_validate(restored["wal"]),
        isolation=context.sandbox.isolation(handle),
        reference=kept_reference(context.services, context.inputs.reference_id),
        databases=names,
        heartbeat=HeartbeatPlace(
            table=heartbeat.table, column=heartbeat.column, database=heartbeat.database or context.inputs.database
        )
        if heartbeat
        else None,
        smoke=tuple(
            SmokeTest(
                name=test.name,
                sql=test.sql,
                database=test.database or default,
                timeout_seconds=test.timeout.total_seconds(),
                expect=test.expect,
            )
            for test in routed_smoke(context)
        ),
        queries=watched_queries(context, default),
        query_baselines=kept_baselines(context),
        moment=context.inputs.moment,
        rpo_seconds=context.rpo_seconds,
        row_drop_percent=context.spec.row_drop,
        probes=probes(context.services, context.spec),
        connect=connect,
        probe=partial(context.sandbox.probe, handle),
    )


def _restored(context: AttemptContext) -> dict[str, Any]:
    """What the restore reported."""
    restored = context.earlier(StageName.RESTORE)
    if restored is None:
        raise SandboxError(f"{context.rung.tier}: nothing was restored, so there is nothing to check.", code="STAGE_BROKEN")
    return restored.facts


def _worst(checks: tuple[CheckResult, ...], verdict: Verdict) -> CheckResult | None:
    """The check that speaks for the gate: the first whose verdict is the gate's own, before those that only followed it.

    A cause speaks before what follows from it: an extension takes its indexes along, a role its grants.
    """
    if verdict is Verdict.PASSED:
        return None
    counted = [check for check in checks if check.verdict is verdict and (check.required or verdict is Verdict.FAILED)]
    return min(
        counted,
        key=lambda check: (check.signature == "CHECK_NOT_RUN", not check.required, check.signature not in _CAUSES),
        default=None,
    )


def _summary(checks: tuple[CheckResult, ...], worst: CheckResult | None, verdict: Verdict) -> str:
    passed = sum(check.verdict is Verdict.PASSED for check in checks)
    counted = f"{passed} of {len(checks)} checks passed"
    if worst is not None:
        return f"{counted}; {worst.name}: {worst.detail}"
    if verdict is Verdict.PASSED:
        return counted
    return f"{counted}, and none of them looked at data: add a smoke test or a heartbeat to the spec, or take the profile full"


async def _keep_reference(context: AttemptContext, handle: SandboxHandle, names: tuple[str, ...]) -> None:
    """Keep what a proven copy looks like: the next run's ``last_good_run``."""
    reference = await capture(
        lambda database: context.sandbox.connect(handle, database or "template1"),
        databases=names,
        source=LAST_GOOD_RUN,
        now=context.services.clock(),
    )
    # What the checks and the promotion wrote came after the recovered point: that point's LSN and next transaction count.
    # By the copy's own, which are further on, what production made next would look older than this reference.
    recovery = Recovery.model_validate(_restored(context)["recovery"])
    moment = {"lsn": context.coordinate().target.lsn, "next_transaction": recovery.next_transaction}
    keep(context.services, context.spec, context.run.id, LAST_GOOD_RUN, reference.model_copy(update=moment))
