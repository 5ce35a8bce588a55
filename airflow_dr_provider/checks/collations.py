"""Does the sandbox sort text by the rules that production's indexes were built by?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import psycopg

from airflow_dr_provider.checks.answers import LISTED, passed, some, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.parallel import Connection, in_each
from airflow_dr_provider.checks.sql_errors import describe
from airflow_dr_provider.domain.verdicts import CheckResult

_DEFAULT = 100
"""The collation ``default`` (pg_collation.dat): the database's own."""

# What indexes of the user's sort by; an index on an expression or of a catalog too, if it names a collation.
_USED = """
SELECT o.oid::bigint, o.collname, o.collversion, count(DISTINCT i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN unnest(i.indcollation::oid[]) u (oid) JOIN pg_collation o ON o.oid = u.oid
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
GROUP BY 1, 2, 3 ORDER BY 2
"""


@dataclass(frozen=True, kw_only=True)
class _Sorting:
    """A collation that indexes use, by its version when they were built and by what this server's libraries have."""

    name: str
    database: str
    indexes: int
    recorded: str | None
    actual: str | None
    error: str = ""

    @property
    def same(self) -> bool:
        """Whether the rules are those of then; one without a recorded version has rules that don't change."""
        return not self.error and (self.recorded is None or self.recorded == self.actual)

    def __str__(self) -> str:
        has = self.error or f"version {self.actual or 'none'} here"
        return (
            f"{self.name} (database {self.database}, {self.indexes} indexes): {self.recorded or 'no version'} recorded, {has}"
        )


class CollationsCheck:
    """Compares the version of each collation that an index uses with the version that this server's libc or ICU has.

    Proves, where they are equal, that text sorts here as it did where the indexes were built, so that what queries and
    amcheck say of them here holds there too. Can't prove that an index is in order (amcheck does), and where versions differ
    it can't say which indexes are touched: few strings sort otherwise from one version to the next. That is a fact of this
    host and not of the backup: COULD_NOT_VERIFY, which doesn't hold the gate up. To serve from such a host, reindex.
    """

    name: ClassVar[str] = "collations"
    default_timeout: ClassVar[float] = 60.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Ask the server for both versions."""
        _, there = await cluster_facts(context)
        found = await in_each(context, [name for name in context.databases if name in there], _sortings)
        used = [item for items in found.values() for item in items]
        other = [str(item) for item in used if not item.same]
        facts = {"other": other[:LISTED]}
        measurements = {"collations": float(len(used)), "collations_differing": float(len(other))}
        if other:
            detail = f"Text may sort otherwise here than where the indexes were built: {some(other)}."
            result = unknown(self.name, "COLLATION_DIFFERS", detail, required=False, measurements=measurements, facts=facts)
            return (result,)
        detail = f"{len(used)} collations that indexes use have the version they had."
        return (passed(self.name, detail, measurements=measurements, facts=facts),)


async def _sortings(connection: Connection, database: str) -> list[_Sorting]:
    rows = await (await connection.execute(_USED)).fetchall()
    sortings = []
    for oid, name, recorded, indexes in rows:
        error, actual = "", None
        try:
            if oid == _DEFAULT:
                recorded, actual = await _of_database(connection)
            else:
                cursor = await connection.execute("SELECT pg_collation_actual_version(%s::oid)", (oid,))
                actual = (await cursor.fetchone() or (None,))[0]
        except psycopg.Error as failure:
            # A library that this PostgreSQL was built without, or a locale that this host hasn't.
            if connection.closed:
                raise
            error = describe(failure)
        sortings.append(_Sorting(name=name, database=database, indexes=indexes, recorded=recorded, actual=actual, error=error))
    return sortings


async def _of_database(connection: Connection) -> tuple[str | None, str | None]:
    """The version that the database's own collation had, and has. Version 14 doesn't record it."""
    if connection.info.server_version < 150000:
        return None, None
    cursor = await connection.execute(
        "SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = current_database()"
    )
    recorded, actual = await cursor.fetchone() or (None, None)
    return recorded, actual
