"""Do materialised views hold what they were made to hold?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import psycopg

from airflow_dr_provider.checks.answers import LISTED, failed, passed, some, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import ClusterDrift, cluster_drift, in_words, restored_databases
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.reference import DatabaseReference, ObjectKind
from airflow_dr_provider.domain.verdicts import CheckResult

_KINDS = (ObjectKind.CONTENT,)


class MaterializedViewsCheck:
    """Asks for each materialised view whether it is populated, and compares that with the reference.

    Proves that a query on one answers here if it answers in production, where an unpopulated one raises an error. Can't prove
    that what it holds is right or recent: PostgreSQL keeps no time of its last refresh. One that is unpopulated in the
    reference too is no fault. That one is missing is schema_drift's to say.
    """

    name: ClassVar[str] = "materialized_views"
    default_timeout: ClassVar[float] = 60.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Compare; without a reference an unpopulated one can't be told from one that never was."""
        reference = context.reference
        try:
            if reference is None or not any(ObjectKind.CONTENT in database.compared for database in reference.databases):
                return (self._without_reference(await restored_databases(context, _KINDS)),)
            return (self._judge(await cluster_drift(context, reference, _KINDS)),)
        except psycopg.Error as error:
            if not is_corruption(error, internal=True):
                raise
            return (failed(self.name, "DATA_CORRUPT", f"The restored catalogs can't be read: {describe(error)}."),)

    def _without_reference(self, restored: Sequence[DatabaseReference]) -> CheckResult:
        empty, views = _unpopulated(restored), _views(restored)
        facts = {"unpopulated": empty[:LISTED]}
        if empty:
            detail = f"Not populated: {some(empty)}; no reference says whether that was so before."
            return unknown(self.name, "MATVIEW_UNPOPULATED", detail, required=False, facts=facts)
        return passed(self.name, f"All {views} materialised views are populated.", facts=facts)

    def _judge(self, drift: ClusterDrift) -> CheckResult:
        failures = [item for item in drift.failures if item.kind is ObjectKind.CONTENT and item.change == "invalid"]
        empty = _unpopulated(drift.restored)
        facts = {"unpopulated": empty[:LISTED], "uncompared": list(drift.uncompared)}
        if failures:
            detail = f"Populated in the reference and not in the copy: {some([item.name for item in failures])}."
            return failed(self.name, "MATVIEW_UNPOPULATED", detail, facts=facts)
        if drift.uncompared and empty:
            detail = f"Not populated: {some(empty)}; not every database could be compared."
            return unknown(self.name, "NO_REFERENCE", detail, required=False, facts=facts)
        excused = [item for item in drift.excused if item.kind is ObjectKind.CONTENT]
        told = f" Explained by production's own changes: {in_words(excused)}." if excused else ""
        known = f" Unpopulated in the reference too: {some(empty)}." if empty and not excused else ""
        detail = f"{_views(drift.restored)} materialised views are populated as the reference says.{known}{told}"
        return passed(self.name, detail, facts=facts)


def _views(databases: Sequence[DatabaseReference]) -> int:
    return sum(len(database.objects) for database in databases)


def _unpopulated(databases: Sequence[DatabaseReference]) -> list[str]:
    return [f"{item.name} (database {database.name})" for database in databases for item in database.objects if not item.valid]
