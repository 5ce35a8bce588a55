"""The catalog queries behind a reference that are about owners, grants and settings; see :mod:`.catalog_queries` for their form."""

from __future__ import annotations

from airflow_dr_provider.checks.catalog_parts import RELATION, USER_SCHEMA, no_extension, xids


def _grants(acl: str) -> str:
    """A list of rights as text, by the numbers of roles, which a renamed role keeps."""
    return (
        "(SELECT string_agg(g.grantee || '=' || g.privilege_type || CASE WHEN g.is_grantable THEN '*' ELSE '' END"
        f" || '/' || g.grantor, ' ' ORDER BY g.grantee, g.privilege_type, g.grantor) FROM aclexplode({acl}) g)"
    )


def _privileges(acl: str, kind: str, owner: str) -> str:
    """Owner and grants as text. Where nothing was ever granted the catalog is empty, and means the default."""
    return f"concat_ws(' ', 'owner', {owner}, {_grants(f'coalesce({acl}, acldefault({kind}, {owner}))')})"


_RELATION_KIND = "CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r' END"

PRIVILEGES = f"""
SELECT NULL, NULL, n.nspname, {_privileges("n.nspacl", "'n'", "n.nspowner")}, true, {xids("n.xmin")}, ARRAY[]::text[],
  NULL, n.nspname, ARRAY[]::bigint[], NULL
FROM pg_namespace n WHERE {USER_SCHEMA} AND {no_extension("pg_namespace", "n")}
UNION ALL
SELECT n.nspname, NULL, c.relname,
  concat_ws(' ', {_privileges("c.relacl", _RELATION_KIND, "c.relowner")},
    (SELECT string_agg(quote_ident(a.attname) || ' ' || {_grants("a.attacl")}, ', ' ORDER BY a.attnum)
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND cardinality(a.attacl) > 0)),
  true, {xids("c.xmin")}, ARRAY[]::text[], n.nspname, c.relname,
  {xids("n.xmin")} || ARRAY(SELECT a.xmin::text::bigint FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
  NULL
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {RELATION}
UNION ALL
SELECT n.nspname, NULL, p.proname, {_privileges("p.proacl", "'f'", "p.proowner")}, true, {xids("p.xmin")}, ARRAY[]::text[],
  n.nspname, NULL, {xids("n.xmin")}, oidvectortypes(p.proargtypes)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {USER_SCHEMA} AND {no_extension("pg_proc", "p")}
  AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_catalog.pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')
UNION ALL
SELECT n.nspname, NULL, t.typname, {_privileges("t.typacl", "'T'", "t.typowner")}, true, {xids("t.xmin")}, ARRAY[]::text[],
  n.nspname, t.typname, {xids("n.xmin")}, NULL
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE {USER_SCHEMA} AND {no_extension("pg_type", "t")} AND (t.typrelid = 0 OR c.relkind = 'c') AND t.typtype <> 'm'
  AND NOT EXISTS (SELECT FROM pg_type el WHERE el.typarray = t.oid)
"""

# Of the database itself. Values may be anything, so they become digests.
SETTINGS = f"""
SELECT NULL, NULL, 'of all roles', coalesce(array_to_string(s.setconfig, E'\\n'), ''), true,
  {xids("s.xmin")}, ARRAY[]::text[], NULL, NULL, ARRAY[]::bigint[]
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database() AND s.setrole = 0
UNION ALL
SELECT NULL, NULL, 'privileges', {_privileges("d.datacl", "'d'", "d.datdba")} || ' limit ' || d.datconnlimit, true,
  {xids("d.xmin")}, ARRAY[]::text[], NULL, NULL, ARRAY[]::bigint[]
FROM pg_database d WHERE d.datname = current_database()
UNION ALL
SELECT NULL, NULL, concat_ws(' ', 'default privileges', a.defaclrole, a.defaclobjtype, a.defaclnamespace),
  coalesce({_grants("a.defaclacl")}, ''), true,
  {xids("a.xmin")}, ARRAY[]::text[], NULL, NULL, ARRAY[]::bigint[]
FROM pg_default_acl a
"""
