"""Rows of tables: counted where time allows, estimated where it doesn't."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from airflow_dr_provider.checks.catalog_parts import DRILL_SCHEMA
from airflow_dr_provider.checks.naming import label
from airflow_dr_provider.domain.reference import TableRows

_SAMPLE = 100

# Large objects are rows of two catalogs; the one that every account may read has a row for each.
_TABLES = f"""
SELECT n.nspname, c.relname, c.reltuples::bigint, c.relpersistence = 'u', pg_catalog.pg_relation_size(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND (c.oid = 'pg_catalog.pg_largeobject_metadata'::pg_catalog.regclass
    OR n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', '{DRILL_SCHEMA}'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
    WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY 5 DESC, 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with rows of its own: ordinary ones and partitions, no partitioned parents.

    :param estimate: ``pg_class.reltuples``: -1 when it was never vacuumed or analysed.
    :param size_bytes: of its main fork.
    """

    schema: str
    name: str
    estimate: int
    unlogged: bool
    size_bytes: int

    @property
    def label(self) -> str:
        """Its name as a reference says it."""
        return label(self.schema, self.name)

    @property
    def identifier(self) -> sql.Identifier:
        """Its name, quoted for a statement."""
        return sql.Identifier(self.schema, self.name)


async def list_tables(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> tuple[Table, ...]:
    """The user's tables of a database, the largest first."""
    cursor = await connection.execute(_TABLES)
    return tuple(
        Table(schema=schema, name=name, estimate=estimate, unlogged=unlogged, size_bytes=size or 0)
        for schema, name, estimate, unlogged, size in await cursor.fetchall()
    )


async def next_transaction(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> int:
    """The first 64-bit transaction id that the current snapshot knows as not yet given out."""
    cursor = await connection.execute("SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def count(connection: psycopg.AsyncConnection[tuple[Any, ...]], table: Table) -> TableRows:
    """Count a table's rows by reading every page of it.

    :raises psycopg.Error: as the server gave it: no right, out of time, damaged data.
    """
    # An index alone could answer count(*), and would prove nothing about the heap: xmin is in no index.
    cursor = await connection.execute(
        sql.SQL("SELECT pg_catalog.count(*), pg_catalog.max(pg_catalog.age(xmin)) FROM ONLY {}").format(table.identifier)
    )
    row = await cursor.fetchone()
    rows, age = row or (0, None)
    return TableRows(
        name=table.label, rows=rows, exact=True, unlogged=table.unlogged, oldest_row=await _written(connection, age)
    )


async def count_by_index(connection: psycopg.AsyncConnection[tuple[Any, ...]], table: Table) -> int | None:
    """Count a table's rows by walking an index of it; None where it has none that holds every row.

    An index remembers rows of a page that the heap has lost: counts that differ show what no page's own contents can.

    :raises psycopg.Error: as the server gave it; damaged data where an entry points behind the heap's end.
    """
    statement = sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {}").format(table.identifier)
    async with connection.transaction(force_rollback=True):
        for setting in ("enable_seqscan", "enable_bitmapscan"):
            await connection.execute(sql.SQL("SET LOCAL {} = off").format(sql.Identifier(setting)))
        await connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        plan = await (await connection.execute(sql.SQL("EXPLAIN (FORMAT TEXT) {}").format(statement))).fetchall()
        if not any("Index" in line for (line,) in plan):
            return None
        row = await (await connection.execute(statement)).fetchone()
    return int(row[0]) if row else None


async def estimate(connection: psycopg.AsyncConnection[tuple[Any, ...]], table: Table) -> TableRows:
    """The planner's idea of a table's rows, and a look at the first of them.

    :raises psycopg.Error: as the server gave it.
    """
    rows = table.estimate
    if rows < 0:
        cursor = await connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM ONLY {}").format(table.identifier))
        plan = await cursor.fetchone()
        read = json.loads(plan[0]) if plan and isinstance(plan[0], str) else plan[0] if plan else []
        rows = int(read[0]["Plan"]["Plan Rows"]) if read else 0
    cursor = await connection.execute(
        sql.SQL("SELECT pg_catalog.max(pg_catalog.age(x)) FROM (SELECT xmin AS x FROM ONLY {} LIMIT {}) s").format(
            table.identifier, sql.Literal(_SAMPLE)
        )
    )
    found = await cursor.fetchone()
    age = found[0] if found else None
    return TableRows(
        name=table.label, rows=rows, exact=False, unlogged=table.unlogged, oldest_row=await _written(connection, age)
    )


async def _written(connection: psycopg.AsyncConnection[tuple[Any, ...]], age: int | None) -> int | None:
    """The 64-bit id of a transaction of that age. Negative ages belong to frozen rows from more than 2^31 ids ago."""
    if age is None:
        return None
    # age() counts from the next id as the server read it first in this transaction; ask the same way.
    cursor = await connection.execute("SELECT pg_catalog.age('3'::pg_catalog.xid)")
    row = await cursor.fetchone()
    low = (3 + int(row[0])) & 0xFFFFFFFF if row else 0
    snapshot = await next_transaction(connection)
    now = snapshot + ((low - snapshot) & 0xFFFFFFFF)
    return max(3, now - age) if age >= 0 else 3
