"""Is the restored schema the reference's?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import psycopg

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import ClusterDrift, cluster_drift, in_words, listed, restored_databases
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.reference import ObjectKind
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

_OTHER_CHECKS = (ObjectKind.DATABASE, ObjectKind.INDEX, ObjectKind.EXTENSION, ObjectKind.CONTENT)
KINDS = tuple(kind for kind in ObjectKind if kind not in _OTHER_CHECKS)


class SchemaDriftCheck:
    """Compares every object but indexes and extensions with the reference, by name and canonical definition.

    Owners and grants are part of it, also policies, triggers with their state, rules, partitions with their bounds,
    publications, foreign servers, and what is set for the database as a whole. A kept reference that is older than some of
    these kinds is compared by those that it has.

    Proves that the restored catalogs hold what production (or the last good run) held, database by database, and that
    PostgreSQL can read them. Can't prove anything about rows, and, with a reference from after the recovered point, can't tell
    an object that production dropped since from one that never was there: such differences are reported and not failed.
    Without a reference it only reads the catalogs, and says so.
    """

    name: ClassVar[str] = "schema_drift"
    default_timeout: ClassVar[float] = 300.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Compare. An older reference that lacks what production dropped by its own hand fails: nothing can excuse that."""
        try:
            if context.reference is None:
                read = await restored_databases(context, KINDS)
                return (self._without_reference(sum(len(database.objects) for database in read)),)
            return (self._judge(await cluster_drift(context, context.reference, KINDS)),)
        except psycopg.Error as error:
            if not is_corruption(error, internal=True):
                raise
            return (
                CheckResult(
                    name=self.name,
                    verdict=Verdict.FAILED,
                    signature="DATA_CORRUPT",
                    detail=f"The restored catalogs can't be read: {describe(error)}.",
                ),
            )

    def _without_reference(self, objects: int) -> CheckResult:
        return CheckResult(
            name=self.name,
            verdict=Verdict.COULD_NOT_VERIFY,
            signature="NO_REFERENCE",
            required=False,
            detail=f"There is no reference yet. The catalogs of the restored server could be read and hold {objects} objects.",
            measurements={"schema_objects": objects},
        )

    def _judge(self, drift: ClusterDrift) -> CheckResult:
        objects = drift.facts["objects_compared"]
        facts = {
            **drift.facts,
            "failed": listed(drift.failures),
            "excused": listed(drift.excused),
            "uncompared": list(drift.uncompared),
        }
        measurements = {"schema_objects": float(objects), "schema_differences": float(len(drift.differences))}
        excused = f" Explained by production's own changes: {in_words(drift.excused)}." if drift.excused else ""
        if drift.failures:
            return CheckResult(
                name=self.name,
                verdict=Verdict.FAILED,
                signature="SCHEMA_DRIFT",
                detail=f"The restored schema differs from the reference: {in_words(drift.failures)}.{excused}",
                measurements=measurements,
                facts=facts,
            )
        if drift.uncompared:
            return CheckResult(
                name=self.name,
                verdict=Verdict.COULD_NOT_VERIFY,
                signature="NO_REFERENCE",
                required=False,
                detail=f"Not every database could be compared: {'; '.join(drift.uncompared[:3])}.{excused}",
                measurements=measurements,
                facts=facts,
            )
        return CheckResult(
            name=self.name,
            verdict=Verdict.PASSED,
            detail=f"{objects} objects are as the reference says.{excused}",
            measurements=measurements,
            facts=facts,
        )
