"""Are all indexes there, valid, and defined as in the reference?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import psycopg

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import ClusterDrift, cluster_drift, in_words, listed, restored_databases
from airflow_dr_provider.checks.drift import Difference
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.reference import DatabaseReference, ObjectKind, SchemaObject
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

# What an index lies in is read too: with a renamed table or schema its name and its definition are others as well.
_KINDS = (ObjectKind.INDEX, ObjectKind.SCHEMA, ObjectKind.TABLE, ObjectKind.MATERIALIZED_VIEW)
_SIGNATURES = {"missing": "INDEX_MISSING", "invalid": "INDEX_INVALID", "changed": "INDEX_DRIFT", "extra": "INDEX_DRIFT"}
_WORST = ("missing", "invalid", "changed", "extra")


class IndexesCheck:
    """Looks at every index of every database: that it is there, valid, and what the reference says.

    Proves that no index got lost and that none was left half built. Can't prove that an index's entries are right: amcheck
    does. An index that is invalid in production too is reported, not failed; without a reference nothing tells whether it was
    (an index that was being built at the recovered point is invalid in every copy). The indexes of a table that is missing
    go with it: the schema check says that.
    """

    name: ClassVar[str] = "indexes"
    default_timeout: ClassVar[float] = 300.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Compare."""
        try:
            if context.reference is None:
                return (self._validity_only(await restored_databases(context, _KINDS)),)
            return (self._judge(await cluster_drift(context, context.reference, _KINDS)),)
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

    def _validity_only(self, restored: Sequence[DatabaseReference]) -> CheckResult:
        indexes = [(database.name, item) for database in restored for item in _indexes(database)]
        invalid = [f"{item.name} (database {name})" for name, item in indexes if not item.valid]
        measurements = {"indexes": float(len(indexes)), "indexes_invalid": float(len(invalid))}
        if invalid:
            return CheckResult(
                name=self.name,
                verdict=Verdict.COULD_NOT_VERIFY,
                signature="INDEX_INVALID",
                required=False,
                detail=f"Invalid, and without a reference nothing tells whether in production too: {', '.join(invalid[:5])}.",
                measurements=measurements,
                facts={"invalid": invalid[:100]},
            )
        return CheckResult(
            name=self.name,
            verdict=Verdict.COULD_NOT_VERIFY,
            signature="NO_REFERENCE",
            required=False,
            detail=f"All {len(indexes)} indexes are valid. Without a reference nobody can say whether one is missing.",
            measurements=measurements,
        )

    def _judge(self, drift: ClusterDrift) -> CheckResult:
        indexes = sum(len(_indexes(database)) for database in drift.restored)
        still_invalid = [item.name for database in drift.restored for item in _indexes(database) if not item.valid]
        # A database or a table that is missing is the schema check's to say.
        failures = [item for item in drift.failures if item.kind is ObjectKind.INDEX]
        excused = [item for item in drift.excused if item.kind is ObjectKind.INDEX]
        facts = {
            **drift.facts,
            "failed": listed(failures),
            "excused": listed(excused),
            "invalid": still_invalid[:100],
            "uncompared": list(drift.uncompared),
        }
        measurements = {"indexes": float(indexes), "indexes_invalid": float(len(still_invalid))}
        told = f" Explained by production's own changes: {in_words(excused)}." if excused else ""
        if failures:
            return CheckResult(
                name=self.name,
                verdict=Verdict.FAILED,
                signature=_SIGNATURES[_worst(failures)],
                detail=f"The restored indexes differ from the reference: {in_words(failures)}.{told}",
                measurements=measurements,
                facts=facts,
            )
        if drift.uncompared:
            return CheckResult(
                name=self.name,
                verdict=Verdict.COULD_NOT_VERIFY,
                signature="NO_REFERENCE",
                required=False,
                detail=f"Not every database could be compared: {'; '.join(drift.uncompared[:3])}.{told}",
                measurements=measurements,
                facts=facts,
            )
        too = [name for name in still_invalid if name not in {item.name for item in excused}]
        known = f" Invalid in production too: {', '.join(too[:3])}." if too else ""
        return CheckResult(
            name=self.name,
            verdict=Verdict.PASSED,
            detail=f"{indexes} indexes are as the reference says.{known}{told}",
            measurements=measurements,
            facts=facts,
        )


def _indexes(database: DatabaseReference) -> tuple[SchemaObject, ...]:
    return tuple(item for item in database.objects if item.kind is ObjectKind.INDEX)


def _worst(failures: Sequence[Difference]) -> str:
    changes = {item.change for item in failures}
    return next(change for change in _WORST if change in changes)
