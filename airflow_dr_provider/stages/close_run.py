"""Close a run: nothing left behind, an outcome, and a record."""

from __future__ import annotations

from typing import Any

from airflow_dr_provider.domain.chain import AttemptHistory, Outcome, Rung, first_rung, outcome
from airflow_dr_provider.domain.exit_codes import ExitCode
from airflow_dr_provider.domain.injection import report
from airflow_dr_provider.domain.verdicts import StageName, Verdict
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.evidence.record import build_record
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.stages.history import read_history
from airflow_dr_provider.stages.injection import injections, struck
from airflow_dr_provider.stages.inputs import RunInputs
from airflow_dr_provider.stages.reap import is_over
from airflow_dr_provider.stages.release import release
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import ResourceState, Run


async def close_run(
    services: Services, run: Run, spec: DrillSpec, inputs: RunInputs, rungs: tuple[Rung, ...]
) -> dict[str, Any]:
    """Decide and write a run's end."""
    leftovers = await _release_all(services, run)
    history = read_history(services.store, run.id)
    if inputs.stop is not None:
        ended, code = _stopped(inputs.stop.destination)
        reasons: tuple[str, ...] = (inputs.stop.signature,)
    else:
        ended, code, reasons = outcome(
            rungs,
            history,
            leftovers=len(leftovers),
            rto_met=rto_seconds(inputs, history) <= spec.objectives.rto.total_seconds(),
            short=inputs.bounded_by_hole or _short(history),
            begin=first_rung(rungs, run.request.first_tier).index,
        )
    reports = report(injections(run.injected), rungs, history, struck(services.store, run.id))
    if any(not entry.as_expected for entry in reports):
        code = ExitCode.COULD_NOT_VERIFY
    if leftovers:
        code = ExitCode.CLEANUP_FAILED
    record = build_record(
        store=services.store,
        run=run,
        spec=spec,
        inputs=inputs.model_dump(mode="json"),
        history=history,
        rungs=rungs,
        outcome=ended.value,
        exit_code=int(code),
        reasons=reasons,
        leftovers=leftovers,
        injected=tuple(entry.model_dump(mode="json") for entry in reports),
        rto_seconds=rto_seconds(inputs, history) if _carried(history) else None,
        closed_at=services.clock(),
    )
    services.store.close_run(run.id, outcome=ended.value, exit_code=int(code), record=record, now=services.clock())
    return record


async def _release_all(services: Services, run: Run) -> tuple[str, ...]:
    left: list[str] = []
    for resource in services.store.unreleased(run.id):
        if resource.state is ResourceState.KEPT and not is_over(services, resource, services.clock()):
            continue
        try:
            left.extend(f"{resource.name}: {what}" for what in await release(services, resource))
        except (DrillError, OSError) as error:
            left.append(f"{resource.name}: {error}")
    return tuple(left)


def _stopped(destination: str) -> tuple[Outcome, ExitCode]:
    if destination == "manual_triage":
        return Outcome.MANUAL_TRIAGE, ExitCode.MANUAL_TRIAGE
    return Outcome.COULD_NOT_VERIFY, ExitCode.COULD_NOT_VERIFY


def _carried(history: tuple[AttemptHistory, ...]) -> bool:
    return any(
        result.stage is StageName.VALIDATE and result.verdict is Verdict.PASSED
        for attempt in history
        for result in attempt.results
    )


def _short(history: tuple[AttemptHistory, ...]) -> bool:
    """Whether the last attempt aimed short of the run's target."""
    return any(
        bool(result.facts.get("short"))
        for attempt in history[-1:]
        for result in attempt.results
        if result.stage is StageName.SELECT
    )


def rto_seconds(inputs: RunInputs, history: tuple[AttemptHistory, ...]) -> float:
    """Recovery time: opening, and every stage up to the gate that passed. The last teardown comes after the recovery."""
    total = inputs.opened_seconds
    for index, attempt in enumerate(history):
        for result in attempt.results:
            last = index == len(history) - 1
            if not (last and result.stage is StageName.TEARDOWN):
                total += result.elapsed_seconds
    return total
