"""Warm the caches of a restored server, where the tier asks for it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from airflow_dr_provider.checks.catalog_parts import DRILL_SCHEMA
from airflow_dr_provider.checks.naming import label
from airflow_dr_provider.checks.query_plans import run_once
from airflow_dr_provider.checks.sql_errors import condition, describe
from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.domain.warming import Portion, Warmable, choose, heat_by_file, heat_by_name, read_autoprewarm
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.stages.databases import databases
from airflow_dr_provider.stages.first_touch import Connection, first_touch
from airflow_dr_provider.stages.production import kept_reference
from airflow_dr_provider.stages.routing import default_database, watched_queries

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext

BUDGETS = {"full": (4 << 30, 120.0), "light": (256 << 20, 15.0)}
"""For each level, how much may be read (bytes) and for how long (seconds)."""
AUTOPREWARM = "autoprewarm.blocks"
_LONGEST_LIST = 64 << 20
_IN_BUFFERS = 0.75
"""The share of the server's buffers that is filled; what comes after them goes to the page cache of the host."""

_RELATIONS = """
SELECT d.oid::bigint, c.oid::bigint, n.nspname, c.relname, c.relkind = 'i',
  coalesce(nullif(c.reltablespace, 0), d.dattablespace)::bigint, pg_relation_filenode(c.oid)::bigint,
  pg_relation_size(c.oid) / current_setting('block_size')::int
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_database d ON d.datname = current_database()
WHERE c.relkind IN ('r', 'i', 'm', 't') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND c.relpersistence = 'p' AND pg_relation_size(c.oid) > 0
ORDER BY 3, 4
"""
_SERVER = """
SELECT current_setting('block_size')::bigint, setting::bigint * current_setting('block_size')::bigint
FROM pg_settings WHERE name = 'shared_buffers'
"""
_LIMIT = "SELECT pg_catalog.set_config('statement_timeout', %s, false)"


class _Server:
    """Connections to the databases that can be warmed, and what is in them."""

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.relations: list[Warmable] = []
        self.schemas: dict[str, str] = {}
        self.notes: list[str] = []


