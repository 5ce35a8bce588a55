"""The two halves of a stage that is done elsewhere: begin it, or adopt it; and what is asked between, by whoever waits.

The ledger has each wait before it is begun. A process that is lost while it waits loses nothing: the next one finds the wait
there, asks under the same name, and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import TRANSIENT, StepProgress, StepState, Wait, Waiting, WaitState, backoff, share
from airflow_dr_provider.errors import DrillError, SandboxError, StateError
from airflow_dr_provider.sandboxes.base import RemoteSandbox, is_remote, sandbox
from airflow_dr_provider.sandboxes.polling import joined, retry_after
from airflow_dr_provider.spec.sandbox import sandbox_spec
from airflow_dr_provider.stages.services import Progress, Services, utc_now
from airflow_dr_provider.stages.watchdog import budget_seconds

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
"""For how long one call is repeated that the environment refuses for the moment, before its stage gives it up."""
TEARDOWN_SECONDS = 3600.0
"""How long an environment may take to remove something; the tier's time doesn't count there."""
CANCEL_SECONDS = 10.0
"""How long ending a step may take: whoever cancels is on the way out himself."""
_WAITS = "waits"
_NOT_FOR_OTHERS = (_WAITS, "restored_files", "fetched_wal")


# -- halves ------------------------------------------------------------------------------------------------------------
async def remote_half(context: AttemptContext, stage: StageName) -> Waiting | None:
    """Bring a stage as far as the environment is: begun, waited for, or ready to be finished here.

    :return: what is waited for; None when nothing is, and the stage's own work is to be done.
    :raises SandboxError: when the environment gave up, or it is too late; what was begun is cancelled then.
    """
    adapter = context.sandbox
    if not is_remote(adapter, stage) or (stage is StageName.TEARDOWN and _gone(context)):
        return None
    wait = known_wait(context, stage)
    if wait is not None and wait.state is WaitState.READY:
        return None
    if wait is None or not wait.state.open:
        wait = _intend(context, stage, wait)
    if wait.state is WaitState.BEGUN:
        if context.services.clock() >= wait.deadline:
            await _too_late(context, adapter, wait)
        return await _look(context, adapter, wait)
    return await _begin(context, adapter, wait)


def known_wait(context: AttemptContext, stage: StageName) -> Wait | None:
    """What the ledger has of a stage's remote step."""
    resource = context.services.store.resource(context.sandbox_name)
    return _wait(resource.handle, stage) if resource is not None else None


async def _begin(context: AttemptContext, adapter: RemoteSandbox, wait: Wait) -> Waiting | None:
    stage, handle = wait.stage, context.handle()
    coordinate = context.coordinate() if stage is not StageName.TEARDOWN else None
    left = (wait.deadline - context.services.clock()).total_seconds()
    key = f"{handle.name}/{stage.value}/{wait.number}"
    try:
        begun = await patiently(lambda: adapter.begin(stage, handle, coordinate, number=wait.number), key, within=left)
    except DrillError as error:
        # A call that got no answer may have been heard: it is made again under the same number.
        if error.code not in TRANSIENT:
            _mark(context.services, handle.name, wait, WaitState.FAILED)
        raise
    kept = _mark(context.services, handle.name, wait, WaitState.BEGUN, details=begun.details, created=True)
    waiting = _waiting(context, adapter, kept, f"{stage.value} of {handle.name}")
    if kept.state is WaitState.CANCELLED:  # between the intent and the step
        await _cancel_there(adapter, stage, waiting.handle)
        return await remote_half(context, stage)
    _say(context, f"{stage.value} begun in {adapter.account.key}, asked again every {adapter.poll_seconds:g} s")
    return waiting


async def _look(context: AttemptContext, adapter: RemoteSandbox, wait: Wait) -> Waiting | None:
    waiting = _waiting(context, adapter, wait, "")
    handle = waiting.handle
    try:
        answers = await patiently(lambda: adapter.poll(wait.stage, [handle]), waiting.key)
    except DrillError as error:
        if error.code not in TRANSIENT:
            _mark(context.services, handle.name, wait, WaitState.FAILED)
            raise
        return waiting.model_copy(update={"detail": error.message})
    answer = answers.get(handle.name) or StepProgress(
        state=StepState.FAILED, signature="SANDBOX_LOST", detail="it is unknown there"
    )
    if answer.state is StepState.WAITING:
        return waiting.model_copy(update={"detail": answer.detail})
    reached = WaitState.READY if answer.state is StepState.READY else WaitState.FAILED
    kept = _mark(context.services, handle.name, wait, reached)
    if kept.state is WaitState.CANCELLED:  # by a person, while this process believed in it
        return await remote_half(context, wait.stage)
    if answer.state is StepState.READY:
        return None
    raise SandboxError(
        f"{adapter.account.key} gave up {wait.stage.value} of {handle.name}: {answer.detail or 'it does not say why'}.",
        code=answer.signature or "REMOTE_FAILED",
    )


