"""What the catalog queries of a reference are put together from."""

from __future__ import annotations

DRILL_SCHEMA = "airflow_dr"
"""The schema of what checks install in a restored database; never part of a reference."""

DRILL_ROLES = "^dr_(admin|smoke)_[0-9a-f]{8}$"
"""The names of a sandbox's own roles, as a regular expression; never part of a reference either."""

USER_SCHEMA = f"""n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', '{DRILL_SCHEMA}')"""


def no_extension(catalog: str, alias: str) -> str:
    """A condition: the row is no part of an extension."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_catalog.{catalog}'::regclass"
        f" AND e.objid = {alias}.oid AND e.deptype = 'e')"
    )


def xids(*columns: str) -> str:
    """Raw transaction ids as an array of numbers."""
    return "ARRAY[" + ", ".join(f"{column}::text::bigint" for column in columns) + "]"


def keys(*pairs: tuple[str, str] | tuple[str, str, str]) -> str:
    """Addresses of objects, each of catalog, number and, where there is one, column."""
    made = (f"'{pair[0]}:' || {pair[1]} || ':' || {pair[2] if len(pair) == 3 else '0'}" for pair in pairs)
    return "ARRAY[" + ", ".join(made) + "]::text[]"


# Relations whose objects are wanted: of the user, permanent or unlogged, no extension's.
RELATION = f"{USER_SCHEMA} AND c.relpersistence <> 't' AND {no_extension('pg_class', 'c')}"
