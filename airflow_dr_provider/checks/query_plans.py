"""Are the spec's queries planned as well, and answered as fast, as in earlier good runs?"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import psycopg
from psycopg import errors, sql

from airflow_dr_provider.checks.base import CheckContext, WatchedQuery
from airflow_dr_provider.checks.parallel import Connection
from airflow_dr_provider.checks.powerless import POWERFUL, begin_powerless
from airflow_dr_provider.checks.sql_errors import condition, describe, is_corruption, mask
from airflow_dr_provider.domain.query_baseline import Latency, QueryBaseline, degraded, percentile, read_plan, slower
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict
from airflow_dr_provider.errors import DrillError

EXECUTIONS = 21
"""How often a query is timed: enough for a 95th percentile that one slow execution doesn't decide."""
SECONDS = 5.0
"""How long a query is timed at most, however often that is; once at least."""
_GRACE_SECONDS = 5.0
_NAME = sql.Identifier("airflow_dr_query")
_PLAIN = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction, errors.SyntaxError)


class QueryPlansCheck:
    """Plans and times each query of ``queries:`` and compares with the last good runs of this tier.

    Proves that no query lost the index by which it reached a table, at a cost beyond its ratio, and that none is slower than
    its ratio allows, warm. Can't prove that a plan is a good one, only that it is no worse than before; times are those of the
    sandbox, not of production. Each query runs as smoke tests do: alone, read-only, by a role without power; its rows stay in
    the server. A query whose parameters aren't given is only planned, for any values.
    """

    name: ClassVar[str] = "query_plans"
    default_timeout: ClassVar[float] = 1800.0
    """Seconds for all queries together; each has its own time, which ends it first."""

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """One result a query, one after the other: side by side they would time each other."""
        return tuple([await _run(context, query) for query in context.queries])


async def _run(context: CheckContext, query: WatchedQuery) -> CheckResult:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(query.timeout_seconds + SECONDS + _GRACE_SECONDS):
            async with await context.connect(query.database, "smoke") as connection:
                if not await begin_powerless(connection, query.timeout_seconds):
                    return _cannot(query, POWERFUL)
                try:
                    measured = await _measure(connection, query, context.coordinate.server_version)
                except psycopg.Error as error:
                    return _refused(query, error)
    except TimeoutError:
        return _cannot(query, f"It did not answer within its {query.timeout_seconds:g} s.")
    except (psycopg.OperationalError, DrillError) as error:
        return _cannot(query, f"No connection to run it on: {describe(error)}.")
    result = _judge(query, measured, context.query_baselines.get(query.name))
    return result.model_copy(update={"elapsed_seconds": time.monotonic() - begun})


async def _measure(connection: Connection, query: WatchedQuery, major: int) -> QueryBaseline:
    execute, runnable = await _prepared(connection, query)
    plan = read_plan(await _explain(connection, "FORMAT JSON", execute))
    times: list[float] = []
    deadline = time.monotonic() + SECONDS
    # The first execution fills the caches and is not counted.
    for number in range(EXECUTIONS + 1 if runnable else 0):
        told = (await _explain(connection, "ANALYZE, TIMING OFF, SUMMARY ON, FORMAT JSON", execute))[0]
        if number:
            times.append(float(told["Planning Time"]) + float(told["Execution Time"]))
        if times and time.monotonic() > deadline:
            break
    latencies = (Latency(p50=percentile(times, 50), p95=percentile(times, 95)),) if times else ()
    return QueryBaseline(digest=query_digest(query), server_version=major, plan=plan, latencies=latencies)


async def run_once(connection: Connection, query: WatchedQuery) -> bool:
    """Run a query for what it does to the caches; its rows stay in the server.

    :return: False when nothing was run: the role has power, or the query's parameters aren't given.
    :raises psycopg.Error: as the server gave it.
    """
    if not await begin_powerless(connection, query.timeout_seconds):
        return False
    execute, runnable = await _prepared(connection, query)
    if runnable:
        await _explain(connection, "ANALYZE, TIMING OFF, FORMAT JSON", execute)
    return runnable


