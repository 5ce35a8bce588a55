"""Do rows refer to rows that are there?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import psycopg
from psycopg import errors, sql

from airflow_dr_provider.checks.answers import LISTED, failed, passed, some, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.catalog_parts import RELATION
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.naming import label
from airflow_dr_provider.checks.parallel import Connection, in_each, spread
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.verdicts import CheckResult

_PAGES = 50_000
"""A table of more pages is sampled: by whole pages, the same ones each time."""
_COUNTED = 1000
_SHARE = 0.8

# Whole constraints only: a partition's part of one is judged with it. One that isn't validated (or not enforced) promises
# nothing of old rows. Where its triggers are off, or a subscription writes the rows, nobody held production to it.
_CONSTRAINTS = f"""
SELECT k.conname, n.nspname, c.relname, c.relkind = 'p', pn.nspname, p.relname, p.relkind = 'p',
  ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u (num, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place),
  ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u (num, place)
    JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.place),
  ARRAY(SELECT ARRAY[on_.nspname::text, o.oprname::text] FROM unnest(k.conpfeqop) WITH ORDINALITY u (op, place)
    JOIN pg_operator o ON o.oid = u.op JOIN pg_namespace on_ ON on_.oid = o.oprnamespace ORDER BY u.place),
  (SELECT coalesce(sum(pg_relation_size(t.relid)), 0)::bigint / current_setting('block_size')::bigint
    FROM (SELECT c.oid AS relid UNION ALL SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf AND relid <> c.oid) t),
  NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgconstraint = k.oid AND g.tgenabled = 'D')
    AND NOT EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid IN (k.conrelid, k.confrelid))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.convalidated AND k.conparentid = 0
  AND coalesce(to_jsonb(k) ->> 'conperiod', 'false') = 'false' AND {RELATION}
ORDER BY 11 DESC, 2, 3, 1
"""


@dataclass(frozen=True, kw_only=True)
class _Key:
    """A foreign key. *held*: whether production's server held its rows to it."""

    name: str
    schema: str
    table: str
    divided: bool
    parent_schema: str
    parent: str
    parent_divided: bool
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    pages: int
    held: bool

    @property
    def percent(self) -> float:
        """How much of the referring table is read."""
        return 100.0 if self.pages <= _PAGES else 100.0 * _PAGES / self.pages

    def statement(self, *, orphans: bool) -> sql.Composed:
        """A query for the number of orphans, up to a bound; or for whether any row refers to another."""
        table = sql.SQL("{}{}").format(sql.SQL("" if self.divided else "ONLY "), sql.Identifier(self.schema, self.table))
        filled = sql.SQL(" AND ").join(sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(name)) for name in self.columns)
        if not orphans:
            return sql.SQL("SELECT EXISTS (SELECT FROM {} c WHERE {})").format(table, filled)
        sample = sql.SQL("" if self.percent == 100 else " TABLESAMPLE SYSTEM ({}) REPEATABLE (1)").format(
            *([] if self.percent == 100 else [sql.Literal(self.percent)])
        )
        same = sql.SQL(" AND ").join(
            sql.SQL("p.{} OPERATOR({}.{}) c.{}").format(
                sql.Identifier(theirs), sql.Identifier(schema), sql.SQL(operator), sql.Identifier(ours)
            )
            for theirs, (schema, operator), ours in zip(self.parent_columns, self.operators, self.columns, strict=True)
        )
        parent = sql.SQL("{}{}").format(
            sql.SQL("" if self.parent_divided else "ONLY "), sql.Identifier(self.parent_schema, self.parent)
        )
        return sql.SQL(
            "SELECT pg_catalog.count(*) FROM (SELECT FROM {} c{} WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {}) LIMIT {}) o"
        ).format(table, sample, filled, parent, same, sql.Literal(_COUNTED))


@dataclass(frozen=True, kw_only=True)
class _Answer:
    name: str
    held: bool = True
    whole: bool = True
    orphans: int = 0
    rows: bool = False
    late: bool = False
    error: str = ""
    damage: str = ""


