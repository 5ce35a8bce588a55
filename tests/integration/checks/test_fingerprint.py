from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import psycopg
import pytest

from airflow_dr_provider.checks import counting
from airflow_dr_provider.checks.drift import compare
from airflow_dr_provider.checks.fingerprint import capture, capture_database, list_databases
from airflow_dr_provider.checks.transaction_ids import widen
from airflow_dr_provider.domain.reference import ObjectKind, Reference, TableRows
from tests.integration.checks.conftest import Cluster
from tests.unit.checks.contexts import MOMENT

pytestmark = pytest.mark.postgres

NOTHING = {"reference_next": None, "restored_next": None, "reference_lsn": None, "restored_lsn": None}


def test_widening_finds_the_epoch() -> None:
    assert widen(5, 6) == 5
    assert widen(6, (7 << 32) + 6) == (6 << 32) + 6
    assert widen(6, (7 << 32) + 7) == (7 << 32) + 6
    assert widen(0xFFFFFFFF, (7 << 32) + 7) == (7 << 32) - 1
    assert [widen(xid, 100) for xid in range(3)] == [None] * 3
    assert widen(50, 20) is None


async def test_a_copy_has_the_same_fingerprint(cluster: Cluster, shop: str) -> None:
    reference = await cluster.reference("rich", shop)
    rich, copy = reference.databases
    assert compare(rich, copy, kinds=tuple(ObjectKind), **NOTHING) == ()
    assert {item.kind for item in rich.objects} == set(ObjectKind) - {ObjectKind.DATABASE}
    assert rich.notes == ()
    counts = {rows.name: rows.rows for rows in rich.tables}
    assert counts["sales.orders"] == 9000
    assert counts["sales.events_2024"] + counts["sales.events_rest"] == 300
    assert "sales.events" not in counts
    assert next(rows for rows in rich.tables if rows.name == "sales.scratch").unlogged
    assert reference.lsn is not None
    assert (reference.timeline, reference.server_version) == (1, 18)
    assert Reference.model_validate_json(reference.model_dump_json()) == reference


