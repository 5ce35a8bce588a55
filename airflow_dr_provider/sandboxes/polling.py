"""Asking an account how far its steps are: all waits of a process together, at no more than the account's rate.

A triggerer holds hundreds of waits of one account. They share one adapter with its connections, one rate, and one pause when
the account says that it is asked too often. Where one call can ask about several sandboxes, waits that are due together go
into one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from weakref import WeakKeyDictionary

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import Account, StepProgress, backoff
from airflow_dr_provider.errors import DrillError, SandboxError
from airflow_dr_provider.sandboxes.base import RemoteSandbox

CALL_SECONDS = 30.0
"""After which a call counts as unanswered."""
_CONCURRENT = 16
_LINGER_SECONDS = 0.25


class Rate:
    """Calls of one account, evenly spaced."""

    def __init__(self, calls_per_second: float) -> None:
        self._space = 1.0 / calls_per_second
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until the next call may be made."""
        loop = asyncio.get_running_loop()
        while (left := self._next - loop.time()) > 0:  # noqa: ASYNC110 - it's a time that is awaited, and may be put off meanwhile
            await asyncio.sleep(left)
        self._next = loop.time() + self._space

    def pause(self, seconds: float) -> None:
        """Make no call before that time is over."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


class Poller:
    """One adapter of one account, asked on behalf of everybody who waits."""

    def __init__(self, adapter: RemoteSandbox, rate: Rate) -> None:
        self._adapter = adapter
        self._account: Account = adapter.account
        self._rate = rate
        self._pending: deque[tuple[StageName, SandboxHandle, asyncio.Future[StepProgress]]] = deque()
        self._slots = asyncio.Semaphore(_CONCURRENT)
        self._dispatching: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._throttled = 0
        self.waits = 0

    async def ask(self, stage: StageName, handle: SandboxHandle) -> StepProgress:
        """How far one step is, as soon as the account may be asked.

        :raises DrillError: what the call raised.
        """
        future: asyncio.Future[StepProgress] = asyncio.get_running_loop().create_future()
        self._pending.append((stage, handle, future))
        if self._dispatching is None or self._dispatching.done():
            self._dispatching = asyncio.create_task(self._dispatch())
        return await future

    async def close(self) -> None:
        """End what goes on, and give the adapter's connections back."""
        tasks = [task for task in (self._dispatching, *self._calls) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._adapter.close()

    async def _dispatch(self) -> None:
        while self._pending:
            if self._account.batch > 1:
                await asyncio.sleep(_LINGER_SECONDS)
            await self._slots.acquire()
            await self._rate.turn()
            stage, asked = self._take()
            if not asked:
                self._slots.release()
                continue
            call = asyncio.create_task(self._call(stage, asked))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def _take(self) -> tuple[StageName, list[tuple[SandboxHandle, asyncio.Future[StepProgress]]]]:
        """Those who go into the next call: of one stage, the longest waiting first; who left meanwhile is passed over."""
        stage = StageName.PROVISION
        asked: list[tuple[SandboxHandle, asyncio.Future[StepProgress]]] = []
        others: list[tuple[StageName, SandboxHandle, asyncio.Future[StepProgress]]] = []
        while self._pending and len(asked) < self._account.batch:
            of, handle, future = self._pending.popleft()
            if future.done():
                continue
            if asked and of is not stage:
                others.append((of, handle, future))
                continue
            stage = of
            asked.append((handle, future))
        self._pending.extendleft(reversed(others))
        return stage, asked

    async def _call(self, stage: StageName, asked: list[tuple[SandboxHandle, asyncio.Future[StepProgress]]]) -> None:
        try:
            answers = await self._answers(stage, [handle for handle, _ in asked])
        except Exception as error:
            self._note(error)
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
        else:
            self._throttled = 0
            for handle, future in asked:
                if not future.done():
                    self._give(future, answers.get(handle.name), handle)
        finally:
            self._slots.release()
            for _, future in asked:
                future.cancel()

    async def _answers(self, stage: StageName, handles: list[SandboxHandle]) -> dict[str, StepProgress]:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return dict(await self._adapter.poll(stage, handles))
        except TimeoutError:
            raise SandboxError(
                f"{self._account.key} did not answer within {CALL_SECONDS:.0f} s.", code="REMOTE_UNREACHABLE"
            ) from None

    def _give(self, future: asyncio.Future[StepProgress], answer: StepProgress | None, handle: SandboxHandle) -> None:
        if answer is not None:
            future.set_result(answer)
        else:
            future.set_exception(SandboxError(f"{self._account.key} doesn't know {handle.name}.", code="SANDBOX_LOST"))

    def _note(self, error: Exception) -> None:
        """Let everybody of the account hold back when it is asked too often."""
        if isinstance(error, DrillError) and error.code == "REMOTE_THROTTLED":
            self._throttled += 1
            self._rate.pause(max(retry_after(error), backoff(self._account.key, self._throttled)))


def retry_after(error: DrillError) -> float:
    """Seconds after which the environment wants to be asked again; 0 when it didn't say."""
    told = error.facts.get("retry_after")
    return float(told) if isinstance(told, int | float) and told > 0 else 0.0


class _Process:
    """What one event loop shares."""

    def __init__(self) -> None:
        self.rates: dict[str, Rate] = {}
        self.pollers: dict[str, Poller] = {}
        self.making = asyncio.Lock()


_PROCESSES: WeakKeyDictionary[asyncio.AbstractEventLoop, _Process] = WeakKeyDictionary()


@contextlib.asynccontextmanager
async def joined(key: str, make: Callable[[], RemoteSandbox]) -> AsyncIterator[Poller]:
    """A share in the poller of a kind and its settings; the last one who leaves closes it.

    :param key: kind and settings as one text; adapters of the same key are the same.
    :param make: makes the adapter, where this process has none yet.
    """
    shared = _PROCESSES.setdefault(asyncio.get_running_loop(), _Process())
    async with shared.making:
        found = shared.pollers.get(key)
        if found is None:
            adapter = await asyncio.to_thread(make)  # the first one of its kind imports its libraries
            account = adapter.account
            rate = shared.rates.setdefault(account.key, Rate(account.calls_per_second))
            found = shared.pollers[key] = Poller(adapter, rate)
        found.waits += 1
    try:
        yield found
    finally:
        found.waits -= 1
        if found.waits == 0:
            del shared.pollers[key]
            await found.close()
