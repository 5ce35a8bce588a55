"""The schema, index and row checks on a restored server that is played by a copy of a database, and by the server itself."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_dr_provider.checks.indexes import IndexesCheck
from airflow_dr_provider.checks.row_counts import RowCountsCheck
from airflow_dr_provider.checks.schema_drift import SchemaDriftCheck
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reference import Reference
from airflow_dr_provider.domain.verdicts import Verdict
from tests.integration.checks.conftest import Cluster
from tests.unit.checks.contexts import outcome

pytestmark = pytest.mark.postgres

PASSED, FAILED, UNKNOWN = Verdict.PASSED, Verdict.FAILED, Verdict.COULD_NOT_VERIFY


async def before(cluster: Cluster, shop: str) -> Reference:
    """A reference of before the recovered point, as the last good run's is."""
    return await cluster.reference(shop, lsn=Lsn(1))


@pytest.mark.parametrize(
    ("fault", "check", "expected"),
    [
        ("SELECT 1", SchemaDriftCheck, (PASSED, None)),
        ("SELECT 1", IndexesCheck, (PASSED, None)),
        ("SELECT 1", RowCountsCheck, (PASSED, None)),
        ("ALTER TABLE sales.orders DROP COLUMN placed", SchemaDriftCheck, (FAILED, "SCHEMA_DRIFT")),
        ("ALTER TABLE sales.orders ALTER id TYPE bigint", SchemaDriftCheck, (FAILED, "SCHEMA_DRIFT")),
        ("DROP VIEW sales.revenue", SchemaDriftCheck, (FAILED, "SCHEMA_DRIFT")),
        ("DROP INDEX sales.orders_by_customer", IndexesCheck, (FAILED, "INDEX_MISSING")),
        ("DROP INDEX sales.orders_by_customer", SchemaDriftCheck, (PASSED, None)),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sales.orders_by_customer'::regclass",
            IndexesCheck,
            (FAILED, "INDEX_INVALID"),
        ),
        (
            "DROP INDEX sales.customers_lower; CREATE INDEX customers_lower ON sales.customers (upper(email))",
            IndexesCheck,
            (FAILED, "INDEX_DRIFT"),
        ),
        ("TRUNCATE sales.orders", RowCountsCheck, (FAILED, "ROW_COUNT_DROPPED")),
        ("TRUNCATE sales.scratch", RowCountsCheck, (PASSED, None)),
        ("DELETE FROM sales.orders WHERE id > 4000", RowCountsCheck, (FAILED, "ROW_COUNT_DROPPED")),
        ("DELETE FROM sales.orders WHERE id > 5000", RowCountsCheck, (PASSED, None)),
    ],
)
async def test_against_an_older_reference(
    cluster: Cluster, shop: str, fault: str, check: Any, expected: tuple[Verdict, str | None]
) -> None:
    reference = await before(cluster, shop)
    recovery = cluster.recovered_here()
    cluster.sql(fault, shop)
    results = await check().run(cluster.context(shop, reference=reference, recovery=recovery))
    assert outcome(results) == expected, results[0].detail
    if check is RowCountsCheck:
        assert results[0].proves_data


async def test_without_a_reference(cluster: Cluster, shop: str) -> None:
    context = cluster.context(shop)
    for check in (SchemaDriftCheck(), IndexesCheck(), RowCountsCheck()):
        results = await check.run(context)
        assert outcome(results) == (UNKNOWN, "NO_REFERENCE")
        assert not results[0].required
    cluster.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sales.orders_by_customer'::regclass", shop)
    # It may have been so in production, where one is under way or went wrong: nothing tells.
    results = await IndexesCheck().run(context)
    assert outcome(results) == (UNKNOWN, "INDEX_INVALID")
    assert not results[0].required
    assert "orders_by_customer" in results[0].detail


@pytest.mark.parametrize(
    "renaming", ["ALTER SCHEMA sales RENAME TO sold", "ALTER TABLE sales.customers RENAME TO clients",
                 "ALTER MATERIALIZED VIEW sales.totals RENAME TO sums"],
)  # fmt: skip
async def test_what_an_index_lies_in_is_renamed_after_the_recovered_point(cluster: Cluster, shop: str, renaming: str) -> None:
    recovery = cluster.recovered_here()
    copy = cluster.make(shop)
    cluster.sql(renaming, shop)
    reference = await cluster.reference(shop)
    renamed = reference.model_copy(
        update={"databases": tuple(item.model_copy(update={"name": copy}) for item in reference.databases)}
    )
    for check in (IndexesCheck(), SchemaDriftCheck()):
        results = await check.run(cluster.context(copy, reference=renamed, recovery=recovery))
        assert outcome(results) == (PASSED, None), results[0].detail
    cluster.sql("DROP INDEX sales.orders_by_customer", copy)
    results = await IndexesCheck().run(cluster.context(copy, reference=renamed, recovery=recovery))
    expected = (PASSED, None) if "SCHEMA" in renaming else (FAILED, "INDEX_MISSING")
    assert outcome(results) == expected, results[0].detail


async def test_an_index_that_is_invalid_in_production_too_is_no_fault(cluster: Cluster, shop: str) -> None:
    cluster.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sales.orders_by_customer'::regclass", shop)
    results = await IndexesCheck().run(cluster.context(shop, reference=await before(cluster, shop)))
    assert outcome(results) == (PASSED, None)
    assert "sales.orders_by_customer" in results[0].detail


