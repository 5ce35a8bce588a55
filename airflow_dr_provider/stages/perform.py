"""Perform one stage: the checkpoint, the tier's time, retries, and what becomes of an error. The same for every stage."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from importlib import import_module
from typing import Any

from airflow_dr_provider.domain.chain import place, retry_here
from airflow_dr_provider.domain.exit_codes import STAGE_EXIT_CODES
from airflow_dr_provider.domain.signatures import Domain, signature
from airflow_dr_provider.domain.verdicts import CheckResult, StageName, StageResult, Verdict
from airflow_dr_provider.domain.waiting import Waiting
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.stages.context import AttemptContext
from airflow_dr_provider.stages.injection import BEFORE, strike
from airflow_dr_provider.stages.services import Progress
from airflow_dr_provider.stages.waiting import known_wait, remote_half, tier_seconds_left, until_settled
from airflow_dr_provider.stages.watchdog import out_of_budget, watched
from airflow_dr_provider.state.records import Measurement

StageFunction = Callable[[AttemptContext], Coroutine[Any, Any, StageResult]]

BACKOFF_SECONDS = (0.5, 2.0, 8.0, 30.0)
"""What lies between the tries of a stage; the last one for every further try."""

# What a stage could not find out is no verdict on the backup.
_UNVERIFIED = frozenset({Domain.CONFIGURATION})
_TEARDOWN_SECONDS = 120.0
_REPLAY = frozenset({"RECOVERY_ENDED_EARLY", "TIMELINE_MISMATCH", "SERVER_START_FAILED"})


def stage_function(stage: StageName) -> StageFunction:
    """The coroutine of a stage: ``run`` in the module of its name."""
    function: StageFunction = import_module(f"airflow_dr_provider.stages.{stage.value}").run
    return function


def inputs_digest(context: AttemptContext, stage: StageName) -> str:
    """What a checkpoint is valid for: the run's kept inputs, the place in the chain, and the chosen coordinate."""
    chosen = context.earlier(StageName.SELECT) if stage is not StageName.SELECT else None
    coordinate = chosen.facts.get("coordinate", {}) if chosen is not None else {}
    parts = (context.run.spec_digest, context.run.id, str(context.rung.index), stage.value, str(sorted(coordinate.items())))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


async def perform(context: AttemptContext, stage: StageName) -> StageResult:
    """Run a stage to its end, waiting for what is done elsewhere; see :func:`advance`."""
    while isinstance(outcome := await advance(context, stage), Waiting):
        with contextlib.suppress(Exception):  # the next look meets the same, and makes a result of it
            await until_settled(outcome, context.services.clock)
    return outcome


async def advance(context: AttemptContext, stage: StageName) -> StageResult | Waiting:
    """Run a stage as far as it goes: to its end, or to where somebody else has to be done first.

    One that was finished before returns its result, and nothing is done. Errors that the drill foresaw become results; an
    unforeseen one does too (``STAGE_BROKEN``), so that a chain always gets to its end. Cancellation passes through: nothing is
    written, and the next process finds the stage undone, or its wait in the ledger.
    """
    store = context.services.store
    digest = inputs_digest(context, stage)
    done = store.checkpoint(context.attempt.id, stage, digest)
    if done is not None:
        return done.result
    where = place(context.rung)
    wait = known_wait(context, stage)
    if wait is None:
        context.services.progress(Progress(run_id=context.run.id, place=where, stage=stage, started=True))
    clock = _Clock(context, stage)
    tries = 0
    try:
        while True:
            tries += 1
            outcome = await _once(context, stage, clock)
            _pass_cancellation()
            if isinstance(outcome, Waiting):
                return outcome
            wait = known_wait(context, stage)
            result = outcome.model_copy(update={"tries": max(tries, wait.number if wait is not None else 0)})
            if result.verdict is Verdict.PASSED or not retry_here(result, context.rung):
                break
            await asyncio.sleep(BACKOFF_SECONDS[min(tries, len(BACKOFF_SECONDS)) - 1])
    finally:
        await context.close()
    result = result.model_copy(
        update={"elapsed_seconds": round(clock.elapsed, 6), "exit_code": STAGE_EXIT_CODES[result.verdict]}
    )
    store.finish_stage(
        context.attempt.id,
        digest=digest,
        result=result,
        started_at=clock.started_at,
        now=context.services.clock(),
        candidate=_candidate(stage, result),
        close_attempt=stage is StageName.TEARDOWN,
        measurements=_measurements(context, result),
    )
    context.services.progress(Progress(run_id=context.run.id, place=where, stage=stage, result=result))
    return result


