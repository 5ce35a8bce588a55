"""Objects that the open server loses: indexes, tables, constraints, extensions."""

from __future__ import annotations

from airflow_dr_provider.faults.base import Victim, refused

# Of what users made, the largest first: it is what a drill that looks at anything looks at.
_RELATIONS = """
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""
_LARGEST_FIRST = "ORDER BY pg_catalog.pg_total_relation_size(c.oid) DESC, c.oid LIMIT 1"
_NAME = "pg_catalog.format('%I.%I', n.nspname, c.relname)"


async def find(victim: Victim, query: str, what: str) -> tuple[str, str]:
    """The first database in which a query answers, and its answer.

    :raises SandboxError: when it answers nowhere.
    """
    for database in await victim.databases():
        async with await victim.connect(database) as connection:
            row = await (await connection.execute(query.encode())).fetchone()
            if row is not None:
                return database, str(row[0])
    raise refused(f"the restored databases hold {what}")


async def largest_table(victim: Victim) -> tuple[str, str]:
    """The database and the quoted name of the largest table that users made and that holds a row's page."""
    kinds = "AND c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) > 0"
    return await find(victim, f"SELECT {_NAME} {_RELATIONS} {kinds} {_LARGEST_FIRST}", "no table with rows")


async def _do(victim: Victim, query: str, what: str) -> str:
    """Let a query make the statement, and run it where the query answers."""
    database, statement = await find(victim, query, what)
    async with await victim.connect(database) as connection:
        await connection.execute(statement.encode())
    return f"{database}: {statement}"


async def drop_index(victim: Victim) -> str:
    """Drop the largest index that no constraint needs."""
    free = """AND c.relkind = 'i' AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = c.oid)"""
    query = f"SELECT pg_catalog.format('DROP INDEX %s', {_NAME}) {_RELATIONS} {free} {_LARGEST_FIRST}"
    return await _do(victim, query, "no index that could be dropped by itself")


async def invalidate_index(victim: Victim) -> str:
    """Mark the largest index invalid, as a failed CREATE INDEX CONCURRENTLY leaves one."""
    change = "UPDATE pg_catalog.pg_index SET indisvalid = false WHERE indexrelid = %L::pg_catalog.regclass"
    query = f"SELECT pg_catalog.format('{change}', {_NAME}) {_RELATIONS} AND c.relkind = 'i' {_LARGEST_FIRST}"
    return await _do(victim, query, "no index")


async def drop_table(victim: Victim) -> str:
    """Drop the largest table, with all that depends on it."""
    database, table = await largest_table(victim)
    async with await victim.connect(database) as connection:
        await connection.execute(f"DROP TABLE {table} CASCADE".encode())
    return f"{database}: {table} dropped"


async def drop_constraint(victim: Victim) -> str:
    """Drop a check or foreign key constraint."""
    query = f"""
        SELECT pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', {_NAME}, k.conname)
        FROM pg_catalog.pg_constraint k, pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f') AND k.conparentid = 0 AND c.relkind = 'r'
          AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
        {_LARGEST_FIRST}
    """
    return await _do(victim, query, "no check or foreign key constraint")


async def change_type(victim: Victim) -> str:
    """Give a column on which no view and no constraint depends the type text."""
    query = f"""
        SELECT pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I TYPE text USING %I::text', {_NAME}, a.attname, a.attname)
        FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = ''
          AND c.relkind = 'r' AND NOT c.relispartition AND a.atttypid <> 'text'::pg_catalog.regtype
          AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE a.attrelid IN (k.conrelid, k.confrelid)
                          AND k.contype <> 'n' AND (a.attnum = ANY (k.conkey) OR a.attnum = ANY (k.confkey)))
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refobjid = c.oid AND d.refobjsubid = a.attnum
                          AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass)
        {_LARGEST_FIRST}
    """
    return await _do(victim, query, "no column whose type could be changed by itself")


async def drop_extension(victim: Victim) -> str:
    """Drop an extension, one that was added before the one that every database has."""
    query = """
        SELECT pg_catalog.format('DROP EXTENSION %I CASCADE', extname) FROM pg_catalog.pg_extension
        ORDER BY extname = 'plpgsql', extname LIMIT 1
    """
    return await _do(victim, query, "no extension")


async def set_sequence_back(victim: Victim) -> str:
    """Set a sequence that numbers the rows of a table with rows back to its start."""
    query = f"""
        SELECT pg_catalog.format('SELECT pg_catalog.setval(%L, 1, false)', s.oid::pg_catalog.regclass)
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S',
             pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE d.refobjid = c.oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') AND pg_catalog.pg_relation_size(c.oid) > 0
          AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
        {_LARGEST_FIRST}
    """
    return await _do(victim, query, "no sequence that numbers rows")
