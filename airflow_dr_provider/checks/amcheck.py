"""Heaps and B-trees, sound inside or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import psycopg
from psycopg import errors, sql

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.extension import calm, install
from airflow_dr_provider.checks.parallel import Connection, spread
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

_LISTED = 100
_SHOWN = 3

_RELATIONS = """
SELECT c.oid, n.nspname, c.relname, c.relkind = 'i', c.relpages, c.relisshared,
  coalesce(i.indexprs IS NOT NULL OR i.indpred IS NOT NULL, false)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_am a ON a.oid = c.relam
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
WHERE c.relpersistence <> 't'
  AND ((c.relkind IN ('r', 'm', 't') AND a.amname = 'heap')
    OR (c.relkind = 'i' AND a.amname = 'btree' AND i.indisvalid AND i.indisready AND i.indislive))
ORDER BY pg_catalog.pg_relation_size(c.oid) DESC NULLS LAST, 2, 3
"""

_MAP = """
SELECT (t_ctid::text::point)[0]::bigint, (t_ctid::text::point)[1]::int, NULL, 'the visibility map calls it visible to all'
FROM {0}.pg_check_visible({1}::pg_catalog.oid::pg_catalog.regclass)
UNION ALL
SELECT (t_ctid::text::point)[0]::bigint, (t_ctid::text::point)[1]::int, NULL, 'the visibility map calls it frozen'
FROM {0}.pg_check_frozen({1}::pg_catalog.oid::pg_catalog.regclass)
LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class _Relation:
    """One heap or B-tree.

    :param evaluates: checking it runs expressions of the user's.
    :param map_schema: where the functions are that look at its visibility map; "" where there are none.
    """

    oid: int
    name: str
    index: bool
    evaluates: bool
    schema: str
    map_schema: str = ""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    corrupt: str = ""
    unchecked: str = ""


class AmcheckCheck:
    """Runs amcheck over every heap, TOAST table and B-tree of every database, the catalogs among them.

    Proves that tuples are well formed, that their out-of-line values are there, that B-trees are in order, that each heap
    tuple has its index entry (``heapallindexed``), and, where pg_visibility is installed, that no page which the visibility map
    calls visible to all, or frozen, holds a row that isn't (an index-only scan would show deleted rows).
    Can't prove that rows are not missing as a whole (row_counts), that values are the right ones, or anything of GIN, GiST,
    BRIN, SP-GiST and hash indexes.
    """

    name: ClassVar[str] = "amcheck"
    default_timeout: ClassVar[float] = 1800.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Install the extension in a schema of ours (the copy is thrown away), then check relations side by side."""
        _, there = await cluster_facts(context)
        relations: dict[str, list[_Relation]] = {}
        shared = True
        for database in context.databases:
            if database not in there:
                continue
            async with await context.connect(database, "admin") as connection:
                try:
                    schema = await install(connection, "amcheck")
                except psycopg.Error as error:
                    if is_corruption(error):
                        return (self._corrupt([f"{database}: {describe(error)}"], 0, {}),)
                    if connection.closed:
                        raise
                    return (self._cannot(f"amcheck can't be installed in database {database}: {describe(error)}."),)
                relations[database] = await _relations(
                    connection, schema, shared=shared, map_schema=await _visibility(connection)
                )
            shared = False
        answers = await spread(context, relations, _check, prepare=calm)
        corrupt = sorted(answer.corrupt for answer in answers if answer.corrupt)
        unchecked = sorted(answer.unchecked for answer in answers if answer.unchecked)
        measurements = {
            "relations": float(len(answers)),
            "relations_corrupt": float(len(corrupt)),
            "relations_unchecked": float(len(unchecked)),
        }
        facts: dict[str, Any] = {"corrupt": corrupt[:_LISTED], "unchecked": unchecked[:_LISTED]}
        if corrupt:
            return (self._corrupt(corrupt, len(answers), facts).model_copy(update={"measurements": measurements}),)
        if unchecked or not answers:
            why = "; ".join(unchecked[:_SHOWN]) or "there is no database to look at"
            return (self._cannot(f"{len(unchecked)} of {len(answers)} relations could not be checked: {why}.", facts),)
        return (
            CheckResult(
                name=self.name,
                verdict=Verdict.PASSED,
                detail=f"{len(answers)} heaps and B-trees in {len(relations)} databases are sound.",
                proves_data=True,
                measurements=measurements,
                facts=facts,
            ),
        )

    def _corrupt(self, corrupt: Sequence[str], checked: int, facts: dict[str, Any]) -> CheckResult:
        more = f"; and {len(corrupt) - _SHOWN} more" if len(corrupt) > _SHOWN else ""
        return CheckResult(
            name=self.name,
            verdict=Verdict.FAILED,
            signature="DATA_CORRUPT",
            detail=f"Corrupt, {len(corrupt)} of {checked} relations: {'; '.join(corrupt[:_SHOWN])}{more}.",
            facts=facts,
        )

    def _cannot(self, detail: str, facts: dict[str, Any] | None = None) -> CheckResult:
        return CheckResult(
            name=self.name, verdict=Verdict.COULD_NOT_VERIFY, signature="CHECK_BROKEN", detail=detail, facts=facts or {}
        )


async def _visibility(connection: Connection) -> str:
    """The schema of pg_visibility's functions; "" where it can't be installed."""
    try:
        return await install(connection, "pg_visibility")
    except psycopg.Error:
        if connection.closed:
            raise
        return ""


async def _relations(connection: Connection, schema: str, *, shared: bool, map_schema: str) -> list[_Relation]:
    cursor = await connection.execute(_RELATIONS)
    return [
        _Relation(oid=oid, name=f"{namespace}.{name}", index=index, evaluates=evaluates, schema=schema, map_schema=map_schema)
        for oid, namespace, name, index, _, is_shared, evaluates in await cursor.fetchall()
        if shared or not is_shared
    ]


async def _check(connection: Connection, database: str, relation: _Relation) -> _Answer:
    kind = "index" if relation.index else "table"
    named = f"{kind} {relation.name} (database {database})"
    if relation.index:
        query = sql.SQL("SELECT {}.bt_index_check({}::pg_catalog.oid::pg_catalog.regclass, true)")
    else:
        query = sql.SQL(
            "SELECT blkno, offnum, attnum, msg FROM {}.verify_heapam("
            "{}::pg_catalog.oid::pg_catalog.regclass, on_error_stop => true, check_toast => true) LIMIT 1"
        )
    try:
        cursor = await connection.execute(query.format(sql.Identifier(relation.schema), sql.Literal(relation.oid)))
        row = await cursor.fetchone()
        if row is None and relation.map_schema and not relation.index:
            visible = sql.SQL(_MAP).format(sql.Identifier(relation.map_schema), sql.Literal(relation.oid))
            row = await (await connection.execute(visible)).fetchone()
    except errors.UndefinedTable:
        # Dropped since it was listed; nobody else drops anything here but a smoke test's own temporary objects.
        return _Answer(unchecked=f"{named} is gone")
    except psycopg.Error as error:
        if connection.closed:
            raise
        if is_corruption(error, internal=not relation.evaluates):
            return _Answer(corrupt=f"{named}: {describe(error)}")
        return _Answer(unchecked=f"{named}: {describe(error)}")
    if not relation.index and row is not None:
        block, offset, attribute, message = row
        place = (
            f"block {block}"
            + (f", item {offset}" if offset is not None else "")
            + (f", column {attribute}" if attribute is not None else "")
        )
        return _Answer(corrupt=f"{named}: {place}: {message}")
    return _Answer()
