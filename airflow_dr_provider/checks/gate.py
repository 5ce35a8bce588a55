"""Run a tier's checks along their route: side by side where they only read, each with its own time, none spoiling another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from airflow_dr_provider.checks.base import CheckContext, check
from airflow_dr_provider.checks.sql_errors import describe
from airflow_dr_provider.domain.routing import Cost, Phase, RoutedCheck, hindrance
from airflow_dr_provider.domain.signatures import SIGNATURES
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

LIMITS: dict[Cost, int] = {Cost.CHEAP: 12, Cost.MEDIUM: 6, Cost.HEAVY: 2}
"""How many of each kind run at a time: together they stay below the connections that a sandbox's server takes."""

Results = tuple[CheckResult, ...]


async def run_checks(
    route: Sequence[RoutedCheck], context: CheckContext, *, limits: Mapping[Cost, int] = LIMITS
) -> tuple[CheckResult, ...]:
    """Run a route; the results in the order of the checks' positions.

    A check that doesn't end in time is COULD_NOT_VERIFY, ``CHECK_TIMEOUT``; one that raises is COULD_NOT_VERIFY,
    ``CHECK_BROKEN``, with the error's type and message; one that needs a check which did not pass is COULD_NOT_VERIFY,
    ``CHECK_NOT_RUN``. Cancelled, it cancels every check and waits for their ends.

    :param route: from :func:`~airflow_dr_provider.domain.routing.route`: each check behind those that it needs.
    :param limits: how many of each cost run at a time; a check's time begins when it does.
    """
    semaphores = {cost: asyncio.Semaphore(limit) for cost, limit in limits.items()}
    tasks: dict[str, asyncio.Task[Results]] = {}
    for phase in Phase:
        alone = asyncio.Semaphore(1) if phase is not Phase.SIDE_BY_SIDE else None
        async with asyncio.TaskGroup() as group:
            for routed in route:
                if routed.phase is phase:
                    limit = alone or semaphores[routed.cost]
                    tasks[routed.name] = group.create_task(_one(routed, context, limit, tasks), name=f"check {routed.name}")
    positions = {routed.name: routed.position for routed in route}
    return tuple(result for name in sorted(tasks, key=positions.__getitem__) for result in tasks[name].result())


async def _one(
    routed: RoutedCheck, context: CheckContext, limit: asyncio.Semaphore, tasks: Mapping[str, asyncio.Task[Results]]
) -> Results:
    needed = {need: tasks[need] for need in routed.needs if need in tasks}
    if needed:
        await asyncio.wait(needed.values())
    for need, task in needed.items():
        why = hindrance(task.result())
        if why is not None:
            return (_unverified(routed.name, "CHECK_NOT_RUN", f"Not run: it needs {need}, which {why}."),)
    async with limit:
        started = time.monotonic()
        results = await _guarded(routed.name, context)
        elapsed = time.monotonic() - started
    return tuple(
        result if result.elapsed_seconds else result.model_copy(update={"elapsed_seconds": elapsed}) for result in results
    )


async def _guarded(name: str, context: CheckContext) -> Results:
    deadline: asyncio.Timeout | None = None
    try:
        # The check is imported here, so that one that can't be is broken by itself.
        made = check(name)
        deadline = asyncio.timeout(made.default_timeout)
        async with deadline:
            return _sound(await made.run(context))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return (_broken(name, error),)
    except TimeoutError as error:
        if deadline is None or not deadline.expired():
            return (_broken(name, error),)
        return (_unverified(name, "CHECK_TIMEOUT", f"The check did not end within {made.default_timeout:g} s."),)
    except (Exception, SystemExit) as error:
        return (_broken(name, error),)


def _sound(results: Sequence[CheckResult]) -> Results:
    """The results as the chain can decide on them: a code that it doesn't know is kept as a fact, under one that it knows."""
    return tuple(_known(CheckResult.model_validate(result)) for result in results)


def _known(result: CheckResult) -> CheckResult:
    if result.verdict is Verdict.PASSED or result.signature in SIGNATURES:
        return result
    code = "CUSTOM_CHECK_FAILED" if result.verdict is Verdict.FAILED else "CHECK_BROKEN"
    return result.model_copy(update={"signature": code, "facts": {**result.facts, "own_code": result.signature}})


def _broken(name: str, error: BaseException) -> CheckResult:
    return _unverified(name, "CHECK_BROKEN", f"The check could not end: {describe(error)}.")


def _unverified(name: str, code: str, detail: str) -> CheckResult:
    return CheckResult(name=name, verdict=Verdict.COULD_NOT_VERIFY, signature=code, detail=detail)