async def _too_late(context: AttemptContext, adapter: RemoteSandbox, wait: Wait) -> None:
    waiting = _waiting(context, adapter, wait, "")
    _mark(context.services, waiting.handle.name, wait, WaitState.FAILED)
    if wait.stage is not StageName.TEARDOWN:
        await _cancel_there(adapter, wait.stage, waiting.handle)
    after = (wait.deadline - wait.begun_at).total_seconds()
    raise SandboxError(
        f"{adapter.account.key} was not done with {wait.stage.value} of {waiting.handle.name} after {after:.0f} s.",
        code=wait.late,
    )


# -- between -----------------------------------------------------------------------------------------------------------
async def until_settled(waiting: Waiting, clock: Callable[[], datetime] = utc_now) -> StepProgress | None:
    """Ask until the step is ready or has failed. Reads no store and writes none: a triggerer holds hundreds of these.

    Asked at most once an interval; what hinders only the asking is asked again later, with backoff.

    :return: the last answer; None when it got too late. Whoever gets it asks once more and decides.
    :raises DrillError: for an answer that isn't about the step or the asking.
    """
    settings = sandbox_spec(waiting.settings)
    key = json.dumps([waiting.kind, waiting.settings, waiting.workdir], sort_keys=True)

    def make() -> RemoteSandbox:
        adapter = sandbox(waiting.kind, settings, workdir=Path(waiting.workdir))
        if not is_remote(adapter, waiting.stage):
            raise SandboxError(f"A sandbox {waiting.kind} does {waiting.stage.value} by itself.", code="STAGE_BROKEN")
        return adapter

    loop, refused = asyncio.get_running_loop(), 0
    async with joined(key, make) as poller:
        # Waits that began together are spread over the interval; each keeps its place in it.
        due = loop.time() + waiting.poll_seconds * (0.5 + 0.5 * share(waiting.key))
        while True:
            left = (waiting.deadline - clock()).total_seconds()
            if left <= 0:
                return None
            await asyncio.sleep(min(max(0.0, due - loop.time()), left))
            try:
                answer = await poller.ask(waiting.stage, waiting.handle)
            except DrillError as error:
                if error.code not in TRANSIENT:
                    raise
                refused += 1
                wait = max(retry_after(error), backoff(waiting.key, refused, cap=max(waiting.poll_seconds, 1.0)))
            else:
                if answer.state is not StepState.WAITING:
                    return answer
                refused, wait = 0, answer.retry_after or waiting.poll_seconds
            due = max(due + wait, loop.time() + 0.1 * wait) if not refused else loop.time() + wait


async def cancel_wait(services: Services, waiting: Waiting) -> bool:
    """End a step that a person doesn't want any more. The ledger is told first, so that whoever comes next begins anew.

    :return: whether it was still under way.
    """
    try:
        known = services.store.resource(waiting.handle.name)
        wait = _wait(known.handle, waiting.stage) if known is not None else None
        if wait is None or wait.number != waiting.number or not wait.state.open:
            return False
        if _mark(services, waiting.handle.name, wait, WaitState.CANCELLED).state is not WaitState.CANCELLED:
            return False
    except StateError as error:
        if error.code == "LEASE_EXPIRED":  # it is gone already
            return False
        raise
    adapter = sandbox(waiting.kind, sandbox_spec(waiting.settings), workdir=Path(waiting.workdir))
    if is_remote(adapter, waiting.stage):
        try:
            await _cancel_there(adapter, waiting.stage, waiting.handle)
        finally:
            await adapter.close()
    return True


def open_wait(context: AttemptContext, stage: StageName) -> Waiting | None:
    """The stage's wait, if its environment may still be at it."""
    adapter = context.sandbox
    wait = known_wait(context, stage) if is_remote(adapter, stage) else None
    return _waiting(context, adapter, wait, "") if wait is not None and wait.state.open and is_remote(adapter, stage) else None


async def patiently(call: Callable[[], Awaitable[T]], key: str, *, within: float = PATIENCE_SECONDS) -> T:
    """Repeat a call that is refused for the moment, with backoff.

    :raises DrillError: what isn't transient at once; what is, when patience or time is over.
    """
    loop = asyncio.get_running_loop()
    until, number = loop.time() + min(within, PATIENCE_SECONDS), 0
    while True:
        number += 1
        try:
            return await call()
        except DrillError as error:
            delay = max(retry_after(error), backoff(key, number))
            if error.code not in TRANSIENT or loop.time() + delay > until:
                raise
        await asyncio.sleep(delay)


