"""Both sides of the recovery target: what lies before it is there, what lies after it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

import psycopg
from psycopg import sql

from airflow_dr_provider.checks import counting
from airflow_dr_provider.checks.answers import failed, passed, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.extension import install
from airflow_dr_provider.checks.parallel import Connection, any_connection
from airflow_dr_provider.checks.sql_errors import describe
from airflow_dr_provider.checks.transaction_ids import widen
from airflow_dr_provider.checks.wal_replay import last_fork
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import ResolvedTarget, TargetKind
from airflow_dr_provider.domain.verdicts import CheckResult

_ENDS_READ = 100

# Segments may be of a gigabyte; what can't be read in this time is not read.
_READING = "20s"

# The new timeline begins in a copy of the old one's last segment, so the server still holds the records before the target.
_BEYOND = """
SELECT count(*) FROM {}.pg_get_wal_records_info(%(first)s::pg_catalog.pg_lsn, %(end)s::pg_catalog.pg_lsn)
WHERE start_lsn >= %(target)s::pg_catalog.pg_lsn
"""
_ENDS = """
SELECT start_lsn::text, xid::text, record_type, description
FROM {}.pg_get_wal_records_info(%(first)s::pg_catalog.pg_lsn, %(end)s::pg_catalog.pg_lsn)
WHERE resource_manager = 'Transaction' AND record_type ~ '^(COMMIT|ABORT)'
ORDER BY start_lsn DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, kw_only=True)
class TransactionRecord:
    """A commit or abort in the replayed WAL. *status*: what the server says of that transaction (``pg_xact_status``)."""

    lsn: Lsn
    transaction: int
    committed: bool
    time: datetime
    status: str | None = None


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """What the restored server itself holds of the WAL before the point at which it was opened.

    :param beyond: how many replayed records begin at the target or after it.
    :param ends: the ends of transactions in the segment, the last hundred.
    :param missing: why the WAL could not be read, "" when it was.
    """

    beyond: int = 0
    ends: tuple[TransactionRecord, ...] = ()
    missing: str = ""


