"""What a check is, and the registry of checks.

Adding one is writing one file with a class that satisfies :class:`Check` and naming it in :data:`CHECKS`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, ClassVar, Literal, Protocol

import psycopg

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reference import Reference
from airflow_dr_provider.domain.reports import FileReport, IsolationReport, Probe, ProbeResult, Recovery, WalReport
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
    """One statement of the spec that has to answer true."""

    name: str
    sql: str
    database: str
    timeout_seconds: float


@dataclass(frozen=True, kw_only=True)
class CheckContext:
    """All that a check may look at. Values and two callables; no check reaches further.

    :param databases: the databases to look at: every one that takes connections, unless the spec narrows them.
    :param moment: the moment of the disaster, for the RPO.
    :param rpo_seconds: the tier's.
    :param connect: opens a connection to a database of the restored server, as ``admin`` or ``smoke``; the check closes it.
    :param probe: runs negative probes from inside the sandbox.
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
}


def check(name: str) -> Check:
    """Make the check of a name.

    :raises KeyError: for an unknown name.
    """
    module, _, attribute = CHECKS[name].partition(":")
    made: Check = getattr(import_module(module), attribute)()
    return made