class _Clock:
    """How long a stage has gone on: in this process, or since it was begun elsewhere, whoever waited."""

    def __init__(self, context: AttemptContext, stage: StageName) -> None:
        self._context, self._stage = context, stage
        self._started_at, self._begun = context.services.clock(), time.monotonic()

    @property
    def started_at(self) -> datetime:
        """When it began."""
        wait = known_wait(self._context, self._stage)
        return min(self._started_at, wait.begun_at) if wait is not None else self._started_at

    @property
    def before(self) -> float:
        """Seconds of it that were over when this process came to it."""
        return max(0.0, (self._started_at - self.started_at).total_seconds())

    @property
    def elapsed(self) -> float:
        """Seconds of it that are over."""
        return self.before + time.monotonic() - self._begun


async def _once(context: AttemptContext, stage: StageName, clock: _Clock) -> StageResult | Waiting:
    short = out_of_budget(context) if stage is StageName.SELECT else None
    if short is not None:
        return _failed(stage, "BUDGET_EXHAUSTED", short)
    try:
        waiting = await remote_half(context, stage)
        if waiting is not None:
            return waiting
        async with context.held, asyncio.timeout(_remaining(context, stage, clock)):
            return await watched(context, stage, _work(context, stage), waited=clock.before)
    except TimeoutError:
        allowed = context.tier.timeout.total_seconds()
        return _failed(stage, "STAGE_TIMEOUT", f"the tier's {allowed:.0f} s were over during {stage.value}")
    except DrillError as error:
        return _failed(stage, error.code, error.message, error.facts)
    except OSError as error:
        code = "DISK_FULL" if error.errno == 28 else "SANDBOX_FAILED"
        return _failed(stage, code, f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    except Exception as error:
        return _failed(stage, "STAGE_BROKEN", f"{type(error).__name__}: {error}")


async def _work(context: AttemptContext, stage: StageName) -> StageResult:
    if stage in BEFORE:
        await strike(context, BEFORE[stage])
    return await stage_function(stage)(context)


def _pass_cancellation() -> None:
    """End here when the task was cancelled and something below took the cancellation for an error of its own.

    :raises asyncio.CancelledError: then.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _remaining(context: AttemptContext, stage: StageName, clock: _Clock) -> float:
    """Seconds left of the tier's time. Only time spent in stages counts, not what lay between processes."""
    if stage is StageName.TEARDOWN:
        return _TEARDOWN_SECONDS
    return max(0.0, tier_seconds_left(context) - clock.elapsed)


def _failed(stage: StageName, code: str, detail: str, facts: dict[str, object] | None = None) -> StageResult:
    unverified = signature(code).domain in _UNVERIFIED or code == "STAGE_BROKEN"
    verdict = Verdict.COULD_NOT_VERIFY if unverified else Verdict.FAILED
    replayed = stage is StageName.RESTORE and code in _REPLAY
    checks = (CheckResult(name="wal_replay", verdict=verdict, signature=code, detail=detail),) if replayed else ()
    return StageResult(stage=stage, verdict=verdict, signature=code, detail=detail, facts=facts or {}, checks=checks)


def _candidate(stage: StageName, result: StageResult) -> str | None:
    coordinate = result.facts.get("coordinate") if stage is StageName.SELECT else None
    return str(coordinate["backup_id"]) if coordinate else None


def _measurements(context: AttemptContext, result: StageResult) -> tuple[Measurement, ...]:
    if context.run.injected:
        return ()  # what a damaged copy measures is nobody's baseline
    now = context.services.clock()
    numbers = {"elapsed_seconds": result.elapsed_seconds, **result.metrics}
    return tuple(
        Measurement(
            run_id=context.run.id,
            attempt_id=context.attempt.id,
            name=f"{result.stage.value}.{name}",
            value=value,
            unit="s" if name.endswith("seconds") else "bytes" if name.endswith("bytes") else "",
            at=now,
        )
        for name, value in numbers.items()
    )
