"""Blocking work in threads that ends when the task that waits for it is cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_halt: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("halt", default=None)


class HaltedError(Exception):
    """The work was told to stop; never seen outside of its thread."""


def check_halt() -> None:
    """End the work here when nobody waits for it any more.

    :raises HaltedError: then.
    """
    event = _halt.get()
    if event is not None and event.is_set():
        raise HaltedError


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work in a thread.

    Cancelled, it tells the work to stop and waits until it has: nobody writes to a folder that is being removed.
    """
    event = threading.Event()
    context = contextvars.copy_context()
    context.run(_halt.set, event)
    running = asyncio.get_running_loop().run_in_executor(None, functools.partial(context.run, work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        event.set()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # looked at, so that nobody warns about it
        raise


def carried(work: Callable[P, T]) -> Callable[P, T]:
    """The same work for a thread pool inside such a thread: it hears the same order to stop."""
    event = _halt.get()

    @functools.wraps(work)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        _halt.set(event)
        return work(*args, **kwargs)

    return inside
