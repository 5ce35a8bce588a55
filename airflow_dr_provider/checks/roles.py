"""Are the cluster's roles, their rights, memberships and settings those of the reference?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import psycopg

from airflow_dr_provider.checks.answers import LISTED, failed, passed, some, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import cluster_facts, moments, uncommitted
from airflow_dr_provider.checks.parallel import any_connection
from airflow_dr_provider.checks.role_facts import read_roles
from airflow_dr_provider.checks.role_rules import RoleDifference, compare_roles
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.verdicts import CheckResult


class RolesCheck:
    """Compares every role of the cluster with the reference: its rights, limit, expiry, memberships and settings.

    Proves that nobody's rights were lost or widened, so that applications and people can log in to a restored server as they
    do to production. Can't prove that passwords are the right ones: they are never read. A role that production made or
    changed after the recovered point is reported, not failed; that is seen by the transactions that wrote the rows that name
    it, and where production's account may see none of them the check says that it can't tell. Rights to tables and other
    objects are schema_drift's.
    """

    name: ClassVar[str] = "roles"
    default_timeout: ClassVar[float] = 60.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Compare, and ask the copy about transactions that were under way at the recovered point."""
        system_identifier, _ = await cluster_facts(context)
        try:
            async with await any_connection(context) as connection:
                restored = await read_roles(connection)
                if context.reference is None or context.reference.roles is None:
                    why = "There is no reference yet" if context.reference is None else "The reference is older than this check"
                    detail = f"{why}; the restored cluster has {len(restored)} roles."
                    return (unknown(self.name, "NO_REFERENCE", detail, required=False),)
                moment = moments(context, context.reference, system_identifier)
                found = compare_roles(context.reference.roles, restored, moment)
                suspects = {item.written_by for item in found if item.judgement == "failed" and item.written_by is not None}
                if suspects:
                    unfinished = await uncommitted(connection, suspects)
                    found = compare_roles(context.reference.roles, restored, moment, unfinished)
        except psycopg.Error as error:
            if not is_corruption(error, internal=True):
                raise
            return (failed(self.name, "DATA_CORRUPT", f"The restored roles can't be read: {describe(error)}."),)
        return (self._judge(found, len(restored)),)

    def _judge(self, found: Sequence[RoleDifference], roles: int) -> CheckResult:
        by = {word: [str(item) for item in found if item.judgement == word] for word in ("failed", "excused", "undecided")}
        facts = {word: names[:LISTED] for word, names in by.items()}
        measurements = {"roles": float(roles), "role_differences": float(len(found))}
        told = f" Explained by production's own changes: {some(by['excused'])}." if by["excused"] else ""
        if by["failed"]:
            gone = any(item.judgement == "failed" and item.what == "is missing" for item in found)
            detail = f"The restored roles differ from the reference: {some(by['failed'])}.{told}"
            code = "ROLE_MISSING" if gone else "ROLE_DRIFT"
            return failed(self.name, code, detail, measurements=measurements, facts=facts)
        if by["undecided"]:
            detail = (
                f"{some(by['undecided'])}: production's account may not see when that changed. "
                f"Let a superuser capture the reference to have it judged.{told}"
            )
            return unknown(self.name, "NO_REFERENCE", detail, required=False, measurements=measurements, facts=facts)
        return passed(self.name, f"{roles} roles are as the reference says.{told}", measurements=measurements, facts=facts)