async def test_whole_databases(cluster: Cluster, shop: str) -> None:
    reference = await before(cluster, shop)
    lost = reference.model_copy(
        update={"databases": (*reference.databases, reference.databases[0].model_copy(update={"name": "gone"}))}
    )
    recovery = cluster.recovered_here()
    results = await SchemaDriftCheck().run(cluster.context(shop, reference=lost, recovery=recovery))
    assert outcome(results) == (FAILED, "SCHEMA_DRIFT")
    assert "database gone missing" in results[0].detail
    assert outcome(await IndexesCheck().run(cluster.context(shop, reference=lost, recovery=recovery))) == (PASSED, None)
    # One that the spec names and nobody has.
    results = await SchemaDriftCheck().run(cluster.context(shop, "nowhere", reference=reference, recovery=recovery))
    assert "database nowhere missing" in results[0].detail
    # One that the reference could not hold: made since, or never read.
    unread = await SchemaDriftCheck().run(cluster.context(shop, "rich", reference=reference, recovery=recovery))
    assert outcome(unread) == (UNKNOWN, "NO_REFERENCE")
    assert not unread[0].required
    newer = cluster.make()
    assert outcome(
        await SchemaDriftCheck().run(cluster.context(shop, newer, reference=reference, recovery=cluster.recovered_here()))
    ) == (PASSED, None)


async def test_another_systems_reference_excuses_nothing(cluster: Cluster, shop: str) -> None:
    recovery = cluster.recovered_here()
    cluster.sql("CREATE TABLE sales.made_since (x int)", shop)
    reference = await cluster.reference(shop)
    cluster.sql("DROP TABLE sales.made_since", shop)
    assert outcome(await SchemaDriftCheck().run(cluster.context(shop, reference=reference, recovery=recovery))) == (
        PASSED,
        None,
    )
    foreign = reference.model_copy(update={"system_identifier": 42})
    results = await SchemaDriftCheck().run(cluster.context(shop, reference=foreign, recovery=recovery))
    assert outcome(results) == (FAILED, "SCHEMA_DRIFT")
    assert results[0].facts["reference"]["same_system"] is False


async def test_rows_are_judged_by_age_against_live_production(cluster: Cluster, shop: str) -> None:
    cluster.sql("CREATE TABLE queue (x int); CREATE TABLE busy (x int); INSERT INTO busy SELECT generate_series(1, 9)", shop)
    recovery = cluster.recovered_here()
    cluster.sql("INSERT INTO queue VALUES (1); INSERT INTO busy SELECT generate_series(1, 90)", shop)
    reference = await cluster.reference(shop)
    cluster.sql("TRUNCATE queue; DELETE FROM busy WHERE ctid > '(0,9)'", shop)
    context = cluster.context(shop, reference=reference, recovery=recovery)
    results = await RowCountsCheck().run(context)
    assert outcome(results) == (PASSED, None)
    assert {fact["table"] for fact in results[0].facts["reported"]} == {"public.queue", "public.busy"}
    cluster.sql("TRUNCATE busy", shop)
    results = await RowCountsCheck().run(context)
    assert outcome(results) == (FAILED, "ROW_COUNT_DROPPED")
    assert "public.busy" in results[0].detail


async def test_tables_that_cannot_be_read_need_no_reference(cluster: Cluster, shop: str) -> None:
    def garbage(file: Any) -> None:
        content = bytearray(file.read_bytes())
        content[8192 : 8192 + 64] = b"\xff" * 64
        file.write_bytes(content)

    bad = cluster.damaged(shop, "sales.orders", garbage)
    results = await RowCountsCheck().run(cluster.context(bad))
    assert outcome(results) == (FAILED, "DATA_CORRUPT")
    assert "sales.orders" in results[0].detail

    gone = cluster.damaged(shop, "sales.customers", lambda file: file.unlink())
    results = await RowCountsCheck().run(cluster.context(gone))
    assert outcome(results) == (FAILED, "DATA_CORRUPT")
    assert "sales.customers" in str(results[0].facts["faults"])


@pytest.mark.parametrize("frozen", [False, True])
async def test_a_heap_that_lost_its_last_page_is_found_out_by_its_index(cluster: Cluster, shop: str, frozen: bool) -> None:
    if frozen:
        # With the page marked as visible to all, nobody would even look at it.
        cluster.sql("VACUUM (FREEZE) sales.orders", shop)

    def shortened(file: Any) -> None:
        file.write_bytes(file.read_bytes()[:-8192])

    bad = cluster.damaged(shop, "sales.orders", shortened)
    assert cluster.sql("SELECT count(*) < 9000 FROM sales.orders", bad) == [(True,)]
    results = await RowCountsCheck().run(cluster.context(bad))
    assert outcome(results) == (FAILED, "DATA_CORRUPT")
    assert "sales.orders" in results[0].detail


async def test_an_unlogged_table_is_empty_after_a_recovery_and_no_fault(cluster: Cluster, shop: str) -> None:
    reference = await before(cluster, shop)
    cluster.sql("CREATE INDEX ON sales.scratch (x); TRUNCATE sales.scratch; DELETE FROM sales.orders WHERE id % 9 = 0", shop)
    results = await RowCountsCheck().run(cluster.context(shop, reference=reference, recovery=cluster.recovered_here()))
    assert outcome(results) == (PASSED, None), results[0].detail
