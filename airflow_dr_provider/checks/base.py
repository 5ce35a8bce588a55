"""What a check is, and the registry of checks.

Adding one is writing one file with a class that satisfies :class:`Check` and naming it in :data:`CHECKS`, with its traits in
:data:`~airflow_dr_provider.domain.routing.TRAITS`. Other packages bring theirs through
:mod:`airflow_dr_provider.custom_checks`; :class:`CheckContext` is all they get, and what they may rely on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Any, ClassVar, Literal, Protocol

import psycopg

from airflow_dr_provider.custom_checks import custom_checks, load_custom_check
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.query_baseline import QueryBaseline
from airflow_dr_provider.domain.reference import Reference
from airflow_dr_provider.domain.reports import FileReport, IsolationReport, Probe, ProbeResult, Recovery, WalReport
from airflow_dr_provider.domain.routing import TRAITS, Traits
from airflow_dr_provider.domain.verdicts import CheckResult

Connect = Callable[[str, Literal["admin", "smoke"]], Awaitable[psycopg.AsyncConnection[tuple[Any, ...]]]]


@dataclass(frozen=True, kw_only=True)
class HeartbeatPlace:
    """The heartbeat's table and column; the database None when it has to be looked for."""

    table: str
    column: str
    database: str | None = None


@dataclass(frozen=True, kw_only=True)
class SmokeTest:
    """One statement of the spec and the answer that it has to give."""

    name: str
    sql: str
    database: str
    timeout_seconds: float
    expect: bool | int | str = True


@dataclass(frozen=True, kw_only=True)
class WatchedQuery:
    """One query of the spec whose plan and latency are compared with those of earlier good runs.

    :param parameters: values of ``$1``, ``$2`` and so on, as text; None when the query is only planned, generically.
    :param max_ratio: how many times slower, or costlier, it may be.
    """

    name: str
    sql: str
    database: str
    timeout_seconds: float
    max_ratio: float
    parameters: tuple[str | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CheckContext:
    """All that a check may look at. Values and two callables; no check reaches further.

    :param databases: the databases to look at: every one that takes connections, unless the spec narrows them.
    :param moment: the moment of the disaster, for the RPO.
    :param rpo_seconds: the tier's.
    :param connect: opens a connection to a database of the restored server, as ``admin`` or ``smoke``; the check closes it.
    :param probe: runs negative probes from inside the sandbox.
    :param queries: those whose plans and latency are watched.
    :param query_baselines: what is kept of them from earlier good runs, by name.
    :param row_drop_percent: by how much a table may be smaller than in an older reference.
    """

    coordinate: RestoreCoordinate
    recovery: Recovery
    files: FileReport
    wal: WalReport
    isolation: IsolationReport
    reference: Reference | None
    databases: tuple[str, ...]
    heartbeat: HeartbeatPlace | None
    smoke: tuple[SmokeTest, ...]
    moment: datetime
    rpo_seconds: float
    probes: tuple[Probe, ...]
    connect: Connect
    probe: Callable[[Sequence[Probe]], Awaitable[tuple[ProbeResult, ...]]]
    row_drop_percent: int = 50
    queries: tuple[WatchedQuery, ...] = ()
    query_baselines: Mapping[str, QueryBaseline] = field(default_factory=dict)


class Check(Protocol):
    """One question to a restored server.

    The docstring of each says what it proves and what it can't.
    """

    name: ClassVar[str]
    default_timeout: ClassVar[float]
    """Seconds; the gate ends the check after them."""

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Answer. One result as a rule; the smoke check gives one a test.

        What could not be asked is COULD_NOT_VERIFY with a reason, never PASSED. Errors of the server that mean "this data is
        damaged" are FAILED. Anything else may be raised: the gate turns it into COULD_NOT_VERIFY, ``CHECK_BROKEN``.
        """
        ...


CHECKS: dict[str, str] = {
    "health": "airflow_dr_provider.checks.health:HealthCheck",
    "checksum": "airflow_dr_provider.checks.checksum:ChecksumCheck",
    "system_identifier": "airflow_dr_provider.checks.system_identifier:SystemIdentifierCheck",
    "wal_replay": "airflow_dr_provider.checks.wal_replay:WalReplayCheck",
    "recovery_target": "airflow_dr_provider.checks.recovery_target:RecoveryTargetCheck",
    "archiving_off": "airflow_dr_provider.checks.archiving_off:ArchivingOffCheck",
    "isolation": "airflow_dr_provider.checks.isolation:IsolationCheck",
    "dependencies": "airflow_dr_provider.checks.dependencies:DependenciesCheck",
    "side_effects": "airflow_dr_provider.checks.side_effects:SideEffectsCheck",
    "schema_drift": "airflow_dr_provider.checks.schema_drift:SchemaDriftCheck",
    "indexes": "airflow_dr_provider.checks.indexes:IndexesCheck",
    "extensions": "airflow_dr_provider.checks.extensions:ExtensionsCheck",
    "roles": "airflow_dr_provider.checks.roles:RolesCheck",
    "collations": "airflow_dr_provider.checks.collations:CollationsCheck",
    "row_counts": "airflow_dr_provider.checks.row_counts:RowCountsCheck",
    "sequences": "airflow_dr_provider.checks.sequences:SequencesCheck",
    "materialized_views": "airflow_dr_provider.checks.materialized_views:MaterializedViewsCheck",
    "foreign_keys": "airflow_dr_provider.checks.foreign_keys:ForeignKeysCheck",
    "freshness": "airflow_dr_provider.checks.freshness:FreshnessCheck",
    "page_checksums": "airflow_dr_provider.checks.page_checksums:PageChecksumsCheck",
    "amcheck": "airflow_dr_provider.checks.amcheck:AmcheckCheck",
    "smoke": "airflow_dr_provider.checks.smoke:SmokeCheck",
    "query_plans": "airflow_dr_provider.checks.query_plans:QueryPlansCheck",
    "synthetic_transaction": "airflow_dr_provider.checks.synthetic_transaction:SyntheticTransactionCheck",
}


def check(name: str) -> Check:
    """Make the check of a name: a built-in one, else one that an installed package brings.

    :raises KeyError: for an unknown name.
    :raises Exception: whatever a custom check's import or making raises.
    """
    made: Check
    if name in CHECKS:
        module, _, attribute = CHECKS[name].partition(":")
        made = getattr(import_module(module), attribute)()
    else:
        made = load_custom_check(name)()
    return made


def known_traits() -> dict[str, Traits]:
    """What routing knows of every check there is: a custom one says it in a class attribute ``traits``, if it wants to.

    One that can't be imported has the usual traits here; the gate, where it is run, says what is wrong with it.
    """
    known = {name: TRAITS.get(name, Traits()) for name in CHECKS}
    for name in custom_checks():
        if name in known:
            continue
        try:
            told = getattr(load_custom_check(name), "traits", None)
        except (Exception, SystemExit):
            told = None
        known[name] = told if isinstance(told, Traits) else Traits()
    return known