class RecoveryTargetCheck:
    """Decodes the last segment that was replayed, in the restored server, and asks it what became of those transactions.

    Proves, for a target of any kind, that replay took the target's own record in (or stopped right before it, where it is
    exclusive) and not one record more, and that the commits before it are committed in the copy. For a time it proves too
    that no transaction that ended later was replayed; for a transaction id that this transaction is committed. Can't prove
    anything of transactions that ended before the last segment (wal_replay and row_counts do), nor that production wrote no
    other WAL. Without pg_walinspect (PostgreSQL 14, or a contrib that isn't installed) only a time and a transaction id can be
    judged; wal_replay then compares positions alone.
    """

    name: ClassVar[str] = "recovery_target"
    default_timeout: ClassVar[float] = 60.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Read the boundary, then judge it."""
        if not context.recovery.reached:
            detail = f"Recovery did not reach its target {context.coordinate.target.lsn}."
            return (failed(self.name, "RECOVERY_ENDED_EARLY", detail),)
        fork = await last_fork(context)
        async with await any_connection(context) as connection:
            boundary = await _read(connection, context, fork)
            asked = await _asked(connection, context.coordinate.target)
        return (self._judge(context, boundary, asked),)

    def _judge(self, context: CheckContext, boundary: Boundary, asked: str | None) -> CheckResult:
        target = context.coordinate.target
        facts: dict[str, Any] = {
            "requested": {"kind": target.requested.kind.value, "value": target.requested.value},
            "records_at_or_after_target": boundary.beyond,
            "transactions_before_target": len(boundary.ends),
            "last_commit": context.recovery.last_commit.isoformat() if context.recovery.last_commit else None,
            "transaction_asked_for": asked,
        }
        wrong = judge(target, boundary, asked=asked, last_commit=context.recovery.last_commit)
        if wrong is not None:
            return failed(self.name, wrong[0], wrong[1], facts=facts)
        if boundary.missing and asked is None and not _bounded_by_time(target, context.recovery.last_commit):
            detail = f"The WAL before the target can't be read in the copy ({boundary.missing}); wal_replay compares positions."
            return unknown(self.name, "EXTENSION_UNAVAILABLE", detail, required=False, facts=facts)
        measurements = {"transactions_before_target": float(len(boundary.ends))}
        return passed(self.name, _sentence(target, boundary, asked), measurements=measurements, facts=facts)


def judge(
    target: ResolvedTarget, boundary: Boundary, *, asked: str | None, last_commit: datetime | None
) -> tuple[str, str] | None:
    """The first thing that is wrong at the boundary, as a signature's code and a sentence; None when nothing is.

    :param asked: the state of the transaction that was asked for; None for other targets.
    :param last_commit: the time of the last end of a transaction that was replayed.
    """
    early, late = "RECOVERY_ENDED_EARLY", "RECOVERY_OVERRAN"
    if not boundary.missing:
        allowed = 1 if target.inclusive else 0
        if boundary.beyond > allowed:
            return late, f"{boundary.beyond - allowed} records after the target {target.lsn} were replayed."
        if boundary.beyond < allowed:
            return early, f"The record at the target {target.lsn} was not replayed."
    lost = [end for end in boundary.ends if end.committed and end.status not in (None, "committed")]
    if lost:
        return early, f"Transaction {lost[-1].transaction} committed before the target and is {lost[-1].status} in the copy."
    if target.requested.kind is TargetKind.TIME:
        limit = datetime.fromisoformat(target.requested.value)
        times = [end.time for end in boundary.ends] + ([last_commit] if last_commit is not None else [])
        if times and max(times) > limit:
            return late, f"A transaction that ended at {max(times).isoformat()} was replayed, after {limit.isoformat()}."
    if asked not in (None, "committed"):
        return early, f"Transaction {target.requested.value} is {asked} in the copy, not committed."
    return None


def _bounded_by_time(target: ResolvedTarget, last_commit: datetime | None) -> bool:
    return target.requested.kind is TargetKind.TIME and last_commit is not None


def _sentence(target: ResolvedTarget, boundary: Boundary, asked: str | None) -> str:
    told = []
    if not boundary.missing:
        told.append(
            f"the record at {target.lsn} is the last that was replayed"
            if target.inclusive
            else f"no record from {target.lsn} on was replayed"
        )
        told.append(f"{sum(end.committed for end in boundary.ends)} commits just before it are there")
    if target.requested.kind is TargetKind.TIME:
        told.append(f"no transaction that ended after {target.requested.value} is")
    if asked is not None:
        told.append(f"transaction {target.requested.value} is {asked}")
    text = ", ".join(told)
    return f"{text[0].upper()}{text[1:]}."


async def _asked(connection: Connection, target: ResolvedTarget) -> str | None:
    """What the copy says of the transaction that was asked for."""
    if target.requested.kind is not TargetKind.XID:
        return None
    following = await counting.next_transaction(connection)
    return await _status(connection, widen(int(target.requested.value) & 0xFFFFFFFF, following)) or "unknown"


async def _status(connection: Connection, transaction: int | None) -> str | None:
    if transaction is None:
        return None
    row = await (await connection.execute("SELECT pg_xact_status(%s::text::xid8)", (str(transaction),))).fetchone()
    return None if row is None or row[0] is None else str(row[0])


async def _read(connection: Connection, context: CheckContext, fork: dict[str, Any] | None) -> Boundary:
    if fork is None:
        return Boundary(missing="the history of the server's own timeline can't be read")
    end, target, size = Lsn(fork["lsn"]), context.coordinate.target.lsn, context.coordinate.segment_size
    # The target's record may begin in the segment before the one in which it ends.
    values = {
        "first": str(Lsn(min(target, end - 1) // size * size)),
        "end": str(end),
        "target": str(target),
        "limit": _ENDS_READ,
    }
    try:
        schema = sql.Identifier(await install(connection, "pg_walinspect"))
        await connection.execute("SET TimeZone = 'UTC'")
        await connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, false)", (_READING,))
        beyond = await (await connection.execute(sql.SQL(_BEYOND).format(schema), values)).fetchone()
        rows = await (await connection.execute(sql.SQL(_ENDS).format(schema), values)).fetchall()
    except psycopg.Error as error:
        if connection.closed:
            raise
        return Boundary(missing=describe(error))
    following = await counting.next_transaction(connection)
    ends = [made for row in reversed(rows) if (made := _transaction(row, following)) is not None]
    known = [replace(end, status=await _status(connection, end.transaction)) if end.committed else end for end in ends]
    return Boundary(beyond=int(beyond[0]) if beyond else 0, ends=tuple(known))


def _transaction(row: Sequence[Any], following: int) -> TransactionRecord | None:
    lsn, xid, kind, description = row
    if not kind.startswith(("COMMIT", "ABORT")):
        return None
    text = description or ""
    if kind.endswith("_PREPARED"):
        # The record of COMMIT PREPARED is another transaction's; whose end it is stands in front of the time.
        xid, _, text = text.partition(": ")
    wide = widen(int(xid), following)
    # Behind the time, after a semicolon, come subtransactions, files, messages.
    moment = text.partition(";")[0].strip()
    if wide is None or not moment:
        return None
    return TransactionRecord(
        lsn=Lsn(lsn), transaction=wide, committed=kind.startswith("COMMIT"), time=datetime.fromisoformat(moment + ":00")
    )
