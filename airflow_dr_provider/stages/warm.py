"""Warm the caches of a restored server, where the tier asks for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext

BUDGETS = {"full": (4 << 30, 120.0), "light": (256 << 20, 15.0)}
"""For each level, how much may be read (bytes) and for how long (seconds)."""

# Indexes first: a lookup that finds its index warm costs one read instead of many. The statistics that would tell the
# hottest relations don't survive a recovery (PostgreSQL manual, "The Cumulative Statistics System").
_RELATIONS = """
SELECT c.oid::regclass::text, pg_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'i', 'm', 't') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND c.relpersistence = 'p' AND pg_relation_size(c.oid) > 0
ORDER BY c.relkind <> 'i', pg_relation_size(c.oid), 1
"""


async def run(context: AttemptContext) -> StageResult:
    """Read relations into the caches until the level's budget of bytes or time is spent.

    What couldn't be warmed makes a recovery slower, not wrong: it is said and measured, and fails nothing.
    """
    level = context.tier.cache_warming
    if level == "none":
        return StageResult(stage=StageName.WARM, verdict=Verdict.PASSED, detail="not asked for")
    room, seconds = BUDGETS[level]
    handle, begun = context.handle(), time.monotonic()
    warmed = relations = 0
    notes: list[str] = []
    for database in await databases(context, handle):
        async with await context.sandbox.connect(handle, database) as connection:
            try:
                await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
            except psycopg.Error as error:
                notes.append(f"{database}: pg_prewarm can't be installed ({str(error).splitlines()[0]})")
                continue
            for name, size in await (await connection.execute(_RELATIONS)).fetchall():
                if warmed + size > room or time.monotonic() - begun > seconds:
                    notes.append(f"{database}: budget spent")
                    break
                await connection.execute(sql.SQL("SELECT pg_prewarm({}::regclass)").format(sql.Literal(name)))
                warmed, relations = warmed + size, relations + 1
    detail = f"{relations} relations, {warmed / 1e6:.1f} MB" + (f"; {'; '.join(notes)}" if notes else "")
    return StageResult(stage=StageName.WARM, verdict=Verdict.PASSED, detail=detail, metrics={"warmed_bytes": float(warmed)})


async def databases(context: AttemptContext, handle: SandboxHandle) -> tuple[str, ...]:
    """The databases that the drill looks at: those of the spec, else every one that takes connections."""
    if context.spec.databases:
        return tuple(context.spec.databases)
    async with await context.sandbox.connect(handle, "template1") as connection:
        rows = await connection.execute(
            "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"
        )
        return tuple(str(row[0]) for row in await rows.fetchall())
