"""The verification ledger: each item of a repository as it was when it was read last. A million rows are no exception."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from importlib import import_module
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.verification import Mark, RepositoryItem, Verified
from airflow_dr_provider.state.database import Database
from airflow_dr_provider.state.tables import verified

_BATCH = 500
"""Names in one statement, and rows that are fetched at once."""

_KEY = ("repository", "name")


class VerificationLedger:
    """What was verified, by repository and item.

    :raises StateError: from every method when the database can't be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, repository: str, names: Iterable[str]) -> dict[str, Verified]:
        """What is known of items, by name; those that were never read are left out."""
        found: dict[str, Verified] = {}
        with self._database.reading() as connection:
            _use_the_key(connection)
            for some in _batches(names):
                wanted = sa.select(verified).where(verified.c.repository == repository, verified.c.name.in_(some))
                found.update((entry.item.name, entry) for entry in map(_entry, connection.execute(wanted)))
        return found

    def marks(self, repository: str, names: Iterable[str]) -> dict[str, Mark]:
        """What tells whether items are due, by name; those that were never read are left out."""
        found: dict[str, Mark] = {}
        columns = verified.c.name, *(verified.c[name] for name in ("size", "stamp", "verified_at", "fault_code", "unfinished"))
        with self._database.reading() as connection:
            _use_the_key(connection)
            for some in _batches(names):
                wanted = sa.select(*columns).where(verified.c.repository == repository, verified.c.name.in_(some))
                for name, size, stamp, at, code, unfinished in connection.execute(wanted):
                    found[name] = Mark(size, stamp, at, code is not None, unfinished)
        return found

    def count(self, repository: str) -> int:
        """How many items are known."""
        with self._database.reading() as connection:
            counted = sa.select(sa.func.count()).select_from(verified).where(verified.c.repository == repository)
            return int(connection.execute(counted).scalar_one())

    def keep(self, repository: str, entries: Sequence[Verified]) -> None:
        """Write entries, or write them anew: all of them or none."""
        if not entries:
            return
        with self._database.writing() as connection:
            connection.execute(_upsert(connection), [_row(repository, entry) for entry in entries])

    def longest_unread(
        self, repository: str, *, before: datetime, backups: Collection[str] | None = None
    ) -> Generator[Verified, None, None]:
        """Sound items that were read last before a moment, the longest unread first; one at a time whatever their number.

        Use it with :func:`contextlib.closing`, for it reads as long as it is open.

        :param backups: only items of these.
        """
        wanted = sa.select(verified).where(
            verified.c.repository == repository, verified.c.verified_at < before, verified.c.fault_code.is_(None)
        )
        if backups is not None:
            wanted = wanted.where(verified.c.backup_id.in_(backups))
        with self._database.reading() as connection:
            ordered = _by_index(wanted.order_by(verified.c.verified_at, verified.c.name), "verified_at")
            for row in _streamed(connection, ordered):
                yield _entry(row)

    def faulty(self, repository: str) -> tuple[Verified, ...]:
        """Items in which the last reading found a fault, by name."""
        wanted = sa.select(verified).where(verified.c.repository == repository, verified.c.fault_code.is_not(None))
        with self._database.reading() as connection:
            found = connection.execute(_by_index(wanted.order_by(verified.c.name), "fault_code"))
            return tuple(map(_entry, found))

    def names(self, repository: str) -> Iterator[str]:
        """The name of every item, in no order; one at a time."""
        with self._database.reading() as connection:
            wanted = sa.select(verified.c.name).where(verified.c.repository == repository)
            yield from (row.name for row in _streamed(connection, wanted))

    def forget(self, repository: str, names: Iterable[str]) -> int:
        """Remove items; how many there were."""
        removed = 0
        with self._database.writing() as connection:
            _use_the_key(connection)
            for some in _batches(names):
                same = (verified.c.repository == repository, verified.c.name.in_(some))
                removed += connection.execute(verified.delete().where(*same)).rowcount
        return removed


def _upsert(connection: Connection) -> sa.Executable:
    """Insert rows, or change those that are there; both dialects say it alike."""
    # Each dialect takes long to import; the one in use is there already.
    insert = import_module(f"sqlalchemy.dialects.{connection.dialect.name}").insert(verified)
    changed = {column.name: insert.excluded[column.name] for column in verified.c if column.name not in _KEY}
    statement: sa.Executable = insert.on_conflict_do_update(index_elements=_KEY, set_=changed)
    return statement


def _use_the_key(connection: Connection) -> None:
    """Have names looked up by the key. PostgreSQL takes some hundred names for the whole table until that is analysed."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))


def _by_index(statement: sa.Select[Any], column: str) -> sa.Select[Any]:
    """Have SQLite go by a column's index, where it would go through all rows of the repository."""
    return statement.with_hint(verified, f"INDEXED BY ix_dr_verified_{column}", "sqlite")


def _streamed(connection: Connection, statement: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
    return iter(connection.execution_options(stream_results=True, yield_per=_BATCH).execute(statement))


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    source = iter(names)
    while some := list(islice(source, _BATCH)):
        yield some


def _row(repository: str, entry: Verified) -> dict[str, Any]:
    item, fault = entry.item, entry.fault
    return {
        "repository": repository,
        "name": item.name,
        "size": item.size,
        "stamp": item.stamp,
        "backup_id": item.backup_id,
        "timeline": item.segment.timeline if item.segment is not None else None,
        "segment": item.segment.first if item.segment is not None else None,
        "checksum": entry.checksum,
        "compared": entry.compared,
        "unfinished": entry.unfinished,
        "verified_at": entry.verified_at,
        "verified_by": entry.verified_by,
        "fault_code": fault.code if fault is not None else None,
        "fault_detail": fault.detail if fault is not None else None,
    }


def _entry(row: sa.Row[Any]) -> Verified:
    _, name, size, stamp, backup_id, timeline, number, checksum, compared, unfinished, at, by, code, detail = tuple(row)
    segment = None if number is None else SegmentRange(timeline=timeline, first=number, last=number)
    return Verified(
        item=RepositoryItem(name=name, size=size, stamp=stamp, backup_id=backup_id, segment=segment),
        checksum=checksum,
        compared=compared,
        unfinished=unfinished,
        verified_at=at,
        verified_by=by,
        fault=None if code is None else BackupFault(code=code, path=name, detail=detail),
    )
