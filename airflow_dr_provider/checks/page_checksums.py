"""Every page that the server can name, read through its own checksum verification."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import psycopg
from psycopg import errors, sql

from airflow_dr_provider.checks.answers import LISTED, failed, passed, some, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.cluster_drift import cluster_facts
from airflow_dr_provider.checks.extension import calm, install
from airflow_dr_provider.checks.parallel import Connection, any_connection, in_each, spread
from airflow_dr_provider.checks.sql_errors import describe, is_corruption
from airflow_dr_provider.domain.verdicts import CheckResult

_FORKS = ("main", "fsm", "vm", "init")
# After a bad page reading goes on behind it; a file that is bad all over need not be read to its end.
_BAD_PAGES = 10

_BLOCK = re.compile(r"\bblocks? (\d+)")

_RELATIONS = """
SELECT c.oid, n.nspname || '.' || c.relname, c.relisshared, f.fork,
  pg_catalog.pg_relation_size(c.oid, f.fork) / pg_catalog.current_setting('block_size')::bigint
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN pg_catalog.unnest(%s::text[]) AS f (fork)
WHERE c.relkind IN ('r', 'i', 'S', 't', 'm') AND c.relpersistence <> 't'
  AND pg_catalog.pg_relation_size(c.oid, f.fork) > 0
ORDER BY 5 DESC, 1, 4
"""


@dataclass(frozen=True, kw_only=True)
class _Fork:
    """One fork of one relation. *schema*: where pg_prewarm lies in its database."""

    oid: int
    name: str
    shared: bool
    fork: str
    pages: int
    schema: str


@dataclass(frozen=True, kw_only=True)
class _Answer:
    pages: int
    bad: tuple[str, ...] = ()
    unread: str = ""


class PageChecksumsCheck:
    """Reads every page of every fork of every relation into the server's buffers, which verifies each one's checksum.

    Heaps, indexes of all kinds, TOAST, sequences, materialised views, catalogs, free space and visibility maps of every
    database that takes connections. Proves that each of these pages is, byte for byte, as PostgreSQL last wrote it.
    Can't prove that a page is not missing (a truncated file has good pages), not an older version of itself, or rightly all
    zero, which PostgreSQL takes for new. Files of no relation, pg_control, pg_xact and databases that refuse connections are
    not read. Where the cluster was made without checksums only the pages' headers are verified, and the check says that it
    can't answer.
    """

    name: ClassVar[str] = "page_checksums"
    default_timeout: ClassVar[float] = 1800.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Read with pg_prewarm's ``buffer`` mode: the other modes read past the verification."""
        _, there = await cluster_facts(context)
        names = [name for name in context.databases if name in there]
        if not names:
            return (unknown(self.name, "CHECK_BROKEN", "There is no database to read."),)
        try:
            found = await in_each(context, names, _forks)
        except psycopg.Error as error:
            if is_corruption(error):
                return (failed(self.name, "DATA_CORRUPT", f"The restored catalogs can't be read: {describe(error)}."),)
            if isinstance(error, (errors.FeatureNotSupported, errors.UndefinedFile, errors.InsufficientPrivilege)):
                detail = f"pg_prewarm can't be installed: {describe(error)}."
                return (unknown(self.name, "EXTENSION_UNAVAILABLE", detail),)
            raise
        # Shared relations are the same files in every database.
        forks = {name: [fork for fork in listed if name == names[0] or not fork.shared] for name, listed in found.items()}
        async with await any_connection(context) as connection:
            row = await (await connection.execute("SELECT pg_catalog.current_setting('data_checksums')")).fetchone()
        return (self._judge(row == ("on",), await spread(context, forks, _read, prepare=_strict)),)

    def _judge(self, checksums: bool, answers: Sequence[_Answer]) -> CheckResult:
        bad = sorted(name for answer in answers for name in answer.bad)
        unread = sorted(answer.unread for answer in answers if answer.unread)
        pages = sum(answer.pages for answer in answers)
        measurements = {"pages": float(pages), "page_faults": float(len(bad)), "files_unread": float(len(unread))}
        facts: dict[str, Any] = {"bad": bad[:LISTED], "unread": unread[:LISTED], "data_checksums": checksums}
        if bad:
            code = "PAGE_CHECKSUM_MISMATCH" if checksums else "DATA_CORRUPT"
            detail = f"{len(bad)} pages or files can't be read: {some(bad)}."
            return failed(self.name, code, detail, measurements=measurements, facts=facts)
        if unread:
            detail = f"{len(unread)} of {len(answers)} files could not be read: {some(unread)}."
            return unknown(self.name, "CHECK_BROKEN", detail, measurements=measurements, facts=facts)
        if not checksums:
            detail = f"The cluster has no page checksums. The headers of all {pages} pages are plausible, which proves little."
            return unknown(self.name, "NO_PAGE_CHECKSUMS", detail, required=False, measurements=measurements, facts=facts)
        detail = f"{pages} pages in {len(answers)} files have the checksum that they carry."
        return passed(self.name, detail, measurements=measurements, facts=facts)


async def _strict(connection: Connection) -> None:
    await calm(connection)
    await connection.execute("SET ignore_checksum_failure = off")
    await connection.execute("SET zero_damaged_pages = off")


async def _forks(connection: Connection, database: str) -> list[_Fork]:
    schema = await install(connection, "pg_prewarm")
    cursor = await connection.execute(_RELATIONS, (list(_FORKS),))
    return [
        _Fork(oid=oid, name=f"{name} (database {database})", shared=shared, fork=fork, pages=pages, schema=schema)
        for oid, name, shared, fork, pages in await cursor.fetchall()
    ]


async def _read(connection: Connection, database: str, fork: _Fork) -> _Answer:
    what = fork.name if fork.fork == "main" else f"{fork.fork} fork of {fork.name}"
    query = sql.SQL("SELECT {}.pg_prewarm({}::pg_catalog.oid::pg_catalog.regclass, 'buffer', {}, {}, {})")
    bad: list[str] = []
    first = pages = 0
    while first < fork.pages and len(bad) < _BAD_PAGES:
        parts = (sql.Literal(fork.oid), sql.Literal(fork.fork), sql.Literal(first), sql.Literal(fork.pages - 1))
        try:
            cursor = await connection.execute(query.format(sql.Identifier(fork.schema), *parts))
            pages += int((await cursor.fetchone() or (0,))[0])
            break
        except psycopg.Error as error:
            if connection.closed:
                raise
            if not is_corruption(error, internal=True):
                return _Answer(pages=pages, bad=tuple(bad), unread=f"{what}: {describe(error)}")
            bad.append(f"{what}: {describe(error)}")
            block = _BLOCK.search(error.diag.message_primary or "")
            if block is None:
                break
            pages += int(block[1]) - first
            first = int(block[1]) + 1
    return _Answer(pages=pages, bad=tuple(bad))
