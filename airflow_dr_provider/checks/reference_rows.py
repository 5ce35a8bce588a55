"""What a reference says of a database's contents: rows counted and sequences read, each within its own little time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import errors

from airflow_dr_provider.checks import counting, numbering
from airflow_dr_provider.checks.sql_errors import describe
from airflow_dr_provider.domain.reference import SequenceState, TableRows

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Item = TypeVar("Item")
T = TypeVar("T")

_COUNTED_UP_TO = 1_000_000
_SECONDS_A_TABLE = 5.0
_SECONDS_A_SEQUENCE = 1.0
_SEQUENCES_SHARE = 0.25
_LOCK_TIMEOUT = "1s"
_NAMED_IN_NOTES = 5


async def count_rows(connection: Connection, timeout: float) -> tuple[tuple[TableRows, ...], tuple[str, ...]]:
    """The rows of every table that the account may read, and notes about the others."""
    deadline = time.monotonic() + timeout
    counted: list[TableRows] = []
    denied: list[str] = []
    unread: list[str] = []
    for table in await counting.list_tables(connection):
        try:
            counted.append(await _rows(connection, table, deadline))
        except errors.InsufficientPrivilege:
            denied.append(table.label)
        except psycopg.Error as error:
            if connection.closed:
                raise
            unread.append(f"{table.label}: {describe(error)}")
    notes = [f"no right to count the rows of {_some(denied)}"] if denied else []
    notes += [f"rows not counted: {text}" for text in unread]
    return tuple(sorted(counted, key=lambda rows: rows.name)), tuple(notes)


async def _rows(connection: Connection, table: counting.Table, deadline: float) -> TableRows:
    left = deadline - time.monotonic()
    if table.estimate <= _COUNTED_UP_TO and left > 0:
        try:
            return await _bounded(connection, table, counting.count, min(left, _SECONDS_A_TABLE))
        except (errors.QueryCanceled, errors.LockNotAvailable):
            pass
    return await _bounded(connection, table, counting.estimate, _SECONDS_A_TABLE)


async def read_sequences(connection: Connection, timeout: float) -> tuple[SequenceState, ...]:
    """The sequences that number a column, and whether each is behind it; without an answer where there is no right or time."""
    deadline = time.monotonic() + timeout * _SEQUENCES_SHARE
    found = []
    for sequence in await numbering.list_sequences(connection):
        state = sequence.unknown
        if deadline > time.monotonic():
            try:
                state = await _bounded(connection, sequence, numbering.read, _SECONDS_A_SEQUENCE)
            except psycopg.Error:
                # Nothing to tell a person: a reference without this sequence's state fails nothing.
                if connection.closed:
                    raise
        found.append(state)
    return tuple(found)


async def _bounded(connection: Connection, item: Item, work: Callable[[Connection, Item], Awaitable[T]], seconds: float) -> T:
    # Rolled back, a savepoint gives every lock back: production's DDL waits for one count at most.
    async with connection.transaction(force_rollback=True):
        await connection.execute(
            "SELECT pg_catalog.set_config('statement_timeout', %s, true), pg_catalog.set_config('lock_timeout', %s, true)",
            (str(max(1, int(seconds * 1000))), _LOCK_TIMEOUT),
        )
        return await work(connection, item)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_IN_NOTES
    return ", ".join(names[:_NAMED_IN_NOTES]) + (f" and {more} more" if more > 0 else "")
