"""What production uses most, by its own statistics, which no backup holds.

Cumulative statistics are thrown away when a server recovers, so they are read with the reference or not at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import psycopg

from airflow_dr_provider.checks.naming import label
from airflow_dr_provider.checks.parallel import Connection
from airflow_dr_provider.checks.sql_errors import describe
from airflow_dr_provider.domain.reference import DatabaseReference, HotRelation

_MOST = 500
_HOTTEST = """
SELECT schema, relation, touched FROM (
  SELECT schemaname, relname, coalesce(heap_blks_read, 0) + coalesce(heap_blks_hit, 0)
  FROM pg_catalog.pg_statio_user_tables
  UNION ALL
  SELECT schemaname, indexrelname, coalesce(idx_blks_read, 0) + coalesce(idx_blks_hit, 0)
  FROM pg_catalog.pg_statio_user_indexes
) used (schema, relation, touched)
WHERE touched > 0 ORDER BY touched DESC, schema, relation LIMIT %s
"""


async def with_hottest(
    connect: Callable[[str], Awaitable[Connection]], databases: Sequence[DatabaseReference]
) -> tuple[DatabaseReference, ...]:
    """Databases of production's reference with what they use most; one whose statistics can't be read says so in its notes."""
    return tuple([await _with(connect, database) if database.captured else database for database in databases])


async def _with(connect: Callable[[str], Awaitable[Connection]], database: DatabaseReference) -> DatabaseReference:
    try:
        async with await connect(database.name) as connection:
            rows = await (await connection.execute(_HOTTEST, (_MOST,))).fetchall()
    except psycopg.Error as error:
        note = f"what is used most in {database.name} is not known: {describe(error)}"
        return database.model_copy(update={"notes": (*database.notes, note)})
    hottest = tuple(HotRelation(name=label(schema, relation), touched=touched) for schema, relation, touched in rows)
    return database.model_copy(update={"hottest": hottest})
