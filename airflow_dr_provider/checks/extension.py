"""Install one of PostgreSQL's own extensions in a restored database: the copy is thrown away."""

from __future__ import annotations

from psycopg import sql

from airflow_dr_provider.checks.catalog_parts import DRILL_SCHEMA
from airflow_dr_provider.checks.parallel import Connection

TOOLS = ("amcheck", "pg_prewarm", "pg_visibility", "pg_walinspect")
"""What checks install."""

# Two sessions that make the same schema at once would get an error, not one schema.
_LOCK = 0x64725F65787465


async def calm(connection: Connection) -> None:
    """Keep production's triggers, also those on DDL, from firing in this session."""
    await connection.execute("SET session_replication_role = replica")


async def install(connection: Connection, name: str) -> str:
    """Make an extension usable in this database; the schema it lies in.

    Production's own is taken, brought to the version of these programs: an old one may lack the function that is wanted.

    :param connection: a superuser's, autocommit on.
    :raises psycopg.Error: when it isn't there to be installed, or the account may not.
    """
    await calm(connection)
    async with connection.transaction():
        await connection.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (_LOCK,))
        cursor = await connection.execute("SELECT count(*) FROM pg_catalog.pg_extension WHERE extname = %s", (name,))
        if (await cursor.fetchone() or (0,))[0]:
            await connection.execute(sql.SQL("ALTER EXTENSION {} UPDATE").format(sql.Identifier(name)))
        else:
            schema = sql.Identifier(DRILL_SCHEMA)
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            await connection.execute(sql.SQL("CREATE EXTENSION {} SCHEMA {}").format(sql.Identifier(name), schema))
    cursor = await connection.execute(
        "SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = %s",
        (name,),
    )
    return str((await cursor.fetchone() or ("",))[0])
