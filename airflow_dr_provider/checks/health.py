"""Does the restored server answer, in every database?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar, TypeVar

import psycopg

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict
from airflow_dr_provider.errors import DrillError

Answer = TypeVar("Answer")

_TRIES = 3
_PAUSE_SECONDS = 0.5


class HealthCheck:
    """Connects to every database and has one simple question answered.

    Proves that the server takes connections at this moment, that each database can be opened, and that it is open for writing.
    Can't prove anything about data. It asks through the sandbox's socket, the only way in: a sandbox's server listens on no
    port, so that a TCP or HTTP probe of it would ask about something else.
    """

    name: ClassVar[str] = "health"
    default_timeout: ClassVar[float] = 60.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Ping; what isn't reached is tried again, what answers wrongly is not."""
        try:
            _, there = await _patiently(partial(cluster_facts, context))
        except (psycopg.OperationalError, DrillError) as error:
            return (self._failed("SERVER_UNREACHABLE", f"The server doesn't answer: {describe(error)}."),)
        except psycopg.Error as error:
            return (self._damaged(error),)
        asked = tuple(name for name in context.databases if name in there) or ("postgres",)
        slowest = 0.0
        closed: list[str] = []
        shut: list[str] = []
        for database in asked:
            begun = time.monotonic()
            try:
                recovering = await _patiently(partial(_ping, context, database))
            except (psycopg.OperationalError, DrillError) as error:
                closed.append(f"{database} ({describe(error)})")
                continue
            except psycopg.Error as error:
                return (self._damaged(error),)
            slowest = max(slowest, time.monotonic() - begun)
            if recovering:
                shut.append(database)
        if closed:
            return (self._failed("DATABASE_UNUSABLE", f"Databases that can't be opened: {'; '.join(closed[:3])}."),)
        if shut:
            return (self._failed("WRITE_FAILED", "The server is still in recovery: it answers and takes no writes."),)
        return (
            CheckResult(
                name=self.name,
                verdict=Verdict.PASSED,
                detail=f"{len(asked)} databases answer, the slowest within {slowest:.2f} s.",
                measurements={"ping_seconds": slowest},
            ),
        )

    def _damaged(self, error: psycopg.Error) -> CheckResult:
        """The result for a catalog that can't be read.

        :raises psycopg.Error: the error, when it is none of damage.
        """
        if not is_corruption(error, internal=True):
            raise error
        return self._failed("DATA_CORRUPT", f"The server's catalogs are damaged: {describe(error)}.")

    def _failed(self, code: str, detail: str) -> CheckResult:
        return CheckResult(name=self.name, verdict=Verdict.FAILED, signature=code, detail=detail)


async def _ping(context: CheckContext, database: str) -> bool:
    """Whether the server is in recovery, by its answer in this database."""
    async with await context.connect(database, "admin") as connection:
        row = await (await connection.execute("SELECT pg_catalog.pg_is_in_recovery()")).fetchone()
        return row is None or bool(row[0])


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again when nobody was reached, a few times."""
    for left in reversed(range(_TRIES)):
        try:
            return await ask()
        except (psycopg.OperationalError, DrillError):
            if not left:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError  # not reached