async def _prepared(connection: Connection, query: WatchedQuery) -> tuple[sql.Composed, bool]:
    """Prepare a query; the statement that executes it, and whether it has all that it needs to be run, not only planned."""
    cursor = connection.cursor()
    # A binary answer is asked for because it takes the extended protocol, and that takes one statement only.
    await cursor.execute(sql.SQL("PREPARE {} AS ").format(_NAME).as_bytes(connection) + query.sql.encode(), binary=True)
    await cursor.execute("SELECT pg_catalog.cardinality(parameter_types) FROM pg_catalog.pg_prepared_statements")
    (wanted,) = await cursor.fetchone() or (0,)
    generic = wanted > 0 and not query.parameters
    await cursor.execute(
        "SELECT pg_catalog.set_config('plan_cache_mode', %s, true)",
        ("force_generic_plan" if generic else "force_custom_plan",),
    )
    values = (None,) * wanted if generic else query.parameters
    given = sql.SQL(" ({})").format(sql.SQL(", ").join(sql.Literal(value) for value in values)) if values else sql.SQL("")
    return sql.SQL("EXECUTE {}").format(_NAME) + given, not generic


async def _explain(connection: Connection, options: str, execute: sql.Composed) -> Any:
    statement = sql.SQL("EXPLAIN ({}) {}").format(sql.SQL(options), execute)
    row = await (await connection.execute(statement)).fetchone()
    return row[0] if row is not None else []


def query_digest(query: WatchedQuery) -> str:
    """What a query's baseline is valid for."""
    parts = (query.database, query.sql, *(repr(value) for value in query.parameters))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _judge(query: WatchedQuery, measured: QueryBaseline, kept: QueryBaseline | None) -> CheckResult:
    facts: dict[str, Any] = {"database": query.database, "plan": str(measured.plan.root), "cost": measured.plan.cost}
    # Kept for the next run when this one passes.
    facts["baseline"] = measured.model_dump(mode="json")
    now, numbers = measured.latency, {}
    if now is not None:
        numbers = {f"query.{query.name}.p50_milliseconds": now.p50, f"query.{query.name}.p95_milliseconds": now.p95}
    result = CheckResult(name=f"query:{query.name}", verdict=Verdict.PASSED, measurements=numbers, facts=facts)
    if kept is None or (kept.digest, kept.server_version) != (measured.digest, measured.server_version):
        return result.model_copy(
            update={
                "verdict": Verdict.COULD_NOT_VERIFY,
                "signature": "NO_REFERENCE",
                "required": False,
                "detail": "There is no earlier good run of this query to compare with yet; this one is kept if the gate passes.",
            }
        )
    facts |= {"plan_before": str(kept.plan.root), "cost_before": kept.plan.cost}
    result = result.model_copy(update={"facts": facts})
    lost = degraded(kept.plan, measured.plan, query.max_ratio)
    if lost:
        detail = (
            f"It reads all of {', '.join(lost)}, which it reached through an index before; by the planner it costs "
            f"{measured.plan.cost:.0f} instead of {kept.plan.cost:.0f}."
        )
        return result.model_copy(update={"verdict": Verdict.FAILED, "signature": "QUERY_PLAN_DEGRADED", "detail": detail})
    before = kept.latency
    if now is None or before is None:
        return result.model_copy(update={"detail": "Planned as before, or at no higher a cost; it was not timed."})
    ratio = now.p50 / before.p50 if before.p50 else 1.0
    result = result.model_copy(update={"measurements": {**numbers, f"query.{query.name}.ratio": ratio}})
    told = f"p50 {now.p50:.1f} ms, p95 {now.p95:.1f} ms; before {before.p50:.1f} and {before.p95:.1f} ms"
    if slower(before, now, query.max_ratio):
        detail = f"More than {query.max_ratio:g} times slower than in earlier good runs: {told}."
        return result.model_copy(update={"verdict": Verdict.FAILED, "signature": "QUERY_SLOW", "detail": detail})
    return result.model_copy(update={"detail": f"Planned and answered as before: {told}."})


def _refused(query: WatchedQuery, error: psycopg.Error) -> CheckResult:
    if isinstance(error, (errors.QueryCanceled, errors.LockNotAvailable)):
        return _cannot(query, f"It did not answer within its {query.timeout_seconds:g} s.")
    if is_corruption(error):
        return CheckResult(
            name=f"query:{query.name}",
            verdict=Verdict.FAILED,
            signature="DATA_CORRUPT",
            detail=f"The data it reads are damaged: {condition(error)}.",
        )
    told = condition(error)
    if isinstance(error, _PLAIN) and not error.diag.context:
        told = mask(f"{told}: {error.diag.message_primary}")
    return _cannot(query, f"It could not be run: {told}.")


def _cannot(query: WatchedQuery, detail: str) -> CheckResult:
    return CheckResult(name=f"query:{query.name}", verdict=Verdict.COULD_NOT_VERIFY, signature="QUERY_ERROR", detail=detail)
