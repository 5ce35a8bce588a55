"""The roles of a cluster, as a reference keeps them."""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg
from psycopg import errors

from airflow_dr_provider.checks import counting
from airflow_dr_provider.checks.catalog_parts import DRILL_ROLES
from airflow_dr_provider.checks.transaction_ids import widen
from airflow_dr_provider.domain.reference import Membership, RoleFacts

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

# PostgreSQL's own roles come with its version, a sandbox's with the drill.
_ROLES = """
SELECT r.oid::bigint, r.rolname, concat_ws(', ',
  CASE WHEN r.rolsuper THEN 'superuser' END, CASE WHEN r.rolinherit THEN 'inherit' END,
  CASE WHEN r.rolcreaterole THEN 'createrole' END, CASE WHEN r.rolcreatedb THEN 'createdb' END,
  CASE WHEN r.rolcanlogin THEN 'login' END, CASE WHEN r.rolreplication THEN 'replication' END,
  CASE WHEN r.rolbypassrls THEN 'bypassrls' END, 'limit ' || r.rolconnlimit,
  'valid until ' || extract(epoch FROM r.rolvaliduntil))
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^pg_' AND r.rolname !~ %(drill)s ORDER BY r.rolname
"""

# Options of a membership came one by one: inherit and set with version 16.
_MEMBERSHIPS = """
SELECT m.member::bigint, r.rolname, concat_ws(', ', CASE WHEN m.admin_option THEN 'admin' END,
  CASE WHEN (to_jsonb(m) ->> 'inherit_option')::boolean THEN 'inherit' END,
  CASE WHEN (to_jsonb(m) ->> 'set_option')::boolean THEN 'set' END), m.xmin::text::bigint
FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.roleid
ORDER BY 1, 2, m.grantor
"""

_SETTINGS = """
SELECT s.setrole::bigint, coalesce(d.datname, ''), s.setconfig, s.xmin::text::bigint
FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
WHERE s.setrole <> 0 ORDER BY 1, 2
"""

# Whatever names a role proves that it existed when that row was written. The oldest one, as a 64-bit id.
_WITNESSES = """
WITH edge AS (SELECT %(next)s::bigint - 1 AS top),
named (role, xid) AS (
  SELECT d.refobjid, d.xmin::text::bigint FROM pg_catalog.pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass
  UNION ALL SELECT m.member, m.xmin::text::bigint FROM pg_catalog.pg_auth_members m
  UNION ALL SELECT m.roleid, m.xmin::text::bigint FROM pg_catalog.pg_auth_members m
  UNION ALL SELECT s.setrole, s.xmin::text::bigint FROM pg_catalog.pg_db_role_setting s
)
SELECT n.role::bigint, min(top - ((top - n.xid) & 4294967295)) FROM named n, edge WHERE n.xid >= 3 GROUP BY 1
"""


async def read_roles(connection: Connection) -> tuple[RoleFacts, ...]:
    """Every role but PostgreSQL's own and the sandbox's.

    :raises psycopg.Error: when the catalogs can't be read.
    """
    following = await counting.next_transaction(connection)
    roles = await (await connection.execute(_ROLES, {"drill": DRILL_ROLES})).fetchall()
    memberships: dict[int, list[Membership]] = {}
    settings: dict[int, list[str]] = {}
    newest: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for member, role, options, xid in await (await connection.execute(_MEMBERSHIPS)).fetchall():
        memberships.setdefault(member, []).append(Membership(role=role, options=options))
        _keep_newest(newest[0], member, widen(xid, following))
    for role, database, values, xid in await (await connection.execute(_SETTINGS)).fetchall():
        settings.setdefault(role, []).extend(_digest(database, value) for value in values or ())
        _keep_newest(newest[1], role, widen(xid, following))
    witnesses: dict[int, int] = dict(await (await connection.execute(_WITNESSES, {"next": following})).fetchall())
    written = await _written(connection, following)
    return tuple(
        RoleFacts(
            oid=oid,
            name=name,
            attributes=attributes,
            memberships=tuple(memberships.get(oid, ())),
            settings=tuple(sorted(settings.get(oid, ()))),
            changed_by=written.get(oid),
            exists_since=witnesses.get(oid),
            memberships_by=newest[0].get(oid),
            settings_by=newest[1].get(oid),
        )
        for oid, name, attributes in roles
    )


def _keep_newest(found: dict[int, int], role: int, xid: int | None) -> None:
    if xid is not None:
        found[role] = max(xid, found.get(role, 0))


def _digest(database: str, setting: str) -> str:
    """A setting's name, where it holds, and a digest of its value: it may be a secret of somebody's own."""
    name, _, value = setting.partition("=")
    return f"{name}{f' in {database}' if database else ''} {hashlib.sha256(value.encode()).hexdigest()[:12]}"


async def _written(connection: Connection, following: int) -> dict[int, int]:
    """The transactions that last wrote each role's row: only a superuser may see it."""
    try:
        cursor = await connection.execute("SELECT oid::bigint, xmin::text::bigint FROM pg_catalog.pg_authid")
        rows = await cursor.fetchall()
    except errors.InsufficientPrivilege:
        return {}
    wide = {oid: widen(xid, following) for oid, xid in rows}
    return {oid: xid for oid, xid in wide.items() if xid is not None}
