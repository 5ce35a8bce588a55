"""The record: one JSON document that says what a run did, found and decided, put together from the store."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from airflow_dr_provider.domain.chain import AttemptHistory, Rung, first_rung, not_tried
from airflow_dr_provider.domain.verdicts import CheckResult, StageName, StageResult, Verdict
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.state.records import Attempt, Run, Transition
from airflow_dr_provider.state.store import Store

FORMAT = 1


def build_record(
    *,
    store: Store,
    run: Run,
    spec: DrillSpec,
    inputs: dict[str, Any],
    history: tuple[AttemptHistory, ...],
    rungs: tuple[Rung, ...],
    outcome: str,
    exit_code: int,
    reasons: tuple[str, ...],
    leftovers: tuple[str, ...],
    injected: tuple[dict[str, Any], ...] = (),
    rto_seconds: float | None,
    closed_at: datetime,
) -> dict[str, Any]:
    """The record of a run that ends now. JSON-able; without secrets, since nothing that goes in holds any."""
    winner = _winner(history)
    rung = rungs[winner.rung] if winner is not None else None
    stop = inputs.get("stop")
    log = store.transitions(run.id)
    return {
        "format": FORMAT,
        "drill": run.drill,
        "run_id": run.id,
        "trigger": run.trigger,
        "request": run.request.model_dump(mode="json"),
        "outcome": outcome,
        "exit_code": exit_code,
        "reasons": list(reasons),
        **({"error": {"signature": stop["signature"], "message": stop["detail"]}} if stop else {}),
        "tier": rung.tier if rung is not None else None,
        "backup": winner.candidate if winner is not None else None,
        "target": _target(inputs, winner),
        "objectives": {
            "rto_seconds": spec.objectives.rto.total_seconds(),
            "rpo_seconds": _rpo_objective(spec, rung),
            "mtd_seconds": spec.objectives.mtd.total_seconds(),
        },
        "achieved": _achieved(inputs, history, winner, rto_seconds),
        "moment": inputs["moment"],
        "opened_at": run.opened_at.isoformat(),
        "closed_at": closed_at.isoformat(),
        "findings": inputs.get("findings", []),
        "not_tried": list(not_tried(rungs, first_rung(rungs, run.request.first_tier).index)),
        "attempts": [_attempt(store, run, rungs[attempt.rung], attempt) for attempt in history],
        "transitions": [_move(entry) for entry in log if "/" not in entry.source],
        "log": [{"number": entry.number, **_move(entry), "digest": entry.digest} for entry in log],
        "triage": run.triage.model_dump(mode="json") if run.triage is not None else None,
        "leftovers": list(leftovers),
        "kept": _kept(history),
        "injected": list(injected),
        "spec": {"digest": run.spec_digest, "snapshot": run.spec},
    }


def unfinished_record(store: Store, run: Run) -> dict[str, Any]:
    """What is known of a run that isn't closed: the part of its record that exists, for people to look at while it goes on."""
    log = store.transitions(run.id)
    return {
        "drill": run.drill,
        "run_id": run.id,
        "trigger": run.trigger,
        "request": run.request.model_dump(mode="json"),
        "outcome": None,
        "opened_at": run.opened_at.isoformat(),
        "findings": run.inputs.get("findings", []),
        "target": run.inputs.get("target"),
        "triage": run.triage.model_dump(mode="json") if run.triage is not None else None,
        "transitions": [_move(entry) for entry in log if "/" not in entry.source],
        "attempts": [_under_way(store, attempt) for attempt in store.attempts(run.id)],
    }


def _under_way(store: Store, attempt: Attempt) -> dict[str, Any]:
    results = [done.result for done in store.checkpoints(attempt.id)]
    deciding = [result for result in results if result.stage is not StageName.TEARDOWN]
    last = deciding[-1] if deciding else None
    over = last is not None and (last.verdict is not Verdict.PASSED or last.stage is StageName.VALIDATE)
    return {
        "id": attempt.id,
        "tier": attempt.tier,
        "number": attempt.number,
        "candidate": attempt.candidate,
        "verdict": last.verdict.value if over and last is not None else "under way",
        "signature": last.signature if last is not None else None,
        "detail": last.detail if last is not None else "",
        "stages": [_stage(result) for result in results],
        "checks": [_check(check) for result in results for check in result.checks],
    }


def _kept(history: tuple[AttemptHistory, ...]) -> list[dict[str, Any]]:
    """Restored servers that stay up after the run because a person asked for it: no leftovers, and each with an end."""
    torn_down = (result for attempt in history for result in attempt.results if result.stage is StageName.TEARDOWN)
    return [result.facts["kept"] for result in torn_down if "kept" in result.facts]


def _move(entry: Transition) -> dict[str, Any]:
    return {
        "at": entry.at.isoformat(),
        "from": entry.source,
        "to": entry.destination,
        "reason": entry.reason,
        "detail": entry.detail,
    }


def _winner(history: tuple[AttemptHistory, ...]) -> AttemptHistory | None:
    for attempt in reversed(history):
        if any(result.stage is StageName.VALIDATE and result.verdict is Verdict.PASSED for result in attempt.results):
            return attempt
    return None


def _result(attempt: AttemptHistory | None, stage: StageName) -> StageResult | None:
    if attempt is None:
        return None
    return next((result for result in attempt.results if result.stage is stage), None)


