"""Can every table be read, and does it hold about as many rows as it should?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import psycopg
from psycopg import errors

from airflow_dr_provider.checks import counting
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import Moments, cluster_facts, moments, uncommitted
from airflow_dr_provider.checks.parallel import Connection, spread
from airflow_dr_provider.checks.row_rules import Finding, judge
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.reference import Reference, TableRows
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

_LISTED = 100
# What is not counted when this part of the check's time is over is estimated.
_COUNTING_SHARE = 0.8
_SECONDS_AN_INDEX = 30.0


@dataclass(frozen=True, kw_only=True)
class _Read:
    database: str
    rows: TableRows | None = None
    fault: str = ""


class RowCountsCheck:
    """Reads every page of every table of the user, and compares the counts with an index of each and with the reference.

    Proves that the heaps can be read from end to end, that no table is empty that had rows before the recovered point, and,
    against a reference from before it, that none shrank by more than ``row_drop_percent``. Where a table has an index, and
    there is time to walk it, it proves too that both know as many rows: a heap that lost its last page is sound in itself,
    and the index remembers.
    Can't prove that the rows are the right ones, and doesn't read values stored out of line (amcheck does). A reference from
    after the recovered point, live production, can't be compared by volume: that rows came or went since is reported, not
    failed.
    """

    name: ClassVar[str] = "row_counts"
    default_timeout: ClassVar[float] = 300.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Read first: that needs no reference."""
        system_identifier, there = await cluster_facts(context)
        read = await self._read(context, [name for name in context.databases if name in there])
        tables = [item for item in read if item.rows is not None]
        counted = [item.rows for item in tables if item.rows and item.rows.exact]
        result = CheckResult(
            name=self.name,
            verdict=Verdict.PASSED,
            proves_data=any(rows.rows > 0 for rows in counted),
            measurements={
                "tables": float(len(read)),
                "tables_counted": float(len(counted)),
                "rows": float(sum(rows.rows for rows in counted)),
            },
            facts={"estimated": [item.rows.name for item in tables if item.rows and not item.rows.exact][:_LISTED]},
        )
        faults = [f"{item.database}: {item.fault}" for item in read if item.fault]
        if faults:
            more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
            return (
                result.model_copy(
                    update={
                        "verdict": Verdict.FAILED,
                        "signature": "DATA_CORRUPT",
                        "detail": f"Tables can't be read whole: {'; '.join(faults[:3])}{more}.",
                        "facts": {**result.facts, "faults": faults[:_LISTED]},
                    }
                ),
            )
        return (await self._compared(context, result, tables, system_identifier),)

    async def _read(self, context: CheckContext, databases: Sequence[str]) -> list[_Read]:
        deadline = time.monotonic() + self.default_timeout * _COUNTING_SHARE
        tables: dict[str, tuple[counting.Table, ...]] = {}
        for database in databases:
            async with await context.connect(database, "admin") as connection:
                tables[database] = await counting.list_tables(connection)

        async def work(connection: Connection, database: str, table: counting.Table) -> _Read:
            left = max(0.001, deadline - time.monotonic())
            await connection.execute(
                "SELECT pg_catalog.set_config('statement_timeout', %s, false)", (str(int(left * 1000) or 1),)
            )
            try:
                try:
                    rows = await counting.count(connection, table)
                    return _Read(database=database, rows=rows, fault=await _contradiction(connection, table, rows, deadline))
                except errors.QueryCanceled:
                    await connection.execute("SET statement_timeout = '10s'")
                    return _Read(database=database, rows=await counting.estimate(connection, table))
            except psycopg.Error as error:
                if connection.closed or not is_corruption(error, internal=True):
                    raise
                return _Read(database=database, fault=f"{table.label}: {describe(error)}")

        return await spread(context, tables, work)

    async def _compared(
        self, context: CheckContext, result: CheckResult, tables: Sequence[_Read], system_identifier: int | None
    ) -> CheckResult:
        reference = context.reference
        if reference is None or not any(database.tables for database in reference.databases):
            why = "There is no reference yet" if reference is None else "The reference holds no row counts"
            return result.model_copy(
                update={
                    "verdict": Verdict.COULD_NOT_VERIFY,
                    "signature": "NO_REFERENCE",
                    "required": False,
                    "detail": f"{why}. All {len(tables)} tables could be read.",
                }
            )
        moment = moments(context, reference, system_identifier)
        restored = {(item.database, item.rows.name): item.rows for item in tables if item.rows}
        findings = await self._findings(context, reference, restored, moment)
        failed = [finding for finding in findings if finding.failed]
        facts: dict[str, Any] = {
            **result.facts,
            "reference": {"source": reference.source, "captured_at": reference.captured_at.isoformat()},
            "failed": [finding.as_fact() for finding in failed][:_LISTED],
            "reported": [finding.as_fact() for finding in findings if not finding.failed][:_LISTED],
        }
        told = [finding for finding in findings if not finding.failed]
        also = f" {len(told)} tables hold fewer rows, as explained in the record." if told else ""
        if failed:
            more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
            return result.model_copy(
                update={
                    "verdict": Verdict.FAILED,
                    "signature": "ROW_COUNT_DROPPED",
                    "detail": f"{'; '.join(str(finding) for finding in failed[:3])}{more}.{also}",
                    "facts": facts,
                }
            )
        counted = int(result.measurements["tables_counted"])
        estimated = (
            f" {len(tables) - counted} were too large to count in time and were estimated." if counted < len(tables) else ""
        )
        return result.model_copy(
            update={"detail": f"{counted} tables were read to their end; none lost its rows.{estimated}{also}", "facts": facts}
        )

    async def _findings(
        self,
        context: CheckContext,
        reference: Reference,
        restored: Mapping[tuple[str, str], TableRows],
        moment: Moments,
    ) -> list[Finding]:
        findings: list[Finding] = []
        for database in reference.databases:
            found = [
                judge(
                    database,
                    rows,
                    restored[database.name, rows.name],
                    later=moment.reference_is_later,
                    restored_next=moment.restored_next,
                    drop_percent=context.row_drop_percent,
                )
                for rows in database.tables
                if (database.name, rows.name) in restored
            ]
            findings += await _without_unfinished(context, database.name, [finding for finding in found if finding is not None])
        return findings


async def _contradiction(connection: Connection, table: counting.Table, rows: TableRows, deadline: float) -> str:
    """What an index says against the heap's count; "" when they agree, or there is no index or no time to ask."""
    left = min(_SECONDS_AN_INDEX, deadline - time.monotonic())
    if left <= 0:
        return ""
    await connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, false)", (str(int(left * 1000) or 1),))
    try:
        known = await counting.count_by_index(connection, table)
    except errors.QueryCanceled:
        return ""
    if known is None or known == rows.rows:
        return ""
    return f"{table.label} holds {rows.rows} rows, and an index of it knows {known}"


async def _without_unfinished(context: CheckContext, database: str, findings: Sequence[Finding]) -> list[Finding]:
    """Take back what rests on rows of transactions that had not committed at the recovered point."""
    suspects = {finding.witness for finding in findings if finding.failed and finding.witness is not None}
    if not suspects:
        return list(findings)
    async with await context.connect(database, "admin") as connection:
        unfinished = await uncommitted(connection, suspects)
    return [
        replace(finding, failed=False, why="its oldest row was not committed at the recovered point")
        if finding.witness in unfinished
        else finding
        for finding in findings
    ]
