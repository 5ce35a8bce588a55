"""Compare every database of a restored server with the reference: what the schema and index checks share."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors

from airflow_dr_provider.checks import counting
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.drift import Difference, compare, database_difference
from airflow_dr_provider.checks.fingerprint import capture_database
from airflow_dr_provider.checks.parallel import CONNECTIONS, any_connection
from airflow_dr_provider.checks.transaction_ids import widen
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reference import DatabaseReference, ObjectKind, Reference

_LISTED = 100


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The two moments that excuses are judged by.

    :param same_system: False when the reference is of a cluster with another system identifier.
    """

    reference_next: int | None
    reference_lsn: Lsn | None
    restored_next: int | None
    restored_lsn: Lsn | None
    same_system: bool

    @property
    def reference_is_later(self) -> bool | None:
        """Whether the reference was taken after the recovered point; None when that can't be told."""
        if not self.same_system:
            return None
        if self.reference_lsn is not None and self.restored_lsn is not None:
            return self.reference_lsn > self.restored_lsn
        if self.reference_next is not None and self.restored_next is not None:
            return self.reference_next > self.restored_next
        return None

    @property
    def as_arguments(self) -> dict[str, Any]:
        """For :func:`~airflow_dr_provider.checks.drift.compare`: nothing of another system's numbers."""
        return {
            "reference_next": self.reference_next if self.same_system else None,
            "reference_lsn": self.reference_lsn if self.same_system else None,
            "restored_next": self.restored_next,
            "restored_lsn": self.restored_lsn,
        }


@dataclass(frozen=True, kw_only=True)
class ClusterDrift:
    """What was found.

    :param differences: of all databases, whole databases among them.
    :param restored: the restored databases that were read.
    :param uncompared: databases of the restored server that the reference doesn't hold, and why that matters.
    """

    differences: tuple[Difference, ...] = ()
    restored: tuple[DatabaseReference, ...] = ()
    uncompared: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Difference, ...]:
        """The differences that nothing excuses."""
        return tuple(item for item in self.differences if not item.excused)

    @property
    def excused(self) -> tuple[Difference, ...]:
        """The differences that production's own work explains."""
        return tuple(item for item in self.differences if item.excused)


async def cluster_facts(context: CheckContext) -> tuple[int | None, dict[str, int | None]]:
    """The restored server's system identifier, and its databases with the transaction that wrote each one's row."""
    async with await any_connection(context) as connection:
        row = await (await connection.execute("SELECT system_identifier FROM pg_control_system()")).fetchone()
        next_transaction = await counting.next_transaction(connection)
        cursor = await connection.execute("SELECT datname, xmin::text::bigint FROM pg_database WHERE datallowconn")
        databases = {name: widen(xid, next_transaction) for name, xid in await cursor.fetchall()}
    return (int(row[0]) % (1 << 64) if row else None), databases


def moments(context: CheckContext, reference: Reference, system_identifier: int | None) -> Moments:
    """When the reference was taken, and where the restored server was recovered to."""
    return Moments(
        reference_next=reference.next_transaction,
        reference_lsn=reference.lsn,
        restored_next=context.recovery.next_transaction,
        restored_lsn=context.recovery.replayed_lsn,
        same_system=reference.system_identifier in (None, system_identifier) or system_identifier is None,
    )


async def restored_databases(
    context: CheckContext, kinds: Collection[ObjectKind], names: Iterable[str] | None = None
) -> tuple[DatabaseReference, ...]:
    """Read the restored databases' objects side by side.

    :param names: the databases to read; all of the context's when None.
    """
    limit = asyncio.Semaphore(CONNECTIONS)

    async def read(name: str) -> DatabaseReference:
        async with limit, await context.connect(name, "admin") as connection:
            found = await capture_database(connection, count_rows=False, kinds=kinds)
            return found.model_copy(update={"name": name})

    return tuple(await asyncio.gather(*(read(name) for name in (context.databases if names is None else names))))