# -- the ledger --------------------------------------------------------------------------------------------------------
def _wait(handle: dict[str, Any], stage: StageName) -> Wait | None:
    kept = handle.get("details", {}).get(_WAITS, {}).get(stage.value)
    return Wait.model_validate(kept) if kept is not None else None


def _with(handle: dict[str, Any], wait: Wait, details: dict[str, Any] | None = None) -> dict[str, Any]:
    kept = {**handle.get("details", {}), **(details or {})}
    waits = {**handle.get("details", {}).get(_WAITS, {}), wait.stage.value: wait.model_dump(mode="json")}
    return {**handle, "details": {**kept, _WAITS: waits}}


def _intend(context: AttemptContext, stage: StageName, before: Wait | None) -> Wait:
    """Write the intent: the next number, and a time that a failure doesn't renew but a person's new beginning does."""
    now = context.services.clock()
    number = before.number + 1 if before is not None else 1
    if before is not None and before.state is WaitState.FAILED:
        wait = before.model_copy(update={"number": number, "state": WaitState.INTENDED})
    else:
        seconds, late = _allowed(context, stage)
        wait = Wait(stage=stage, number=number, begun_at=now, deadline=now + timedelta(seconds=seconds), late=late)

    def change(handle: dict[str, Any]) -> dict[str, Any]:
        nonlocal wait
        there = _wait(handle, stage)
        if there is not None and there.number >= wait.number:  # another process of the same task was faster
            wait = there
            return handle
        return _with(handle, wait)

    context.services.store.amend(context.sandbox_name, change)
    return wait


def _mark(
    services: Services,
    name: str,
    wait: Wait,
    state: WaitState,
    *,
    details: dict[str, Any] | None = None,
    created: bool = False,
) -> Wait:
    """Move a wait on, unless it isn't open any more; the wait as it is then."""
    moved = wait.model_copy(update={"state": state})

    def change(handle: dict[str, Any]) -> dict[str, Any]:
        nonlocal moved
        there = _wait(handle, wait.stage)
        if there is not None and (there.number != wait.number or not there.state.open):
            moved = there
            return _with(handle, there, details) if details else handle
        return _with(handle, moved, details)

    services.store.amend(name, change, created=services.clock() if created else None)
    return moved


def _allowed(context: AttemptContext, stage: StageName) -> tuple[float, str]:
    """How long a step may take, and the signature of its taking longer."""
    if stage is StageName.TEARDOWN:
        return TEARDOWN_SECONDS, "CLEANUP_FAILED"
    tier, budget = tier_seconds_left(context), budget_seconds(context)
    return (tier, "STAGE_TIMEOUT") if tier <= budget else (max(0.0, budget), "BUDGET_EXHAUSTED")


def tier_seconds_left(context: AttemptContext) -> float:
    """What the attempt's finished stages left of the tier's time."""
    spent = sum(done.result.elapsed_seconds for done in context.services.store.checkpoints(context.attempt.id))
    return max(0.0, context.tier.timeout.total_seconds() - spent)


def _gone(context: AttemptContext) -> bool:
    resource = context.services.store.resource(context.sandbox_name)
    return resource is None or resource.released_at is not None


def _waiting(context: AttemptContext, adapter: RemoteSandbox, wait: Wait, detail: str) -> Waiting:
    resource = context.resource()
    handle = SandboxHandle.model_validate(resource.handle)
    details = {name: value for name, value in handle.details.items() if name not in _NOT_FOR_OTHERS}
    return Waiting(
        run_id=context.run.id,
        rung=context.rung.index,
        stage=wait.stage,
        number=wait.number,
        kind=resource.kind,
        settings=resource.settings,
        workdir=resource.workdir,
        handle=handle.model_copy(update={"details": details}),
        detail=detail,
        poll_seconds=adapter.poll_seconds,
        deadline=wait.deadline,
    )


async def _cancel_there(adapter: RemoteSandbox, stage: StageName, handle: SandboxHandle) -> None:
    # Best effort: the teardown and the reaper remove what a cancellation could not end.
    with contextlib.suppress(DrillError, TimeoutError, OSError):
        async with asyncio.timeout(CANCEL_SECONDS):
            await patiently(lambda: adapter.cancel(stage, handle), f"{handle.name}/cancel", within=CANCEL_SECONDS)


def _say(context: AttemptContext, message: str) -> None:
    context.services.progress(Progress(run_id=context.run.id, place=context.rung.state, message=message))
