"""Can the restored copy act on other systems: through subscriptions, foreign servers, publications?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import psycopg
from psycopg import conninfo

from airflow_dr_provider.checks.answers import LISTED, failed, passed, some, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.parallel import Connection, any_connection, in_each
from airflow_dr_provider.domain.reports import Probe, ProbeResult
from airflow_dr_provider.domain.verdicts import CheckResult

_PORT = 5432

_SERVERS = """
SELECT s.srvname, (SELECT jsonb_object_agg(o.option_name, o.option_value) FROM pg_options_to_table(s.srvoptions) o),
  (SELECT count(*) FROM pg_user_mappings m WHERE m.srvid = s.oid),
  (SELECT count(*) FROM pg_foreign_table t WHERE t.ftserver = s.oid)
FROM pg_foreign_server s ORDER BY 1
"""
_SUBSCRIPTIONS = """
SELECT s.subname, s.subenabled, s.subconninfo FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database() ORDER BY 1
"""
# What can open connections of its own, in whatever way.
_FUNCTIONS = """
SELECT count(*) FILTER (WHERE e.extname = 'dblink'), count(*) FILTER (WHERE l.lanname NOT IN ('internal', 'c') AND NOT l.lanpltrusted)
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
LEFT JOIN pg_extension e ON e.oid = d.refobjid
"""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What one database holds that leads out of it. *addresses*: by what names them."""

    servers: tuple[str, ...]
    mappings: int
    foreign_tables: int
    subscriptions: tuple[str, ...]
    enabled: tuple[str, ...]
    publications: tuple[str, ...]
    dblink: bool
    untrusted: int
    addresses: tuple[tuple[str, str, int], ...]


class DependenciesCheck:
    """Lists what leads out of the restored databases, and tries from inside whether it leads anywhere.

    Proves that no subscription runs, and that the hosts which foreign servers and subscriptions name can't be reached from the
    copy, as far as they speak PostgreSQL's protocol. Can't prove it of hosts that only a function's body or a setting of
    another wrapper knows; the isolation check's answer covers those, for a server without a network reaches nobody. An enabled
    subscription of a production that subscribes is restored enabled: it is off when the server may start no worker for it.
    """

    name: ClassVar[str] = "dependencies"
    default_timeout: ClassVar[float] = 120.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Look first, then probe."""
        _, there = await cluster_facts(context)
        found = await in_each(context, [name for name in context.databases if name in there], _look)
        async with await any_connection(context) as connection:
            row = await (await connection.execute("SHOW max_logical_replication_workers")).fetchone()
            cursor = await connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^logical replication .*worker'"
            )
            running = int((await cursor.fetchone() or (0,))[0])
        workers = str(row[0]) if row else ""
        probes = _probes(found)
        results = await context.probe(probes) if probes and context.isolation.wanted != "off" else ()
        facts: dict[str, Any] = {
            name: {key: value for key, value in vars(item).items() if key != "addresses" and value}
            for name, item in found.items()
        }
        facts = {"databases": facts, "probes": [result.model_dump() for result in results], "workers": workers}
        return (self._judge(context, found, probes, results, runs=workers != "0" or running > 0, facts=facts),)

    def _judge(
        self,
        context: CheckContext,
        found: dict[str, _Found],
        probes: Sequence[Probe],
        results: Sequence[ProbeResult],
        *,
        runs: bool,
        facts: dict[str, Any],
    ) -> CheckResult:
        enabled = [f"{name} (database {database})" for database, item in found.items() for name in item.enabled]
        if enabled and runs:
            detail = f"Subscriptions are enabled and can run: {some(enabled)}."
            return failed(self.name, "DEPENDENCY_REACHABLE", detail, facts=facts)
        reached = [f"{result.label} ({result.detail})" for result in results if result.reached]
        isolation = context.isolation
        if reached and (isolation.wanted == "required" or "network" in isolation.reached):
            return failed(self.name, "DEPENDENCY_REACHABLE", f"Reached from the copy: {some(reached)}.", facts=facts)
        answered = {result.label for result in results if result.reached is not None}
        silent = [probe.label for probe in probes if probe.label not in answered]
        if reached or silent:
            why = f"can be reached: {some(reached)}" if reached else f"were not probed: {some(silent)}"
            required = isolation.wanted == "required"
            return unknown(self.name, "ISOLATION_UNAVAILABLE", f"Other systems {why}.", required=required, facts=facts)
        servers = sum(len(item.servers) for item in found.values())
        subscriptions = sum(len(item.subscriptions) for item in found.values())
        asleep = f" {len(enabled)} are enabled and have no worker to run them." if enabled else ""
        detail = (
            f"{servers} foreign servers and {subscriptions} subscriptions; none of their {len(probes)} hosts can be reached.{asleep}"
            if servers or subscriptions
            else "No foreign server and no subscription leads out of the copy."
        )
        return passed(self.name, detail, facts=facts)


def _probes(found: dict[str, _Found]) -> tuple[Probe, ...]:
    """One for each host, whoever names it."""
    named: dict[tuple[str, int], str] = {}
    for database, item in found.items():
        for who, host, port in item.addresses:
            named.setdefault((host, port), f"{who} (database {database})")
    counted: dict[str, int] = {}
    probes = []
    for (host, port), who in list(named.items())[:LISTED]:
        counted[who] = counted.get(who, 0) + 1
        probes.append(Probe(label=who if counted[who] == 1 else f"{who} #{counted[who]}", address=host, port=port))
    return tuple(probes)


async def _look(connection: Connection, database: str) -> _Found:
    servers = await (await connection.execute(_SERVERS)).fetchall()
    subscriptions = await (await connection.execute(_SUBSCRIPTIONS)).fetchall()
    publications = await (await connection.execute("SELECT pubname FROM pg_publication ORDER BY 1")).fetchall()
    functions = await (await connection.execute(_FUNCTIONS)).fetchone() or (0, 0)
    addresses = [
        *((f"server {name}", host, port) for name, options, _, _ in servers for host, port in _hosts(dict(options or {}))),
        *((f"subscription {name}", host, port) for name, _, text in subscriptions for host, port in _hosts(_parsed(text))),
    ]
    return _Found(
        servers=tuple(row[0] for row in servers),
        mappings=sum(row[2] for row in servers),
        foreign_tables=sum(row[3] for row in servers),
        subscriptions=tuple(row[0] for row in subscriptions),
        enabled=tuple(row[0] for row in subscriptions if row[1]),
        publications=tuple(row[0] for row in publications),
        dblink=functions[0] > 0,
        untrusted=functions[1],
        addresses=tuple(addresses),
    )


def _parsed(text: str) -> dict[str, Any]:
    """A connection string's parts; none of one that libpq can't read. What else it holds goes nowhere."""
    try:
        return dict(conninfo.conninfo_to_dict(text))
    except psycopg.ProgrammingError:
        return {}


def _hosts(options: dict[str, Any]) -> list[tuple[str, int]]:
    hosts = [host.strip() for host in str(options.get("hostaddr") or options.get("host") or "").split(",") if host.strip()]
    ports = str(options.get("port") or "").split(",")
    numbers = [int(port) if port.strip().isdigit() else _PORT for port in ports]
    return [(host, numbers[place] if len(numbers) > place else numbers[0]) for place, host in enumerate(hosts)]