async def run(context: AttemptContext) -> StageResult:
    """Read relations into the caches, the hottest first, until the level's budget of bytes, memory or time is spent.

    ``full`` then runs the spec's queries once each. What couldn't be warmed makes a recovery slower, not wrong: it is said and
    measured, and fails nothing.
    """
    level = context.tier.cache_warming
    if level == "none":
        return StageResult(stage=StageName.WARM, verdict=Verdict.PASSED, detail="not asked for")
    handle = context.handle()
    room, seconds = BUDGETS[level]
    deadline = time.monotonic() + seconds
    available = available_memory()
    room = room if available is None else min(room, available // 2)
    async with AsyncExitStack() as stack:
        names = await databases(context, handle)
        server = await _opened(context, handle, names, stack)
        block_size, buffers = await _sizes(server)
        heat, known_from = _heat(context, handle, server)
        portions = choose(server.relations, heat, block_size=block_size, room=room)
        cold = await _touched(server, portions, second=False)
        warmed, relations = await _prewarm(server, portions, int(buffers * _IN_BUFFERS) // block_size, deadline)
        asked = await _queries(context, handle, names, deadline, server.notes) if level == "full" else 0
        warm = await _touched(server, portions, second=True)
    if relations < len(portions) or sum(portion.blocks for portion in portions) < sum(r.blocks for r in server.relations):
        server.notes.append("budget spent")
    read = warmed * block_size
    metrics = {"warmed_bytes": float(read), "relations": float(relations), "queries": float(asked)}
    if cold is not None and warm is not None:
        metrics |= {"cold_first_touch_seconds": cold, "warm_first_touch_seconds": warm}
    detail = "; ".join((f"{relations} relations, {read / 1e6:.1f} MB, the hottest by {known_from} first", *server.notes))
    return StageResult(
        stage=StageName.WARM, verdict=Verdict.PASSED, detail=detail, metrics=metrics, facts={"order": known_from}
    )


async def _opened(context: AttemptContext, handle: SandboxHandle, names: tuple[str, ...], stack: AsyncExitStack) -> _Server:
    server = _Server()
    for database in names:
        try:
            connection = await stack.enter_async_context(await context.sandbox.connect(handle, database))
            server.schemas[database] = await _install(connection)
        except (psycopg.Error, DrillError) as error:
            server.notes.append(f"{database}: pg_prewarm can't be used ({describe(error)})")
            continue
        server.connections[database] = connection
        for database_oid, oid, schema, name, is_index, tablespace, filenode, blocks in await (
            await connection.execute(_RELATIONS)
        ).fetchall():
            server.relations.append(
                Warmable(
                    database=database,
                    database_oid=database_oid,
                    oid=oid,
                    schema_name=schema,
                    name=name,
                    label=label(schema, name),
                    is_index=is_index,
                    tablespace=tablespace,
                    filenode=filenode or 0,
                    blocks=blocks,
                )
            )
    return server


async def _install(connection: Connection) -> str:
    """Make pg_prewarm usable in a database; the schema it lies in."""
    await connection.execute("SET session_replication_role = replica")
    schema = sql.Identifier(DRILL_SCHEMA)
    await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
    await connection.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS pg_prewarm SCHEMA {}").format(schema))
    row = await (
        await connection.execute(
            "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_prewarm'"
        )
    ).fetchone()
    return str((row or ("",))[0])


async def _sizes(server: _Server) -> tuple[int, int]:
    """Bytes of a block, and of the server's buffers."""
    for connection in server.connections.values():
        row = await (await connection.execute(_SERVER)).fetchone()
        if row is not None:
            return int(row[0]), int(row[1])
    return 8192, 0


def _heat(context: AttemptContext, handle: SandboxHandle, server: _Server) -> tuple[dict[int, int], str]:
    """How hot each relation is, and who says so: production's statistics, else autoprewarm's list in the backup, else nobody."""
    reference = kept_reference(context.services, context.inputs.reference_id)
    touched = {
        (database.name, relation.name): relation.touched
        for database in (reference.databases if reference is not None else ())
        for relation in database.hottest
    }
    heat = heat_by_name(server.relations, touched)
    if heat:
        return heat, "production's statistics"
    place = context.sandbox.data_directory(handle) / AUTOPREWARM
    try:
        heat = heat_by_file(server.relations, _listed(place))
    except OSError as error:
        server.notes.append(f"{AUTOPREWARM} can't be read ({error.strerror})")
    return (heat, "autoprewarm's list") if heat else ({}, "size")


def _listed(place: Path) -> dict[Any, int]:
    if place.is_symlink() or not place.is_file() or place.stat().st_size > _LONGEST_LIST:
        return {}
    with place.open(errors="replace") as lines:
        return dict(read_autoprewarm(lines))


async def _touched(server: _Server, portions: tuple[Portion, ...], *, second: bool) -> float | None:
    """Seconds for the first touch of one block, on average; None when there is no table to touch."""
    seconds, touched = 0.0, 0
    for database, connection in server.connections.items():
        mine = [portion for portion in portions if portion.relation.database == database]
        try:
            took, blocks = await first_touch(connection, mine, second=second)
        except psycopg.Error as error:
            # Whether the data are sound is for the gate to say.
            server.notes.append(f"{database}: a first touch could not be measured ({condition(error)})")
            continue
        seconds, touched = seconds + took, touched + blocks
    return seconds / touched if touched else None


async def _prewarm(server: _Server, portions: tuple[Portion, ...], buffers: int, deadline: float) -> tuple[int, int]:
    """Blocks and relations read."""
    warmed = relations = 0
    for portion in portions:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        database = portion.relation.database
        call = sql.SQL("SELECT {}.pg_prewarm({}::oid::regclass, {}, 'main', 0, {})").format(
            sql.Identifier(server.schemas[database]),
            sql.Literal(portion.relation.oid),
            # More than the buffers hold would only push out what came first, the hottest.
            sql.Literal("buffer" if warmed + portion.blocks <= buffers else "read"),
            sql.Literal(portion.blocks - 1),
        )
        try:
            await server.connections[database].execute(_LIMIT, (str(int(left * 1000) + 1),))
            await server.connections[database].execute(call)
        except psycopg.Error as error:
            server.notes.append(f"{portion.relation.label} could not be read ({condition(error)})")
            continue
        warmed, relations = warmed + portion.blocks, relations + 1
    return warmed, relations


async def _queries(
    context: AttemptContext, handle: SandboxHandle, names: tuple[str, ...], deadline: float, notes: list[str]
) -> int:
    """Run the spec's queries once each, in the time that is left; how many ran."""
    ran = 0
    for query in watched_queries(context, default_database(context, names)):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        bounded = replace(query, timeout_seconds=min(query.timeout_seconds, left))
        try:
            async with await context.sandbox.connect(handle, query.database, role="smoke") as connection:
                ran += await run_once(connection, bounded)
        except psycopg.Error as error:
            notes.append(f"query {query.name} did not run ({condition(error)})")
        except DrillError as error:
            notes.append(f"query {query.name} did not run ({describe(error)})")
    return ran


def available_memory() -> int | None:
    """Bytes that new work may take of this host (proc(5), MemAvailable); None where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None
