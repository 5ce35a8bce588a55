"""Would jobs of production run in the restored copy?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from psycopg import sql

from airflow_dr_provider.checks.answers import failed, passed, some, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.parallel import Connection, any_connection, in_each
from airflow_dr_provider.domain.verdicts import CheckResult

# PostgreSQL's own kinds of process, and those of its contrib (manual, pg_stat_activity). archiving_off judges replication.
_KNOWN = frozenset(
    {
        "archiver", "autoprewarm leader", "autoprewarm worker", "autovacuum launcher", "autovacuum worker",
        "background writer", "checkpointer", "client backend", "io worker", "parallel worker", "slotsync worker",
        "standalone backend", "startup", "walreceiver", "walsender", "walsummarizer", "walwriter",
    }
)  # fmt: skip
_REPLICATION = "logical replication"


@dataclass(frozen=True, kw_only=True)
class _Scheduler:
    """An extension that does things by itself: where it keeps what it is to do, and the column that says whether to."""

    library: str
    schema: str
    table: str
    column: str | None


_SCHEDULERS = (
    _Scheduler(library="pg_cron", schema="cron", table="job", column="active"),
    _Scheduler(library="timescaledb", schema="_timescaledb_config", table="bgw_job", column="scheduled"),
    _Scheduler(library="pg_net", schema="net", table="http_request_queue", column=None),
)


class SideEffectsCheck:
    """Looks for what PostgreSQL itself would do unasked: scheduled jobs with a worker to run them, and unknown workers.

    Proves that the jobs of pg_cron and timescaledb and the requests of pg_net that came with the backup have nothing here that
    would run them, and that no session belongs to a process which PostgreSQL doesn't know as its own.
    Can't prove anything of workers that open no session, nor of outboxes and addresses that an application acts on: no
    application belongs to the copy, and a spec has to name those. Event triggers are told and not failed: they fire on
    changes to the schema only, which nobody makes here.
    """

    name: ClassVar[str] = "side_effects"
    default_timeout: ClassVar[float] = 60.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Ask each database for jobs, and the server for who could run them."""
        _, there = await cluster_facts(context)
        found = await in_each(context, [name for name in context.databases if name in there], _look)
        async with await any_connection(context) as connection:
            row = await (await connection.execute("SHOW shared_preload_libraries")).fetchone()
            cursor = await connection.execute("SELECT DISTINCT backend_type FROM pg_stat_activity")
            processes = sorted(str(kind) for (kind,) in await cursor.fetchall() if kind)
        libraries = [word.strip().strip('"') for word in str(row[0] if row else "").split(",")]
        jobs = {name: waiting for name, (waiting, _) in found.items()}
        facts: dict[str, Any] = {
            "jobs": {name: waiting for name, waiting in jobs.items() if waiting},
            "event_triggers": {name: triggers for name, (_, triggers) in found.items() if triggers},
            "processes": processes,
            "libraries": [name for name in libraries if name],
        }
        return (self._answer(jobs, libraries, processes, facts),)

    def _answer(
        self, jobs: dict[str, dict[str, int]], libraries: Sequence[str], processes: Sequence[str], facts: dict[str, Any]
    ) -> CheckResult:
        armed = armed_jobs(jobs, libraries, processes)
        if armed:
            return failed(self.name, "SIDE_EFFECTS_ARMED", f"Would run here: {some(armed)}.", facts=facts)
        strange = [kind for kind in processes if kind not in _KNOWN and not kind.startswith(_REPLICATION)]
        if strange:
            detail = f"The server runs {some(strange)}; what that does without being asked, nobody here can say."
            return unknown(self.name, "SIDE_EFFECTS_ARMED", detail, required=False, facts=facts)
        waiting = sum(sum(by.values()) for by in jobs.values())
        asleep = f" {waiting} jobs of production wait, and nothing is loaded that would run them." if waiting else ""
        return passed(self.name, f"The server does nothing unasked.{asleep}", facts=facts)


def armed_jobs(jobs: dict[str, dict[str, int]], libraries: Sequence[str], processes: Sequence[str]) -> list[str]:
    """What is waiting and has its library loaded, or a worker of its name."""
    return [
        f"{number} jobs of {library} (database {database})"
        for database, by in jobs.items()
        for library, number in by.items()
        if number and (library in libraries or any(library in kind.lower() for kind in processes))
    ]


async def _look(connection: Connection, database: str) -> tuple[dict[str, int], list[str]]:
    waiting = {}
    for scheduler in _SCHEDULERS:
        cursor = await connection.execute(
            "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL", (scheduler.schema, scheduler.table)
        )
        if await cursor.fetchone() == (True,):
            condition = sql.Identifier(scheduler.column) if scheduler.column else sql.SQL("true")
            cursor = await connection.execute(
                sql.SQL("SELECT count(*) FROM {} WHERE {}").format(sql.Identifier(scheduler.schema, scheduler.table), condition)
            )
            number = int((await cursor.fetchone() or (0,))[0])
            if number:
                waiting[scheduler.library] = number
    cursor = await connection.execute("SELECT evtname FROM pg_event_trigger WHERE evtenabled <> 'D' ORDER BY 1")
    return waiting, [str(name) for (name,) in await cursor.fetchall()]
