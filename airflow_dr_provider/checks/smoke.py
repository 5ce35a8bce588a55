"""The spec's own questions to the data."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import psycopg
from psycopg import errors

from airflow_dr_provider.checks.base import CheckContext, SmokeTest
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.parallel import CONNECTIONS, Connection
from airflow_dr_provider.checks.powerless import POWERFUL, begin_powerless
from airflow_dr_provider.checks.sql_errors import condition, describe, is_corruption, mask
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

# What a first column may be, for each kind of answer that a spec can expect: in words, and as pg_type.oid.
_KINDS: dict[type, tuple[str, frozenset[int]]] = {
    bool: ("a boolean", frozenset({16})),
    int: ("a number", frozenset({20, 21, 23, 1700})),
    str: ("a text", frozenset({25, 1042, 1043})),
}
_GRACE_SECONDS = 5.0
# The object that a test speaks of isn't in the restored copy.
_NOT_THERE = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)


class SmokeCheck:
    """Runs each statement of ``smoke:`` and wants one row whose first column is true, or what the spec expects.

    Proves what the spec's author asked, of the restored data. Can't prove more than that. A statement runs alone, in a
    read-only transaction, as a role that can neither write files nor run programs, for as long as its timeout says; its result
    is never shown, whatever it is.
    """

    name: ClassVar[str] = "smoke"
    default_timeout: ClassVar[float] = 1800.0
    """Seconds for all tests together; each has its own timeout, which ends it first."""

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """One result a test, in the spec's order; none when the spec has no test."""
        if not context.smoke:
            return ()
        _, there = await cluster_facts(context)
        limit = asyncio.Semaphore(CONNECTIONS)

        async def one(test: SmokeTest) -> CheckResult:
            async with limit:
                started = time.monotonic()
                if test.database not in there:
                    result = _answer(test, Verdict.FAILED, "SMOKE_FAILED", f"There is no database {test.database} in the copy.")
                else:
                    result = await _run(context, test)
                return result.model_copy(update={"elapsed_seconds": time.monotonic() - started})

        return tuple(await asyncio.gather(*(one(test) for test in context.smoke)))


async def _run(context: CheckContext, test: SmokeTest) -> CheckResult:
    try:
        # The server's own timeout comes first; this one is for a statement that doesn't heed it.
        async with asyncio.timeout(test.timeout_seconds + _GRACE_SECONDS):
            async with await context.connect(test.database, "smoke") as connection:
                try:
                    return await _ask(connection, test)
                except psycopg.Error as error:
                    return _refused(test, error)
    except TimeoutError:
        return _late(test)
    except psycopg.OperationalError as error:
        return _answer(test, Verdict.COULD_NOT_VERIFY, "SMOKE_ERROR", f"No connection to run it on: {describe(error)}.")


async def _ask(connection: Connection, test: SmokeTest) -> CheckResult:
    if not await begin_powerless(connection, test.timeout_seconds):
        return _answer(test, Verdict.COULD_NOT_VERIFY, "SMOKE_ERROR", POWERFUL)
    cursor = connection.cursor()
    rows: list[tuple[Any, ...]] = []
    # Streaming uses the extended protocol, which takes one statement only, and never holds more of a large result than a row.
    async for row in cursor.stream(test.sql.encode(), size=1):
        rows.append(row)
        if len(rows) > 1:
            break
    return _judge(test, cursor, rows)


def _judge(test: SmokeTest, cursor: psycopg.AsyncCursor[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]) -> CheckResult:
    if not rows:
        # A streamed result without a row has no description either, so a SELECT and a command look alike here.
        return _answer(test, Verdict.FAILED, "SMOKE_FAILED", "Answered no row.")
    columns = cursor.description
    if not columns:
        return _answer(test, Verdict.COULD_NOT_VERIFY, "SMOKE_ERROR", "It returns no row at all; a smoke test is a SELECT.")
    kind, types = _KINDS[type(test.expect)]
    if columns[0].type_code not in types:
        return _answer(test, Verdict.COULD_NOT_VERIFY, "SMOKE_ERROR", f"Its first column is not {kind}.")
    if len(rows) > 1:
        return _answer(
            test, Verdict.COULD_NOT_VERIFY, "SMOKE_ERROR", "It returned more than one row; which one counts can't be said."
        )
    answer = rows[0][0]
    if answer is not None and answer == test.expect:
        wanted = "true" if test.expect is True else "as expected"
        return _answer(test, Verdict.PASSED, None, f"Answered {wanted}.", proves_data=True)
    said = "NULL" if answer is None else str(answer).lower() if isinstance(answer, bool) else "something else than expected"
    return _answer(test, Verdict.FAILED, "SMOKE_FAILED", f"Answered {said}.")


def _refused(test: SmokeTest, error: psycopg.Error) -> CheckResult:
    if isinstance(error, (errors.QueryCanceled, errors.LockNotAvailable)):
        return _late(test)
    if is_corruption(error):
        return _answer(test, Verdict.FAILED, "DATA_CORRUPT", f"The data it reads are damaged: {condition(error)}.")
    # A message from inside a function may hold anything; of the server's own, only those that name objects are told.
    told = condition(error)
    plain = isinstance(error, (*_NOT_THERE, errors.UndefinedFunction, errors.SyntaxError, errors.InsufficientPrivilege))
    if plain and not error.diag.context:
        told = mask(f"{told}: {error.diag.message_primary}")
    if isinstance(error, _NOT_THERE):
        return _answer(test, Verdict.FAILED, "SMOKE_FAILED", f"What it asks about is not in the copy: {told}.")
    return _answer(test, Verdict.COULD_NOT_VERIFY, "SMOKE_ERROR", f"It could not be run: {told}.")


def _late(test: SmokeTest) -> CheckResult:
    return _answer(test, Verdict.COULD_NOT_VERIFY, "SMOKE_ERROR", f"It did not answer within its {test.timeout_seconds:g} s.")


def _answer(test: SmokeTest, verdict: Verdict, code: str | None, detail: str, *, proves_data: bool = False) -> CheckResult:
    return CheckResult(
        name=f"smoke:{test.name}",
        verdict=verdict,
        signature=code,
        detail=detail,
        proves_data=proves_data,
        facts={"database": test.database},
    )
