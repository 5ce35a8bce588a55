"""Are the reference's extensions there, in their versions, and can this server run them?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import psycopg

from airflow_dr_provider.checks.answers import failed, passed, some, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import ClusterDrift, cluster_drift, cluster_facts, in_words, listed
from airflow_dr_provider.checks.extension import TOOLS
from airflow_dr_provider.checks.parallel import Connection, in_each
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.reference import ObjectKind
from airflow_dr_provider.domain.verdicts import CheckResult

_KINDS = (ObjectKind.EXTENSION,)
_SUFFIXES = ("", ".so", ".dylib")

# Libraries by the extension that needs them ("" for functions outside of any), and whether a user's table needs it: by the
# type of a column, or the way an index is kept.
_LIBRARIES = """
SELECT coalesce(e.extname, ''), p.probin, coalesce(e.oid IS NOT NULL AND (
  EXISTS (SELECT FROM pg_depend t JOIN pg_type y ON t.objid IN (y.oid, y.typelem) JOIN pg_attribute a ON a.atttypid = y.oid
    JOIN pg_class c ON c.oid = a.attrelid
    WHERE t.refclassid = 'pg_extension'::regclass AND t.refobjid = e.oid AND t.classid = 'pg_type'::regclass
      AND t.deptype = 'e' AND c.relkind IN ('r', 'm', 'p') AND a.attnum > 0 AND NOT a.attisdropped)
  OR EXISTS (SELECT FROM pg_depend t JOIN pg_index i ON t.objid = ANY (i.indclass::oid[])
    WHERE t.refclassid = 'pg_extension'::regclass AND t.refobjid = e.oid AND t.classid = 'pg_opclass'::regclass
      AND t.deptype = 'e')), false)
FROM pg_proc p
LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  AND d.refclassid = 'pg_extension'::regclass
LEFT JOIN pg_extension e ON e.oid = d.refobjid
WHERE p.probin IS NOT NULL AND p.probin <> ''
GROUP BY e.oid, e.extname, p.probin ORDER BY 1, 2
"""


@dataclass(frozen=True, kw_only=True)
class _Absent:
    """A library that this server's PostgreSQL doesn't have. *needed*: a table's contents can't be read without it."""

    extension: str
    library: str
    database: str
    needed: bool

    def __str__(self) -> str:
        whose = f"extension {self.extension}" if self.extension else "functions of no extension"
        return f"{self.library} of {whose} (database {self.database})"


class ExtensionsCheck:
    """Compares each database's extensions with the reference, and looks for their libraries beside this PostgreSQL.

    Proves that no extension got lost and that each has the version it had; and that the sandbox has the files to run them.
    Can't prove that they work: no library is loaded, for loading runs its code. A library that isn't there is the
    environment's fault and not the backup's: COULD_NOT_VERIFY, which holds the gate up only where a column's type or an
    index needs it. Of the extensions that checks themselves install only the presence is compared.
    """

    name: ClassVar[str] = "extensions"
    default_timeout: ClassVar[float] = 120.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """What differs comes before what can't be run."""
        try:
            _, there = await cluster_facts(context)
            found = await in_each(context, [name for name in context.databases if name in there], _absent)
            drift = await cluster_drift(context, context.reference, _KINDS) if context.reference is not None else None
        except psycopg.Error as error:
            if not is_corruption(error, internal=True):
                raise
            return (failed(self.name, "DATA_CORRUPT", f"The restored catalogs can't be read: {describe(error)}."),)
        return (self._judge(drift, [item for items in found.values() for item in items]),)

    def _judge(self, drift: ClusterDrift | None, absent: Sequence[_Absent]) -> CheckResult:
        facts: dict[str, Any] = {"libraries_absent": [str(item) for item in absent]}
        failures = []
        if drift is not None:
            ours = [item for item in drift.failures if item.kind is ObjectKind.EXTENSION]
            failures = [item for item in ours if item.change == "missing" or item.name not in TOOLS]
            facts |= {"failed": listed(failures), "uncompared": list(drift.uncompared)}
        if failures:
            gone = any(item.change == "missing" for item in failures)
            detail = f"The restored extensions differ from the reference: {in_words(failures)}."
            return failed(self.name, "EXTENSION_MISSING" if gone else "EXTENSION_DRIFT", detail, facts=facts)
        if absent:
            needed = [item for item in absent if item.needed]
            why = "Tables need them. Install them" if needed else "No table needs them. Install them to try them, too,"
            detail = f"The sandbox's PostgreSQL lacks {some([str(item) for item in needed or absent])}. {why} on its host."
            return unknown(self.name, "EXTENSION_UNAVAILABLE", detail, required=bool(needed), facts=facts)
        if drift is None or drift.uncompared:
            why = f"Not compared: {some(drift.uncompared)}" if drift is not None else "There is no reference yet"
            detail = f"{why}. The libraries of all extensions are there."
            return unknown(self.name, "NO_REFERENCE", detail, required=False, facts=facts)
        extensions = sum(len(database.objects) for database in drift.restored)
        detail = f"{extensions} extensions are as the reference says, and their libraries are there."
        return passed(self.name, detail, measurements={"extensions": float(extensions)}, facts=facts)


async def _absent(connection: Connection, database: str) -> list[_Absent]:
    cursor = await connection.execute("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'")
    folder = str((await cursor.fetchone() or ("",))[0])
    cursor = await connection.execute(_LIBRARIES)
    return [
        _Absent(extension=extension, library=library, database=database, needed=needed)
        for extension, library, needed in await cursor.fetchall()
        if not await _is_there(connection, library, folder)
    ]


async def _is_there(connection: Connection, library: str, folder: str) -> bool:
    path = library.replace("$libdir", folder) if library.startswith("$libdir") else library
    path = path if path.startswith("/") else f"{folder}/{path}"
    names = [path + suffix for suffix in _SUFFIXES]
    cursor = await connection.execute(
        "SELECT bool_or(s.size IS NOT NULL AND NOT s.isdir) FROM unnest(%s::text[]) n (path) CROSS JOIN pg_stat_file(n.path, true) s",
        (names,),
    )
    return bool((await cursor.fetchone() or (False,))[0])