class ForeignKeysCheck:
    """Looks, for every validated foreign key, for rows that refer to a row that isn't there.

    Proves that tables fit each other: a lost or zeroed page of a table that others refer to shows here though each file is
    sound in itself. Can't prove anything of tables to which nobody refers, and of a table of more than 50,000 pages only a
    sample of pages is read. A key that is NOT VALID, or whose triggers are off, or whose rows a subscription writes, is not
    held by production either: its orphans are reported, not failed. Orphans that production made while its triggers were off
    and that are on again look like a loss; production has them too, and the check can't tell.
    """

    name: ClassVar[str] = "foreign_keys"
    default_timeout: ClassVar[float] = 600.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """The largest tables first; what there is no time for is said."""
        _, there = await cluster_facts(context)
        deadline = time.monotonic() + self.default_timeout * _SHARE
        keys = await in_each(context, [name for name in context.databases if name in there], _list)

        async def work(connection: Connection, database: str, key: _Key) -> _Answer:
            return await _look(connection, database, key, deadline - time.monotonic())

        return (self._judge(await spread(context, keys, work)),)

    def _judge(self, answers: Sequence[_Answer]) -> CheckResult:
        orphans = sorted(_told(answer) for answer in answers if answer.orphans and answer.held)
        loose = sorted(_told(answer) for answer in answers if answer.orphans and not answer.held)
        broken = sorted(f"{answer.name}: {answer.error}" for answer in answers if answer.error)
        late = sorted(answer.name for answer in answers if answer.late)
        damage = sorted(f"{answer.name}: {answer.damage}" for answer in answers if answer.damage)
        sampled = sum(not answer.whole for answer in answers)
        facts: dict[str, Any] = {
            "orphans": orphans[:LISTED],
            "orphans_not_held": loose[:LISTED],
            "unread": (broken + late)[:LISTED],
            "damaged": damage[:LISTED],
            "sampled": sampled,
        }
        measurements = {"foreign_keys": float(len(answers)), "foreign_keys_broken": float(len(orphans))}
        if damage:
            return failed(self.name, "DATA_CORRUPT", f"{some(damage)}.", measurements=measurements, facts=facts)
        if orphans:
            return failed(self.name, "FOREIGN_KEY_ORPHANS", f"{some(orphans)}.", measurements=measurements, facts=facts)
        if broken:
            detail = f"{len(broken)} of {len(answers)} foreign keys could not be checked: {some(broken)}."
            return unknown(self.name, "CHECK_BROKEN", detail, measurements=measurements, facts=facts)
        if late:
            detail = f"There was no time for {len(late)} of {len(answers)} foreign keys: {some(late)}."
            return unknown(self.name, "CHECK_TIMEOUT", detail, required=False, measurements=measurements, facts=facts)
        rest = f" Of {sampled} large tables a sample was read." if sampled else ""
        also = f" Not held by production: {some(loose)}." if loose else ""
        return passed(
            self.name,
            f"No row under {len(answers)} foreign keys refers to one that isn't there.{rest}{also}",
            proves_data=any(answer.rows for answer in answers),
            measurements=measurements,
            facts=facts,
        )


def _told(answer: _Answer) -> str:
    number = f"{_COUNTED} or more" if answer.orphans >= _COUNTED else str(answer.orphans)
    return f"{number} rows of {answer.name} refer to rows that aren't there"


async def _list(connection: Connection, database: str) -> list[_Key]:
    rows = await (await connection.execute(_CONSTRAINTS.encode())).fetchall()
    return [_Key(**_named(row)) for row in rows]


def _named(row: Sequence[Any]) -> dict[str, Any]:
    return {name: _frozen(part) for name, part in zip(_Key.__dataclass_fields__, row, strict=True)}


def _frozen(part: Any) -> Any:
    return tuple(map(_frozen, part)) if isinstance(part, list) else part


async def _look(connection: Connection, database: str, key: _Key, seconds: float) -> _Answer:
    name = f"{label(key.schema, key.table)} by {label(key.name)} (database {database})"
    if seconds <= 0:
        return _Answer(name=name, late=True)
    try:
        await connection.execute(
            "SELECT pg_catalog.set_config('statement_timeout', %s, false)", (str(max(1, int(seconds * 1000))),)
        )
        orphans = await (await connection.execute(key.statement(orphans=True))).fetchone()
        rows = await (await connection.execute(key.statement(orphans=False))).fetchone()
    except errors.QueryCanceled:
        return _Answer(name=name, late=True)
    except psycopg.Error as error:
        if connection.closed:
            raise
        if is_corruption(error):
            return _Answer(name=name, damage=describe(error))
        return _Answer(name=name, error=describe(error))
    return _Answer(
        name=name,
        held=key.held,
        whole=key.percent == 100,
        orphans=int(orphans[0]) if orphans else 0,
        rows=bool(rows and rows[0]),
    )
