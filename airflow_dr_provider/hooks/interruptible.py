"""Run a coroutine in a task's process so that a termination signal can end it in order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class TaskInterruptedError(RuntimeError):
    """The task's process was told to end. Another try may go on: a stage that was cut off is done again."""


class Interruptible:
    """One coroutine at a time, with a way to end it.

    Airflow tells a task to end by SIGTERM, which by default only calls ``on_kill``: the Python code runs on until it is killed
    some seconds later (``airflow.sdk.execution_time.task_runner``). Cancelling lets the stage end the programs it started.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run to the end.

        :raises TaskInterruptedError: when :meth:`interrupt` was called meanwhile.
        """

        async def main() -> Result:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            return await coroutine

        try:
            return asyncio.run(main())
        except asyncio.CancelledError as error:
            raise TaskInterruptedError("The task was told to end before its stage was done.") from error
        finally:
            self._loop = self._task = None

    def interrupt(self) -> None:
        """Cancel what runs, if anything does. Safe in a signal's handler, and harmless when called twice."""
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
