"""Capture what a database looks like: of production through a read-only account, and of a restored copy, by the same queries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg import errors

from airflow_dr_provider.checks import counting, reference_rows
from airflow_dr_provider.checks.catalog_queries import DEPENDENCIES, QUERIES
from airflow_dr_provider.checks.naming import label
from airflow_dr_provider.checks.role_facts import read_roles
from airflow_dr_provider.checks.sql_errors import describe
from airflow_dr_provider.checks.transaction_ids import widen
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reference import DatabaseReference, ObjectKind, Reference, SchemaObject

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# What would change the text of a definition, or make reading production harmful; for one transaction each.
_SETTINGS: dict[str, str] = {
    "search_path": "",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    # pg_get_expr() locks its table for the moment, and so waits for an ALTER TABLE or VACUUM FULL that is under way.
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5min",
}
_SECONDS_A_DATABASE = 120.0
_SECONDS_A_QUERY = 60.0
_TRIES = 3
_PASSING = (
    errors.InternalError_,
    errors.UndefinedObject,
    errors.UndefinedTable,
    errors.SerializationFailure,
    errors.LockNotAvailable,
)
# Long, or nothing that a reference should tell.
_DIGESTS = (ObjectKind.FUNCTION, ObjectKind.FOREIGN_SERVER, ObjectKind.SETTING)
_QUOTED_PLAIN = re.compile(r'"([a-z_][a-z0-9_$]*)"')


async def list_databases(connection: Connection) -> tuple[str, ...]:
    """The databases that take connections and are no templates, by name."""
    cursor = await connection.execute(
        "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"
    )
    return tuple(name for (name,) in await cursor.fetchall())


async def capture_database(
    connection: Connection,
    *,
    count_rows: bool = True,
    timeout: float = _SECONDS_A_DATABASE,
    kinds: Collection[ObjectKind] | None = None,
) -> DatabaseReference:
    """Read one database's objects, and count its tables' rows, in one read-only snapshot.

    A table is counted when the planner takes it for at most a million rows and counting ends in 5 seconds; else its rows are
    estimated. Tables that the account may not read are named in the notes.

    :param timeout: seconds for all counting; what is left then is estimated. A catalog query has at least a minute.
    :param kinds: the kinds of object to read; all when None.
    :raises psycopg.Error: when the catalogs can't be read.
    """
    wanted = tuple(ObjectKind(kind) for kind in (QUERIES if kinds is None else kinds))
    for attempt in range(1, _TRIES + 1):
        try:
            return await _capture(connection, count_rows=count_rows, timeout=timeout, kinds=wanted)
        except _PASSING:
            # A definition is made from the newest catalog rows: an object that was dropped since the snapshot can't be shown.
            # A standby ends what stands in the way of its replay. Somebody changes a table. The next try finds all that done.
            if attempt == _TRIES:
                raise
    raise AssertionError  # not reached


async def capture(
    connect: Callable[[str], Awaitable[Connection]],
    *,
    databases: Sequence[str] | None,
    source: str,
    now: datetime,
    timeout: float = _SECONDS_A_DATABASE,
) -> Reference:
    """Read a cluster, production or restored, one database after the other; nothing is written.

    Of a restored copy's reference only the objects and rows speak of production: its LSN and next transaction are the copy's own.

    :param connect: opens a connection to a database by name; "" for the connection's own.
    :param databases: the databases to read; every one that takes connections when None.
    :param source: ``production``, ``last_good_run`` or ``file``.
    :param timeout: seconds for counting the rows of one database.
    :raises psycopg.Error: when the server doesn't answer, or none of its databases can be read.
    """
    first = await _open(connect, "")
    try:
        names = tuple(databases) if databases is not None else await list_databases(first)
        cluster = await _cluster(first)
        written = await _databases_written(first, cluster["next_transaction"])
        roles = await read_roles(first)
    finally:
        await first.close()
    read: list[DatabaseReference] = []
    failure: psycopg.Error | None = None
    for name in names:
        try:
            connection = await _open(connect, name)
            try:
                found = await capture_database(connection, timeout=timeout)
            finally:
                await connection.close()
        except psycopg.Error as error:
            failure = error
            found = DatabaseReference(
                name=name, captured=False, notes=(f"database {name} could not be read: {describe(error)}",)
            )
        read.append(found.model_copy(update={"name": name, "changed_by": written.get(name)}))
    if failure is not None and not any(database.captured for database in read):
        raise failure
    return Reference(source=source, captured_at=now, databases=tuple(read), roles=roles, **cluster)


async def _open(connect: Callable[[str], Awaitable[Connection]], database: str) -> Connection:
    connection = await connect(database)
    if not connection.autocommit:
        await connection.set_autocommit(True)
    await connection.execute("SET default_transaction_read_only = on")
    return connection


async def _cluster(connection: Connection) -> dict[str, Any]:
    cursor = await connection.execute(
        """
        SELECT current_setting('server_version_num')::int / 10000,
          CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,
          pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
          CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END
        """
    )
    row = await cursor.fetchone()
    version, lsn, next_transaction, timeline = row or (0, None, None, None)
    # Every account may call these two unless somebody took the right away; then the rest must do without.
    identifier = await _one(connection, "SELECT system_identifier FROM pg_control_system()")
    if timeline is None:
        timeline = await _one(connection, "SELECT timeline_id FROM pg_control_checkpoint()")
    else:
        timeline = int(timeline, 16)
    # The catalog's function gives a signed bigint; the identifier is unsigned.
    return {
        "server_version": version,
        "lsn": None if lsn is None else Lsn(lsn),
        "next_transaction": next_transaction,
        "timeline": timeline,
        "system_identifier": None if identifier is None else int(identifier) % (1 << 64),
    }


async def _one(connection: Connection, query: str) -> Any:
    try:
        row = await (await connection.execute(query.encode())).fetchone()
    except errors.InsufficientPrivilege:
        return None
    return row[0] if row else None


async def _databases_written(connection: Connection, next_transaction: int) -> dict[str, int | None]:
    cursor = await connection.execute("SELECT datname, xmin::text::bigint FROM pg_catalog.pg_database")
    return {name: widen(xid, next_transaction) for name, xid in await cursor.fetchall()}


@asynccontextmanager
async def _snapshot(connection: Connection, timeout: float) -> AsyncIterator[None]:
    if not connection.autocommit:
        await connection.set_autocommit(True)
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        for name, value in {**_SETTINGS, "statement_timeout": str(_milliseconds(max(timeout, _SECONDS_A_QUERY)))}.items():
            await connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))
        yield
    finally:
        if not connection.closed:
            await connection.execute("ROLLBACK")


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


async def _capture(
    connection: Connection, *, count_rows: bool, timeout: float, kinds: Collection[ObjectKind]
) -> DatabaseReference:
    async with _snapshot(connection, timeout):
        next_transaction = await counting.next_transaction(connection)
        cursor = await connection.execute("SELECT current_database()")
        name = str((await cursor.fetchone() or ("",))[0])
        cursor = await connection.execute(DEPENDENCIES.encode(), {"next": next_transaction})
        dependencies: dict[str, int] = dict(await cursor.fetchall())
        objects: list[SchemaObject] = []
        # Showing a view's definition locks what it reads. Rolled back, a savepoint gives that back before the counting begins.
        async with connection.transaction(force_rollback=True):
            for kind in kinds:
                cursor = await connection.execute(QUERIES[kind].encode())
                objects += [_object(kind, row, next_transaction, dependencies) for row in await cursor.fetchall()]
        tables, notes = await reference_rows.count_rows(connection, timeout) if count_rows else ((), ())
        sequences = await reference_rows.read_sequences(connection, timeout) if count_rows else None
    return DatabaseReference(
        name=name,
        objects=tuple(sorted(objects, key=lambda item: (item.kind, item.name))),
        tables=tables,
        notes=notes,
        kinds=tuple(kinds),
        sequences=sequences,
    )


def _object(kind: ObjectKind, row: Sequence[Any], next_transaction: int, dependencies: Mapping[str, int]) -> SchemaObject:
    schema, relation, name, text, valid, rows, keys, parent_schema, parent, more, *arguments = row
    own = _newest(rows, next_transaction)
    written = [
        *(xid for xid in (own, _newest(more, next_transaction)) if xid is not None),
        *(dependencies[key] for key in keys if key in dependencies),
    ]
    # The name of an odd object is one that PostgreSQL has quoted already.
    named = _QUOTED_PLAIN.sub(r"\1", name) if kind is ObjectKind.OTHER else label(schema, relation, name)
    if arguments and arguments[0] is not None:
        named += "(" + _QUOTED_PLAIN.sub(r"\1", arguments[0]) + ")"
    newest = max(written, default=None)
    return SchemaObject(
        kind=kind,
        name=named,
        definition=_canonical(kind, name, text),
        changed_by=own,
        definition_changed_by=None if newest == own else newest,
        parent=label(parent_schema, parent),
        valid=valid,
    )


def _newest(xids: Sequence[int], next_transaction: int) -> int | None:
    wide = (widen(xid, next_transaction) for xid in xids)
    return max((xid for xid in wide if xid is not None), default=None)


def _canonical(kind: ObjectKind, name: str, text: str) -> str:
    if kind in _DIGESTS:
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    if kind is ObjectKind.INDEX:
        # Its own name is not part of what it is: a renamed index is still the same index.
        return text.replace(' INDEX "' + name.replace('"', '""') + '" ON', " INDEX ON", 1)
    if kind is ObjectKind.CONSTRAINT:
        return text.removesuffix(" NOT VALID")
    return text
