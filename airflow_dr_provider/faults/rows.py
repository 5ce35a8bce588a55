"""Rows that the open server loses."""

from __future__ import annotations

from psycopg import sql

from airflow_dr_provider.faults.base import Victim, refused
from airflow_dr_provider.faults.objects import find, largest_table


async def empty_table(victim: Victim) -> str:
    """Delete every row of the largest table, past foreign keys and triggers."""
    database, table = await largest_table(victim)
    async with await victim.connect(database) as connection:
        await connection.execute("SET session_replication_role = replica")
        deleted = await connection.execute(f"DELETE FROM {table}".encode())
        return f"{database}: {deleted.rowcount} rows of {table} deleted"


async def set_heartbeat_back(victim: Victim) -> str:
    """Set every heartbeat back by a year."""
    if victim.heartbeat is None:
        raise refused("the spec names no heartbeat")
    known, table, column = victim.heartbeat
    qualified = sql.SQL(".").join(map(sql.Identifier, table.split(".")))
    there = sql.SQL("SELECT 1 WHERE to_regclass({}) IS NOT NULL").format(sql.Literal(table)).as_string(None)
    database = known or (await find(victim, there, f"no table {table}"))[0]
    async with await victim.connect(database) as connection:
        statement = sql.SQL("UPDATE {} SET {} = {} - interval '1 year'")
        await connection.execute(statement.format(qualified, sql.Identifier(column), sql.Identifier(column)))
    return f"{database}: {table} set back by a year"