async def cluster_drift(context: CheckContext, reference: Reference, kinds: Collection[ObjectKind]) -> ClusterDrift:
    """Compare all that both sides hold.

    :raises psycopg.Error: when a restored catalog can't be read.
    """
    system_identifier, there = await cluster_facts(context)
    moment = moments(context, reference, system_identifier)
    names = [name for name in context.databases if name in there]
    restored = {database.name: database for database in await restored_databases(context, kinds, names)}
    before = {database.name: database for database in reference.databases}
    found: list[Difference] = []
    uncompared: list[str] = []
    for name, database in before.items():
        if name not in there:
            found.append(database_difference(name, change="missing", changed_by=database.changed_by, **moment.as_arguments))
        elif name not in restored or not database.captured:
            uncompared.append(f"{name}: {'; '.join(database.notes) or 'left out by the spec'}")
        else:
            found += await _compare(context, database, restored[name], _comparable(database, kinds, moment), moment)
    for name in set(context.databases) - there.keys() - before.keys():
        found.append(database_difference(name, change="missing", changed_by=None, **moment.as_arguments))
    for name in restored.keys() - before.keys():
        extra = database_difference(name, change="extra", changed_by=there[name], **moment.as_arguments)
        if extra.excused:
            found.append(extra)
        else:
            uncompared.append(f"{name}: the reference doesn't hold this database")
    facts: dict[str, Any] = {
        "reference": {
            "source": reference.source,
            "captured_at": reference.captured_at.isoformat(),
            "later_than_recovered_point": moment.reference_is_later,
            "same_system": moment.same_system,
        },
        "kinds_not_in_reference": sorted(
            {str(kind) for database in before.values() for kind in kinds}
            - {str(kind) for database in before.values() for kind in database.compared}
        ),
        "objects_compared": sum(len(database.objects) for name, database in restored.items() if name in before),
    }
    return ClusterDrift(
        differences=tuple(sorted(found, key=lambda item: (item.database, item.kind, item.name))),
        restored=tuple(restored.values()),
        uncompared=tuple(sorted(uncompared)),
        facts=facts,
    )


def _comparable(database: DatabaseReference, kinds: Collection[ObjectKind], moment: Moments) -> tuple[ObjectKind, ...]:
    """The kinds that a reference has; rights are told by numbers of roles, which mean nothing on another system."""
    elsewhere = () if moment.same_system else (ObjectKind.PRIVILEGES, ObjectKind.SETTING)
    return tuple(kind for kind in kinds if kind in database.compared and kind not in elsewhere)


async def _compare(
    context: CheckContext,
    before: DatabaseReference,
    after: DatabaseReference,
    kinds: Collection[ObjectKind],
    moment: Moments,
) -> tuple[Difference, ...]:
    found = compare(before, after, kinds=kinds, **moment.as_arguments)
    suspects = {item.written_by for item in found if not item.excused and item.written_by is not None}
    if not suspects or moment.reference_is_later is not True:
        return found
    async with await context.connect(after.name, "admin") as connection:
        unfinished = await uncommitted(connection, suspects)
    return compare(before, after, kinds=kinds, uncommitted=unfinished, **moment.as_arguments) if unfinished else found


async def uncommitted(connection: psycopg.AsyncConnection[tuple[Any, ...]], transactions: Iterable[int]) -> frozenset[int]:
    """Which of production's transactions the restored server doesn't know as committed (``pg_xact_status``).

    One that was under way at the recovered point counts as aborted there, though production committed it later. Ids too old
    for the commit log are committed: their rows would not be visible otherwise.
    """
    found = set()
    for xid in transactions:
        try:
            row = await (await connection.execute("SELECT pg_xact_status(%s::text::xid8)", (str(xid),))).fetchone()
        except errors.InvalidParameterValue:
            # "in the future": the restored server never gave that id out.
            found.add(xid)
            continue
        if row is not None and row[0] == "aborted":
            found.add(xid)
    return frozenset(found)


def listed(differences: Collection[Difference]) -> list[dict[str, str]]:
    """Differences for a record: at most a hundred."""
    return [
        {"database": item.database, "kind": str(item.kind), "name": item.name, "change": item.change, "why": item.why}
        for item in list(differences)[:_LISTED]
    ]


def in_words(differences: Collection[Difference], *, shown: int = 3) -> str:
    """Differences for a sentence."""
    items = list(differences)
    text = "; ".join(
        f"{item} (database {item.database})" if item.kind is not ObjectKind.DATABASE else str(item) for item in items[:shown]
    )
    return text + (f"; and {len(items) - shown} more" if len(items) > shown else "")