CHANGES = {
    "DROP INDEX sales.orders_by_customer": "index sales.orders_by_customer missing",
    "CREATE INDEX more ON sales.orders (placed)": "index sales.more extra",
    "ALTER TABLE sales.orders DROP CONSTRAINT sane": "constraint sales.orders.sane missing",
    "ALTER TABLE sales.orders VALIDATE CONSTRAINT later": None,
    'ALTER TABLE sales.events ALTER what TYPE varchar(999) COLLATE "POSIX"': "column sales.events.what changed",
    "ALTER TABLE sales.orders ALTER placed DROP DEFAULT": "column sales.orders.placed changed",
    "ALTER TABLE sales.orders ALTER placed DROP NOT NULL": "column sales.orders.placed changed",
    "ALTER TABLE sales.events_2024 SET UNLOGGED": "table sales.events_2024 changed",
    "ALTER TABLE sales.events DETACH PARTITION sales.events_2024": "table sales.events_2024 changed",
    "CREATE OR REPLACE FUNCTION sales.twice(x int) RETURNS int IMMUTABLE RETURN x * 3": "function sales.twice(integer) changed",
    "DROP AGGREGATE sales.total(int)": "function sales.total(integer) missing",
    "ALTER TABLE sales.orders DISABLE TRIGGER stamp": "trigger sales.orders.stamp changed",
    "DROP TRIGGER stamp ON sales.orders": "trigger sales.orders.stamp missing",
    "ALTER TYPE sales.mood ADD VALUE 'worse'": "type sales.mood changed",
    "ALTER DOMAIN sales.amount DROP CONSTRAINT positive": "constraint sales.amount.positive missing",
    "DROP POLICY own ON sales.orders": "policy sales.orders.own missing",
    "ALTER TABLE sales.orders DISABLE ROW LEVEL SECURITY": "table sales.orders changed",
    "ALTER SEQUENCE sales.numbers INCREMENT 4": "sequence sales.numbers changed",
    "CREATE OR REPLACE VIEW sales.revenue AS SELECT 'x'::text COLLATE \"C\" AS email, 1::numeric AS total": "view sales.revenue changed",
    "DROP MATERIALIZED VIEW sales.totals": "materialized view sales.totals missing",
    "DROP TABLE sales.scratch": "table sales.scratch missing",
    "CREATE SCHEMA another CREATE TABLE t (x int PRIMARY KEY)": "schema another extra",
    "CREATE EXTENSION pg_buffercache": "extension pg_buffercache extra",
    'DROP TABLE "Odd Names"."user ""table"""': 'table "Odd Names"."user ""table""" missing',
    "GRANT SELECT ON sales.orders TO narrow": "privileges sales.orders changed",
    "GRANT UPDATE (placed) ON sales.orders TO narrow": "privileges sales.orders changed",
    "REVOKE EXECUTE ON FUNCTION sales.twice FROM public": "privileges sales.twice(integer) changed",
    "ALTER FUNCTION sales.twice OWNER TO narrow": "privileges sales.twice(integer) changed",
    "GRANT USAGE ON SCHEMA sales TO narrow": "privileges sales changed",
    "GRANT USAGE ON SEQUENCE sales.numbers TO narrow": "privileges sales.numbers changed",
    "ALTER TYPE sales.mood OWNER TO narrow": "privileges sales.mood changed",
    "GRANT SELECT ON sales.orders TO postgres": None,
    "ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT SELECT ON TABLES TO narrow": "database setting",
    "ALTER TABLE sales.scratch DISABLE RULE quiet": "rule sales.scratch.quiet changed",
    "ALTER EVENT TRIGGER watch ENABLE": "event trigger watch changed",
    "ALTER SERVER away OPTIONS (SET host 'nearby.example')": "foreign server away changed",
    "ALTER PUBLICATION feed SET (publish = 'insert')": "publication feed changed",
    "ALTER PUBLICATION feed DROP TABLE sales.orders": None,
    "DROP STATISTICS sales.together": "extended statistics sales.together missing",
    "DROP COLLATION sales.plain": "collation sales.plain missing",
    "ALTER TABLE sales.orders SET (autovacuum_enabled = off)": "table sales.orders changed",
    "ALTER TABLE sales.orders REPLICA IDENTITY NOTHING": "table sales.orders changed",
    "UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 'sales.orders'::regclass AND tgisinternal": (
        "constraint sales.orders.orders_customer_id_fkey changed"
    ),
    "CREATE CAST (sales.pair AS text) WITH INOUT": "other object cast (sales.pair AS ",
    "CREATE OPERATOR sales.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)": "other object operator sales.===",
    "DROP FOREIGN DATA WRAPPER nowhere CASCADE": "other object foreign-data wrapper nowhere missing",
    "REFRESH MATERIALIZED VIEW sales.totals WITH NO DATA": "content sales.totals invalid",
    "VACUUM FULL sales.orders": None,
    "TRUNCATE sales.orders": None,
    "SELECT nextval('sales.numbers')": None,
    "ANALYZE": None,
}


@pytest.mark.parametrize(("statement", "expected"), CHANGES.items(), ids=lambda value: str(value)[:40])
async def test_each_change_shows_as_itself_alone(cluster: Cluster, shop: str, statement: str, expected: str | None) -> None:
    async with await cluster.connect(shop) as connection:
        before = await capture_database(connection, count_rows=False)
        await connection.execute(statement.encode())
        after = await capture_database(connection, count_rows=False)
    found = [str(item) for item in compare(before, after, kinds=tuple(ObjectKind), **NOTHING)]
    if "VALUE 'worse'" in statement or expected is None:
        assert found == ([expected] if expected else [])
    else:
        # A change may carry others with it: a constraint its index, a sort of column its index's text.
        assert any(item.startswith(expected) for item in found), found


