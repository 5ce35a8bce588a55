"""Sequences that number a column, and whether they are behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from airflow_dr_provider.checks.catalog_parts import RELATION
from airflow_dr_provider.checks.naming import label
from airflow_dr_provider.domain.reference import SequenceState

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_PAGES = 1000
"""A table of so many pages is read whole where no index on the column tells its end at once."""

# Identity columns, and those whose default draws from the sequence that they own. A cycling one comes round by design; an
# unlogged one begins anew after a recovery, as its table does.
_SEQUENCES = f"""
SELECT n.nspname, c.relname, an.nspname, ac.relname, a.attname, s.seqincrement, s.seqmin, s.seqmax,
  (ac.relkind <> 'p' AND ac.relpages <= {_PAGES}) OR EXISTS (
    SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = x.relam
    WHERE i.indrelid = ac.oid AND i.indkey[0] = a.attnum AND i.indpred IS NULL AND i.indisvalid AND m.amname = 'btree')
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_depend o ON o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.objid = c.oid
  AND o.deptype IN ('a', 'i') AND o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.refobjsubid > 0
JOIN pg_catalog.pg_class ac ON ac.oid = o.refobjid JOIN pg_catalog.pg_namespace an ON an.oid = ac.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = ac.oid AND a.attnum = o.refobjsubid
WHERE {RELATION}
  AND c.relpersistence = 'p' AND ac.relpersistence = 'p' AND NOT s.seqcycle
  AND a.atttypid IN ('int2'::pg_catalog.regtype, 'int4'::pg_catalog.regtype, 'int8'::pg_catalog.regtype)
  AND (a.attidentity <> '' OR EXISTS (
    SELECT FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_depend u
      ON u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND u.objid = d.oid
      AND u.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND u.refobjid = c.oid
    WHERE d.adrelid = ac.oid AND d.adnum = a.attnum))
ORDER BY 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A sequence and its column. *bounded*: whether the column's end can be found at a bounded cost."""

    schema: str
    name: str
    table_schema: str
    table: str
    column: str
    increment: int
    least: int
    most: int
    bounded: bool

    @property
    def unknown(self) -> SequenceState:
        """Its state before anybody looked."""
        return SequenceState(name=label(self.schema, self.name), column=label(self.table_schema, self.table, self.column))


async def list_sequences(connection: Connection) -> tuple[Sequence, ...]:
    """Every permanent sequence of the user's that numbers an integer column."""
    cursor = await connection.execute(_SEQUENCES.encode())
    fields = ("schema", "name", "table_schema", "table", "column", "increment", "least", "most", "bounded")
    return tuple(Sequence(**dict(zip(fields, row, strict=True))) for row in await cursor.fetchall())


async def read(connection: Connection, sequence: Sequence) -> SequenceState:
    """Where a sequence stands, and whether it is behind its column.

    :raises psycopg.Error: as the server gave it: no right, out of time, damaged data.
    """
    named = sql.Identifier(sequence.schema, sequence.name)
    cursor = await connection.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(named))
    value, called = await cursor.fetchone() or (None, False)
    state = sequence.unknown.model_copy(update={"last_value": value if called else None})
    if value is None or not sequence.bounded:
        return state
    upwards = sequence.increment > 0
    cursor = await connection.execute(
        sql.SQL("SELECT {}({}) FROM {} WHERE {} BETWEEN {} AND {}").format(
            sql.SQL("pg_catalog.max" if upwards else "pg_catalog.min"),
            sql.Identifier(sequence.column),
            sql.Identifier(sequence.table_schema, sequence.table),
            sql.Identifier(sequence.column),
            sql.Literal(sequence.least),
            sql.Literal(sequence.most),
        )
    )
    end = (await cursor.fetchone() or (None,))[0]
    if end is None:
        return state.model_copy(update={"behind": False})
    following = value + sequence.increment if called else value
    return state.model_copy(update={"behind": following <= end if upwards else following >= end})
