"""Does the restored server take writes, and keep or forget them as it should?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

import psycopg
from psycopg import errors, sql

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.catalog_parts import DRILL_SCHEMA
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.parallel import Connection
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

ROWS = 100
# Longer than a page, and no run of one character: kept out of line, in several pieces.
_TABLE = sql.Identifier(DRILL_SCHEMA, "synthetic_transaction")
_CREATE = sql.SQL("CREATE TABLE {} (id integer PRIMARY KEY, body text NOT NULL)").format(_TABLE)
_INSERT = sql.SQL(
    "INSERT INTO {} SELECT n, (SELECT pg_catalog.string_agg(pg_catalog.md5((n * 1000 + m)::text), '')"
    " FROM pg_catalog.generate_series(1, 300) m) FROM pg_catalog.generate_series(1, {}) n"
).format(_TABLE, sql.Literal(ROWS))
# Once over the table and once by the index: what was written has to be found both ways.
_READ = sql.SQL(
    "SELECT (SELECT pg_catalog.count(*) FROM {0} WHERE pg_catalog.length(body) = 300 * 32),"
    " (SELECT body = (SELECT pg_catalog.string_agg(pg_catalog.md5((n * 1000 + m)::text), '')"
    " FROM pg_catalog.generate_series(1, 300) m, (VALUES ({1})) v (n)) FROM {0} WHERE id = {1})"
).format(_TABLE, sql.Literal(ROWS))
_THERE = f"SELECT pg_catalog.to_regclass('{DRILL_SCHEMA}.synthetic_transaction') IS NOT NULL"
_DROP = sql.SQL("DROP TABLE IF EXISTS {}").format(_TABLE)
_LOCK_TIMEOUT = "10s"


class _LostError(Exception):
    """What was written is not what is read, or not there, or still there."""


class SyntheticTransactionCheck:
    """Writes rows of its own in every database, in a schema of the drill's own: once rolled back, once committed and dropped.

    Proves that the server takes writes in each database: a table, an index and values kept out of line can be made, are read
    back as written, are gone after a rollback, and are there for another session after a commit. Can't prove that an
    application's own writes work, which has its own rights and triggers; no table of the user's is touched.
    """

    name: ClassVar[str] = "synthetic_transaction"
    default_timeout: ClassVar[float] = 120.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """One database after the other: the first that doesn't take writes decides."""
        _, there = await cluster_facts(context)
        databases = [name for name in context.databases if name in there]
        slowest = 0.0
        for database in databases:
            begun = time.monotonic()
            try:
                await _rolled_back(context, database)
                await _committed(context, database)
            except _LostError as lost:
                return (self._failed("WRITE_FAILED", f"{database}: {lost}."),)
            except errors.DiskFull as error:
                return (self._failed("DISK_FULL", f"{database}: {describe(error)}."),)
            except psycopg.Error as error:
                code = "DATA_CORRUPT" if is_corruption(error, internal=True) else "WRITE_FAILED"
                return (self._failed(code, f"{database}: {describe(error)}."),)
            slowest = max(slowest, time.monotonic() - begun)
        if not databases:
            return (
                CheckResult(
                    name=self.name,
                    verdict=Verdict.COULD_NOT_VERIFY,
                    signature="CHECK_BROKEN",
                    detail="There is no database to write in.",
                ),
            )
        return (
            CheckResult(
                name=self.name,
                verdict=Verdict.PASSED,
                detail=f"{len(databases)} databases take writes, keep what is committed and forget what is rolled back.",
                measurements={"write_seconds": slowest},
            ),
        )

    def _failed(self, code: str, detail: str) -> CheckResult:
        return CheckResult(name=self.name, verdict=Verdict.FAILED, signature=code, detail=detail)


async def _rolled_back(context: CheckContext, database: str) -> None:
    async with await context.connect(database, "admin") as connection:
        await _prepare(connection)
        async with connection.transaction(force_rollback=True):
            await connection.execute(_CREATE)
            await connection.execute(_INSERT)
            await _read(connection)
        if await _is_there(connection):
            raise _LostError("what was rolled back is still there")


async def _committed(context: CheckContext, database: str) -> None:
    try:
        async with await context.connect(database, "admin") as connection:
            await _prepare(connection)
            async with connection.transaction():
                await connection.execute(_CREATE)
                await connection.execute(_INSERT)
        async with await context.connect(database, "admin") as connection:
            if not await _is_there(connection):
                raise _LostError("what was committed is gone")
            await _read(connection)
    finally:
        async with await context.connect(database, "admin") as connection:
            await _prepare(connection)
            await connection.execute(_DROP)


async def _prepare(connection: Connection) -> None:
    """Keep production's triggers on DDL from firing, and remove what a try that was cut off left."""
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("SELECT pg_catalog.set_config('lock_timeout', %s, false)", (_LOCK_TIMEOUT,))
    await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(DRILL_SCHEMA)))
    await connection.execute(_DROP)


async def _read(connection: Connection) -> None:
    row = await (await connection.execute(_READ)).fetchone()
    if row != (ROWS, True):
        raise _LostError("what was read back is not what was written")


async def _is_there(connection: Connection) -> bool:
    row = await (await connection.execute(_THERE)).fetchone()
    return bool(row and row[0])
