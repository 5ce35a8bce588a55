"""One account's waits ask together: at its rate, in batches, with one pause for all when it is asked too often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import Account, StepProgress, StepState
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.sandboxes import polling
from airflow_dr_provider.sandboxes.remote_errors import refused, unanswered

READY = StepProgress(state=StepState.READY)


class Environment:
    """An adapter that answers from this process: only asking it is of interest here."""

    def __init__(self, rate: float = 1000.0, batch: int = 1, key: str = "account") -> None:
        self.account = Account(key=key, calls_per_second=rate, batch=batch)
        self.calls: list[tuple[float, tuple[str, ...]]] = []
        self.errors: list[Exception] = []
        self.closed = 0

    async def poll(self, stage: StageName, handles: Sequence[SandboxHandle]) -> Mapping[str, StepProgress]:
        self.calls.append((time.monotonic(), tuple(handle.name for handle in handles)))
        if self.errors:
            raise self.errors.pop(0)
        return {handle.name: READY for handle in handles if handle.name != "unknown"}

    async def close(self) -> None:
        self.closed += 1


def handle(name: str) -> SandboxHandle:
    return SandboxHandle(kind="acme", name=name, place="p")


async def ask(environment: Any, name: str) -> StepProgress:
    async with polling.joined("key", lambda: environment) as poller:
        return await poller.ask(StageName.RESTORE, handle(name))


async def test_calls_are_no_more_than_the_accounts_rate() -> None:
    environment = Environment(rate=50)
    begun = time.monotonic()
    assert await asyncio.gather(*(ask(environment, str(number)) for number in range(20))) == [READY] * 20
    assert time.monotonic() - begun >= 19 / 50
    gaps = [after[0] - before[0] for before, after in zip(environment.calls, environment.calls[1:], strict=False)]
    assert min(gaps) > 0.5 / 50
    assert environment.closed == 1


async def test_kinds_of_one_account_share_its_rate() -> None:
    first, second = Environment(rate=20), Environment(rate=20)

    async def other(name: str) -> StepProgress:
        async with polling.joined("other", lambda: second) as poller:
            return await poller.ask(StageName.RESTORE, handle(name))

    await asyncio.gather(*(ask(first, str(number)) for number in range(5)), *(other(str(number)) for number in range(5)))
    moments = sorted(at for at, _ in (*first.calls, *second.calls))
    assert moments[-1] - moments[0] >= 8 / 20


async def test_who_is_due_together_goes_into_one_call() -> None:
    environment = Environment(batch=100)
    await asyncio.gather(*(ask(environment, str(number)) for number in range(150)))
    assert [len(names) for _, names in environment.calls] == [100, 50]


async def test_everybody_holds_back_when_one_is_told_so() -> None:
    environment = Environment()
    environment.errors = [refused("account", 429, retry_after="1")]
    answers = await asyncio.gather(ask(environment, "first"), ask(environment, "second"), return_exceptions=True)
    first, second = answers
    assert isinstance(first, SandboxError)
    assert first.code == "REMOTE_THROTTLED"
    assert second == READY
    assert environment.calls[1][0] - environment.calls[0][0] >= 0.9


async def test_one_who_leaves_is_not_asked_for() -> None:
    environment = Environment(rate=5)
    waiting = [asyncio.create_task(ask(environment, str(number))) for number in range(4)]
    await asyncio.sleep(0.05)
    waiting[2].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert ("2",) not in [names for _, names in environment.calls]


async def test_a_sandbox_that_is_not_answered_for_is_lost() -> None:
    with pytest.raises(SandboxError) as caught:
        await ask(Environment(), "unknown")
    assert caught.value.code == "SANDBOX_LOST"


async def test_a_call_that_hangs_counts_as_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(Environment):
        async def poll(self, stage: StageName, handles: Sequence[SandboxHandle]) -> Mapping[str, StepProgress]:
            await asyncio.Event().wait()
            return {}

    monkeypatch.setattr(polling, "CALL_SECONDS", 0.05)
    with pytest.raises(SandboxError) as caught:
        await ask(Deaf(), "a")
    assert caught.value.code == "REMOTE_UNREACHABLE"


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "REMOTE_THROTTLED"), (500, "REMOTE_UNREACHABLE"), (503, "REMOTE_UNREACHABLE"), (403, "REMOTE_FAILED")],
)
def test_what_a_refusal_means(status: int, code: str) -> None:
    assert refused("acme", status, "words").code == code
    assert polling.retry_after(refused("acme", status, retry_after="7")) == 7
    assert polling.retry_after(refused("acme", status, retry_after="Wed, 21 Oct 2026 07:28:00 GMT")) == 0


def test_no_answer_heals_by_itself() -> None:
    assert unanswered("acme", ConnectionResetError()).retryable