async def test_a_narrow_account_counts_what_it_may(cluster: Cluster, shop: str) -> None:
    cluster.sql("GRANT USAGE ON SCHEMA sales TO narrow; GRANT SELECT ON sales.customers, sales.orders TO narrow", shop)
    reference = await capture(partial(cluster.connect_as, "narrow"), databases=[shop], source="production", now=MOMENT)
    whole = await cluster.reference(shop)
    (seen,), (all_of_it,) = reference.databases, whole.databases
    assert seen.objects == all_of_it.objects
    # Row security would hide rows from this account: a count of what is left would be a lie.
    assert [rows.name for rows in seen.tables] == ["pg_catalog.pg_largeobject_metadata", "sales.customers"]
    assert "sales.orders" in seen.notes[0]
    assert reference.system_identifier == whole.system_identifier


async def test_a_database_that_may_not_be_read_is_noted(cluster: Cluster, shop: str) -> None:
    cluster.sql(f"REVOKE CONNECT ON DATABASE {shop} FROM public", "postgres")
    connect = partial(cluster.connect_as, "narrow")
    reference = await capture(connect, databases=None, source="production", now=MOMENT)
    seen = {database.name: database for database in reference.databases}
    assert not seen[shop].captured
    assert "permission denied" in seen[shop].notes[0]
    assert seen["rich"].captured
    with pytest.raises(psycopg.OperationalError):
        await capture(connect, databases=[shop], source="production", now=MOMENT)


async def test_a_table_that_is_being_changed_is_waited_for(cluster: Cluster, shop: str) -> None:
    async with await cluster.connect(shop) as holder, await cluster.connect(shop) as connection:
        await holder.execute("BEGIN")
        await holder.execute("ALTER TABLE sales.customers ADD remark text")
        capturing = asyncio.create_task(capture_database(connection))
        while not (await (await holder.execute("SELECT 1 FROM pg_locks WHERE NOT granted")).fetchall()):
            await asyncio.sleep(0.02)
        await holder.execute("COMMIT")
        seen = await capturing
    assert seen.notes == ()
    assert len(seen.tables) == 8


async def test_a_count_holds_no_lock_when_it_is_over(cluster: Cluster, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    list_tables, count = counting.list_tables, counting.count

    async def counted(connection: Any, table: counting.Table) -> TableRows:
        cursor = await connection.execute(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation > 16383 AND locktype = 'relation'"
        )
        held.append((await cursor.fetchone())[0])
        return await count(connection, table)

    monkeypatch.setattr(counting, "count", counted)
    async with await cluster.connect(shop) as connection:
        tables = await list_tables(connection)
        await capture_database(connection)
    assert held == [0] * len(tables)


async def test_nothing_is_written_and_the_session_is_left_as_it_was(cluster: Cluster, shop: str) -> None:
    async with await cluster.connect(shop) as connection:
        before = await (await connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")).fetchone()
        await capture_database(connection)
        after = await (
            await connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text, current_setting('search_path')")
        ).fetchone()
    assert before is not None
    assert after == (before[0], '"$user", public')


async def test_estimates_where_there_is_no_time(cluster: Cluster, shop: str) -> None:
    async with await cluster.connect(shop) as connection:
        await connection.execute("ANALYZE")
        # With no time at all the catalogs would be out of time too: let the planner say that the table is large.
        await connection.execute("UPDATE pg_class SET reltuples = 5e6 WHERE relname = 'orders'")
        seen = await capture_database(connection)
    orders = next(rows for rows in seen.tables if rows.name == "sales.orders")
    assert (orders.rows, orders.exact) == (5_000_000, False)
    assert orders.oldest_row is not None


async def test_databases_without_templates(cluster: Cluster, shop: str) -> None:
    async with await cluster.connect(shop) as connection:
        assert await list_databases(connection) == tuple(sorted(("postgres", "rich", shop)))
