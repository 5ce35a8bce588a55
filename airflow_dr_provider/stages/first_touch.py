"""How long the first touch of a block takes, before and after the caches were warmed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from airflow_dr_provider.domain.warming import Portion, samples

_TABLES = 8
_BLOCKS = 32

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def first_touch(connection: Connection, portions: Sequence[Portion], *, second: bool) -> tuple[float, int]:
    """Read single blocks of the hottest tables, each by its number.

    Cold means not in the server's buffers: what a restore has just written may still be in the page cache of its host.

    :param portions: of this connection's database, the hottest first.
    :param second: whether these are the blocks after warming, which the first measurement left alone.
    :return: seconds, and how many blocks were touched.
    """
    seconds, touched = 0.0, 0
    tables = [portion for portion in portions if not portion.relation.is_index and portion.relation.schema_name != "pg_toast"]
    for portion in tables[:_TABLES]:
        blocks = samples(portion.blocks, _BLOCKS, second=second)
        query = sql.SQL("SELECT count(*) FROM ONLY {} WHERE ctid = ANY ({}::tid[])")
        named = sql.Identifier(portion.relation.schema_name, portion.relation.name)
        # Once for nothing, so that catalogs and plan are there before the clock runs.
        await connection.execute(query.format(named, sql.Literal([])))
        begun = time.monotonic()
        await connection.execute(query.format(named, sql.Literal([f"({block},1)" for block in blocks])))
        seconds += time.monotonic() - begun
        touched += len(blocks)
    return seconds, touched
