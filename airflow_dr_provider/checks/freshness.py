"""How much was lost? The heartbeat's newest value, or the last replayed commit, against the RPO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import psycopg
from psycopg import errors, sql

from airflow_dr_provider.checks.base import CheckContext, HeartbeatPlace
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.parallel import Connection
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.reference import ObjectKind
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

_TIMES = ("timestamp with time zone", "timestamp without time zone", "date")


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where the heartbeat was found. *type* None: the column isn't there; *newest* None: the table is empty."""

    database: str
    type: str | None
    unlogged: bool = False
    newest: float | None = None


class FreshnessCheck:
    """Reads the newest heartbeat in the restored copy and compares it with the moment of the disaster.

    Proves how old the newest data are, the true RPO: a value that production wrote, read from restored data. Can't prove that
    other tables are as fresh. Without a heartbeat in the spec it falls back to the last commit that was replayed, which says
    how far the WAL went and nothing about any table.

    A heartbeat's table or column that isn't there, or is empty, though the reference has it, is lost data: FAILED, DATA_STALE.
    So is an empty table that no reference explains. A table or column that nobody knows is the spec's mistake:
    COULD_NOT_VERIFY.
    """

    name: ClassVar[str] = "freshness"
    default_timeout: ClassVar[float] = 60.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Look for the heartbeat; measure ``rpo_seconds``."""
        if context.heartbeat is None:
            return (self._last_commit(context, "The spec names no heartbeat"),)
        try:
            places = await self._find(context, context.heartbeat)
        except (errors.InvalidName, errors.SyntaxError):
            return (self._mistake(f"source.heartbeat.table: {context.heartbeat.table!r} is no name of a table."),)
        except psycopg.Error as error:
            if not is_corruption(error):
                raise
            return (self._failed("DATA_CORRUPT", f"The heartbeat can't be read: {describe(error)}."),)
        return (self._judge(context, context.heartbeat, places),)

    async def _find(self, context: CheckContext, heartbeat: HeartbeatPlace) -> list[_Place]:
        _, there = await cluster_facts(context)
        names = (heartbeat.database,) if heartbeat.database is not None else context.databases
        places = []
        for database in names:
            if database not in there:
                continue
            async with await context.connect(database, "admin") as connection:
                place = await _look(connection, database, heartbeat)
            if place is not None:
                places.append(place)
        return places

    def _judge(self, context: CheckContext, heartbeat: HeartbeatPlace, places: Sequence[_Place]) -> CheckResult:
        what = f"{heartbeat.table}.{heartbeat.column}"
        where = (
            f"database {heartbeat.database}"
            if heartbeat.database
            else f"any of {', '.join(context.databases) or 'no database'}"
        )
        if not places:
            if _reference_has(context, ObjectKind.TABLE, heartbeat.table):
                return self._failed(
                    "DATA_STALE", f"The heartbeat's table {heartbeat.table} is in the reference and not in the copy."
                )
            return self._mistake(
                f"The heartbeat's table {heartbeat.table} is not in {where}. Correct source.heartbeat in the spec."
            )
        columns = [place for place in places if place.type is not None]
        if not columns:
            if _reference_has(context, ObjectKind.COLUMN, what):
                return self._failed("DATA_STALE", f"The heartbeat's column {what} is in the reference and not in the copy.")
            return self._mistake(f"{heartbeat.table} has no column {heartbeat.column}. Correct source.heartbeat in the spec.")
        timed = [place for place in columns if place.type in _TIMES]
        if not timed:
            return self._mistake(f"{what} is of type {columns[0].type}; a heartbeat is a timestamp.")
        filled = [place for place in timed if place.newest is not None]
        if not filled:
            if all(place.unlogged for place in timed):
                return self._mistake(
                    f"{heartbeat.table} is unlogged, so it is empty after any recovery. Make it a logged table."
                )
            if _reference_rows(context, heartbeat.table) == 0:
                return self._last_commit(context, f"The heartbeat's table {heartbeat.table} is empty in the reference too")
            return self._failed("DATA_STALE", f"The heartbeat's table {heartbeat.table} is empty in the restored copy.")
        return self._measure(context, what, max(filled, key=lambda place: place.newest or 0.0), len(filled))

    def _measure(self, context: CheckContext, what: str, place: _Place, found: int) -> CheckResult:
        newest = place.newest or 0.0
        notes = []
        if place.type != _TIMES[0]:
            notes.append(f"{what} has no time zone and is taken as UTC")
        if found > 1:
            notes.append(f"{found} databases have a heartbeat, the newest counts")
        loss = context.moment.timestamp() - newest
        if loss < 0:
            notes.append(f"the heartbeat is {-loss:.1f} s later than the moment of the disaster; counted as no loss")
            loss = 0.0
        facts: dict[str, Any] = {
            "source": "heartbeat",
            "database": place.database,
            "newest": _iso(newest),
            "moment": context.moment.isoformat(),
            "rpo_seconds_allowed": context.rpo_seconds,
            "last_commit": context.recovery.last_commit.isoformat() if context.recovery.last_commit else None,
            "notes": notes,
        }
        said = "".join(f" Note: {note}." for note in notes)
        return self._compared(context, loss, f"The newest heartbeat is {_iso(newest)}", said, facts, proves_data=True)

    def _last_commit(self, context: CheckContext, why: str) -> CheckResult:
        commit = context.recovery.last_commit
        if commit is None:
            return CheckResult(
                name=self.name,
                verdict=Verdict.COULD_NOT_VERIFY,
                signature="NO_REFERENCE",
                required=False,
                detail=f"{why}, and no commit was replayed whose time would tell how much was lost. Name a heartbeat in the spec.",
                facts={"source": None},
            )
        loss = max(0.0, (context.moment - commit).total_seconds())
        facts = {
            "source": "last_commit",
            "last_commit": commit.isoformat(),
            "moment": context.moment.isoformat(),
            "rpo_seconds_allowed": context.rpo_seconds,
        }
        return self._compared(context, loss, f"The last replayed commit is of {commit.isoformat()}", f" {why}.", facts)

    def _compared(
        self, context: CheckContext, loss: float, what: str, said: str, facts: dict[str, Any], *, proves_data: bool = False
    ) -> CheckResult:
        exceeded = loss > context.rpo_seconds
        bound = "more than" if exceeded else "within"
        return CheckResult(
            name=self.name,
            verdict=Verdict.FAILED if exceeded else Verdict.PASSED,
            signature="RPO_EXCEEDED" if exceeded else None,
            detail=f"{what}: {loss:.1f} s are lost, {bound} the RPO of {context.rpo_seconds:.0f} s.{said}",
            proves_data=proves_data,
            measurements={"rpo_seconds": loss},
            facts=facts,
        )

    def _failed(self, code: str, detail: str) -> CheckResult:
        return CheckResult(name=self.name, verdict=Verdict.FAILED, signature=code, detail=detail)

    def _mistake(self, detail: str) -> CheckResult:
        return CheckResult(name=self.name, verdict=Verdict.COULD_NOT_VERIFY, signature="SPEC_INVALID", detail=detail)


async def _look(connection: Connection, database: str, heartbeat: HeartbeatPlace) -> _Place | None:
    cursor = await connection.execute(
        """
        SELECT n.nspname, c.relname, c.relpersistence = 'u', a.attname, format_type(a.atttypid, NULL)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attname::text IN (%(column)s::text, lower(%(column)s::text))
        WHERE c.oid = to_regclass(%(table)s::text) ORDER BY a.attname::text = %(column)s::text DESC LIMIT 1
        """,
        {"table": heartbeat.table, "column": heartbeat.column},
    )
    found = await cursor.fetchone()
    if found is None:
        return None
    schema, table, unlogged, column, kind = found
    if column is None or kind not in _TIMES:
        return _Place(database=database, type=kind, unlogged=unlogged)
    # As a number, for years that Python's datetime doesn't have. Without a time zone the text is taken as UTC.
    cursor = await connection.execute(
        sql.SQL("SELECT extract(epoch FROM max({0}) FILTER (WHERE isfinite({0})))::float8 FROM {1}").format(
            sql.Identifier(column), sql.Identifier(schema, table)
        )
    )
    newest = await cursor.fetchone()
    return _Place(database=database, type=kind, unlogged=unlogged, newest=newest[0] if newest else None)


def _iso(epoch: float) -> str:
    try:
        return datetime.fromtimestamp(epoch, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{epoch:.0f} s after 1970"


def _reference_has(context: CheckContext, kind: ObjectKind, name: str) -> bool:
    """Whether the reference holds that object, and held it at the recovered point as far as its catalog row tells."""
    if context.reference is None:
        return False
    limit = context.recovery.next_transaction
    return any(
        item.kind is kind
        and _same(item.name, name)
        and not (limit is not None and item.changed_by is not None and item.changed_by >= limit)
        for database in context.reference.databases
        for item in database.objects
    )


def _reference_rows(context: CheckContext, table: str) -> int | None:
    databases = context.reference.databases if context.reference else ()
    counts = [rows.rows for database in databases for rows in database.tables if _same(rows.name, table)]
    return max(counts, default=None)


def _same(named: str, told: str) -> bool:
    return named == told or named.endswith("." + told)
