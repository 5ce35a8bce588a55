"""Let a signal end a walk in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from airflow_dr_provider.errors import RunInterruptedError

T = TypeVar("T")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def interruptible(walk: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; a signal cancels it, and it has the time that it takes to clean up.

    :raises RunInterruptedError: after SIGTERM, SIGINT or SIGHUP, once it has ended.
    """
    walking = asyncio.ensure_future(walk)
    with _signals(walking) as received:
        try:
            return await walking
        except asyncio.CancelledError:
            if received:
                raise RunInterruptedError(received[0]) from None
            raise


@contextlib.contextmanager
def _signals(task: asyncio.Future[Any]) -> Iterator[list[int]]:
    """Let the first signal cancel the walk; later ones don't disturb the clean-up."""
    received: list[int] = []
    loop = asyncio.get_running_loop()

    def handle(number: int) -> None:
        if not received:
            task.cancel()
        received.append(number)

    handled: list[int] = []
    for chosen in _SIGNALS:
        # Outside the main thread (a test, an embedding program) signals belong to somebody else.
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(chosen, handle, int(chosen))
            handled.append(int(chosen))
    try:
        yield received
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