def _target(inputs: dict[str, Any], winner: AttemptHistory | None) -> dict[str, Any] | None:
    """The point that the winning attempt aimed at, else the run's."""
    chosen = _result(winner, StageName.SELECT)
    target = chosen.facts["coordinate"]["target"] if chosen is not None else inputs.get("target")
    if target is None:
        return None
    recovered = _result(winner, StageName.RESTORE)
    recovery = recovered.facts.get("recovery") if recovered is not None else None
    return {
        **target,
        "short": bool(chosen.facts.get("short")) if chosen is not None else False,
        "replayed_lsn": recovery["replayed_lsn"] if recovery else None,
        "last_commit": recovery["last_commit"] if recovery else None,
    }


def _rpo_objective(spec: DrillSpec, rung: Rung | None) -> float:
    tier = next((tier for tier in spec.tiers if rung is not None and tier.name == rung.tier), None)
    return ((tier.rpo if tier is not None else None) or spec.objectives.rpo).total_seconds()


def _achieved(
    inputs: dict[str, Any], history: tuple[AttemptHistory, ...], winner: AttemptHistory | None, rto_seconds: float | None
) -> dict[str, Any]:
    stages: dict[str, float] = defaultdict(float)
    stages["open"] = inputs.get("opened_seconds", 0.0)
    for index, attempt in enumerate(history):
        for result in attempt.results:
            if not (index == len(history) - 1 and result.stage is StageName.TEARDOWN):
                stages[result.stage.value] += result.elapsed_seconds
    seconds, source, reason = _rpo(inputs, winner)
    return {
        "rpo_seconds": seconds,
        "rpo_source": source,
        "rpo_reason": reason,
        "rto_seconds": round(rto_seconds, 6) if rto_seconds is not None else None,
        "milestones": _milestones(inputs, history, winner),
        "stages": {name: round(value, 6) for name, value in stages.items()},
    }


def _milestones(
    inputs: dict[str, Any], history: tuple[AttemptHistory, ...], winner: AttemptHistory | None
) -> dict[str, float | None]:
    """Seconds from the beginning until the server that carried the recovery accepted connections, and until it was warm.

    A recovery is over when its gate has passed (``rto_seconds``); these say when an application could have begun to use it.
    """
    passed = inputs.get("opened_seconds", 0.0)
    reached: dict[str, float | None] = {"accepts_connections_seconds": None, "warm_seconds": None}
    names = {StageName.RESTORE: "accepts_connections_seconds", StageName.WARM: "warm_seconds"}
    for attempt in history:
        for result in attempt.results:
            passed += result.elapsed_seconds
            if attempt is winner and result.stage in names:
                reached[names[result.stage]] = round(passed, 6)
    return reached


def _rpo(inputs: dict[str, Any], winner: AttemptHistory | None) -> tuple[float | None, str | None, str]:
    """Seconds of data lost: by the heartbeat, else by the last replayed commit."""
    if winner is None:
        return None, None, "nothing was recovered"
    gate = _result(winner, StageName.VALIDATE)
    freshness = next((check for check in gate.checks if check.name == "freshness"), None) if gate is not None else None
    if freshness is not None and "rpo_seconds" in freshness.measurements:
        return freshness.measurements["rpo_seconds"], str(freshness.facts.get("source", "heartbeat")), ""
    restored = _result(winner, StageName.RESTORE)
    commit = restored.facts["recovery"]["last_commit"] if restored is not None else None
    if commit is not None:
        lost = datetime.fromisoformat(inputs["moment"]) - datetime.fromisoformat(commit)
        return max(0.0, lost.total_seconds()), "last_commit", ""
    return None, None, "there is no heartbeat, and recovery replayed no commit that would tell a time"


def _attempt(store: Store, run: Run, rung: Rung, attempt: AttemptHistory) -> dict[str, Any]:
    deciding = [result for result in attempt.results if result.stage is not StageName.TEARDOWN]
    last = deciding[-1] if deciding else None
    attempt_id = f"{run.id}.{attempt.rung}"
    resources = [resource for resource in (store.resource(name) for name in _sandboxes(attempt)) if resource is not None]
    return {
        "id": attempt_id,
        "tier": rung.tier,
        "role": rung.role,
        "number": rung.number,
        "candidate": attempt.candidate,
        "verdict": last.verdict.value if last is not None else Verdict.COULD_NOT_VERIFY.value,
        "signature": last.signature if last is not None else None,
        "exit_code": last.exit_code if last is not None else 2,
        "detail": last.detail if last is not None else "",
        "stages": [_stage(result) for result in attempt.results],
        "checks": [_check(check) for result in attempt.results for check in result.checks],
        "sandbox": {
            "name": resources[0].name if resources else None,
            "released": all(resource.released_at is not None for resource in resources),
            "released_at": next((r.released_at.isoformat() for r in resources if r.released_at is not None), None),
        },
    }


def _sandboxes(attempt: AttemptHistory) -> tuple[str, ...]:
    return tuple(
        str(result.facts["sandbox"]) for result in attempt.results if result.stage is StageName.RESERVE and result.facts
    )


def _stage(result: StageResult) -> dict[str, Any]:
    return {
        "name": result.stage.value,
        "verdict": result.verdict.value,
        "exit_code": result.exit_code,
        "signature": result.signature,
        "elapsed_seconds": result.elapsed_seconds,
        "tries": result.tries,
        "detail": result.detail,
        "metrics": result.metrics,
        "facts": result.facts,
    }


def _check(check: CheckResult) -> dict[str, Any]:
    return {
        "name": check.name,
        "verdict": check.verdict.value,
        "signature": check.signature,
        "detail": check.detail,
        "elapsed_seconds": check.elapsed_seconds,
        "required": check.required,
        "measurements": check.measurements,
        "facts": check.facts,
    }
