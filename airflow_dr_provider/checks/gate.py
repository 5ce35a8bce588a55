"""Run a tier's checks side by side: each with its own time, none spoiling another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from airflow_dr_provider.checks.base import CheckContext, check
from airflow_dr_provider.checks.sql_errors import describe
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict


async def run_checks(names: Sequence[str], context: CheckContext, *, concurrency: int = 8) -> tuple[CheckResult, ...]:
    """Run checks by name; the results in the order of the names.

    A check that doesn't end in time is COULD_NOT_VERIFY, ``CHECK_TIMEOUT``; one that raises is COULD_NOT_VERIFY,
    ``CHECK_BROKEN``, with the error's type and message. Cancelled, it cancels every check and waits for their ends.

    :param names: names from :data:`~airflow_dr_provider.checks.base.CHECKS`; one named twice runs once.
    :param concurrency: how many run at a time; a check's time begins when it does.
    """
    limit = asyncio.Semaphore(concurrency)
    ordered = tuple(dict.fromkeys(names))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_one(name, context, limit), name=f"check {name}") for name in ordered]
    return tuple(result for task in tasks for result in task.result())


async def _one(name: str, context: CheckContext, limit: asyncio.Semaphore) -> tuple[CheckResult, ...]:
    async with limit:
        started = time.monotonic()
        results = await _guarded(name, context)
        elapsed = time.monotonic() - started
    return tuple(
        result if result.elapsed_seconds else result.model_copy(update={"elapsed_seconds": elapsed}) for result in results
    )


async def _guarded(name: str, context: CheckContext) -> tuple[CheckResult, ...]:
    deadline: asyncio.Timeout | None = None
    try:
        # The check is imported here, so that one that can't be is broken by itself.
        made = check(name)
        deadline = asyncio.timeout(made.default_timeout)
        async with deadline:
            return tuple(await made.run(context))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return (_broken(name, error),)
    except TimeoutError as error:
        if deadline is None or not deadline.expired():
            return (_broken(name, error),)
        return (
            CheckResult(
                name=name,
                verdict=Verdict.COULD_NOT_VERIFY,
                signature="CHECK_TIMEOUT",
                detail=f"The check did not end within {made.default_timeout:g} s.",
            ),
        )
    except Exception as error:
        return (_broken(name, error),)


def _broken(name: str, error: BaseException) -> CheckResult:
    return CheckResult(
        name=name,
        verdict=Verdict.COULD_NOT_VERIFY,
        signature="CHECK_BROKEN",
        detail=f"The check could not end: {describe(error)}.",
    )
