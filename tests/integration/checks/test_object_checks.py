"""Extensions, roles, collations, sequences, materialised views and foreign keys, each with its fault and without it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from airflow_dr_provider.checks.collations import CollationsCheck
from airflow_dr_provider.checks.extensions import ExtensionsCheck
from airflow_dr_provider.checks.fingerprint import capture
from airflow_dr_provider.checks.foreign_keys import ForeignKeysCheck
from airflow_dr_provider.checks.materialized_views import MaterializedViewsCheck
from airflow_dr_provider.checks.roles import RolesCheck
from airflow_dr_provider.checks.schema_drift import SchemaDriftCheck
from airflow_dr_provider.checks.sequences import SequencesCheck
from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reference import FIRST_KINDS, Reference
from airflow_dr_provider.domain.verdicts import Verdict
from tests.integration.checks.conftest import Cluster
from tests.unit.checks.contexts import MOMENT, outcome

pytestmark = pytest.mark.postgres

PASSED, FAILED, UNKNOWN = Verdict.PASSED, Verdict.FAILED, Verdict.COULD_NOT_VERIFY
ALL = (ExtensionsCheck, RolesCheck, CollationsCheck, SequencesCheck, MaterializedViewsCheck, ForeignKeysCheck, SchemaDriftCheck)


@pytest.fixture
def roles(server: DemoProduction) -> Iterator[None]:
    """Roles of one test, for they belong to the whole server; they outlast the test's databases, which may name them."""
    server.sql("CREATE ROLE clerk LOGIN; CREATE ROLE staff; GRANT staff TO clerk")
    server.sql("ALTER ROLE clerk SET work_mem = '8MB'")
    yield
    server.sql("DROP ROLE IF EXISTS clerk; DROP ROLE IF EXISTS writer; DROP ROLE IF EXISTS staff")


async def before(cluster: Cluster, shop: str) -> Reference:
    return await cluster.reference(shop, lsn=Lsn(1))


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize("check", ALL)
async def test_a_healthy_copy_passes(cluster: Cluster, shop: str, check: Any) -> None:
    cluster.sql("CREATE EXTENSION citext SCHEMA sales; CREATE TABLE words (w sales.citext PRIMARY KEY)", shop)
    older = await before(cluster, shop)
    for reference in (older, await cluster.reference(shop)):
        context = cluster.context(shop, reference=reference, recovery=cluster.recovered_here())
        results = await check().run(context)
        assert outcome(results) == (PASSED, None), (check, results[0].detail)


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize(
    ("fault", "check", "expected"),
    [
        ("DROP EXTENSION citext", ExtensionsCheck, "EXTENSION_MISSING"),
        ("ALTER EXTENSION citext UPDATE", ExtensionsCheck, "EXTENSION_DRIFT"),
        ("DROP ROLE clerk", RolesCheck, "ROLE_MISSING"),
        ("ALTER ROLE clerk SUPERUSER", RolesCheck, "ROLE_DRIFT"),
        ("ALTER ROLE clerk CONNECTION LIMIT 3", RolesCheck, "ROLE_DRIFT"),
        ("REVOKE staff FROM clerk", RolesCheck, "ROLE_DRIFT"),
        ("GRANT pg_read_all_data TO staff", RolesCheck, "ROLE_DRIFT"),
        ("ALTER ROLE clerk RESET work_mem", RolesCheck, "ROLE_DRIFT"),
        ("ALTER ROLE clerk SET work_mem = '9MB'", RolesCheck, "ROLE_DRIFT"),
        ("ALTER ROLE clerk RENAME TO writer", RolesCheck, "ROLE_DRIFT"),
        ("CREATE ROLE writer", RolesCheck, "ROLE_DRIFT"),
        ("SELECT setval('sales.orders_id_seq', 40)", SequencesCheck, "SEQUENCE_BEHIND"),
        ("ALTER TABLE sales.customers ALTER id RESTART WITH 5", SequencesCheck, "SEQUENCE_BEHIND"),
        ("REFRESH MATERIALIZED VIEW sales.totals WITH NO DATA", MaterializedViewsCheck, "MATVIEW_UNPOPULATED"),
        ("GRANT SELECT ON sales.orders TO narrow", SchemaDriftCheck, "SCHEMA_DRIFT"),
        ("ALTER FUNCTION sales.twice OWNER TO narrow", SchemaDriftCheck, "SCHEMA_DRIFT"),
        ("ALTER EVENT TRIGGER watch ENABLE", SchemaDriftCheck, "SCHEMA_DRIFT"),
        ("DROP PUBLICATION feed", SchemaDriftCheck, "SCHEMA_DRIFT"),
        ("ALTER TABLE sales.events DETACH PARTITION sales.events_2024", SchemaDriftCheck, "SCHEMA_DRIFT"),
    ],
)
async def test_what_the_sandbox_did_is_a_fault_against_either_reference(
    cluster: Cluster, shop: str, fault: str, check: Any, expected: str
) -> None:
    cluster.sql("CREATE EXTENSION citext SCHEMA sales VERSION '1.4'; GRANT SELECT ON sales.revenue TO clerk", shop)
    older, recovery = await before(cluster, shop), cluster.recovered_here()
    later = older.model_copy(update={"lsn": Lsn(recovery.replayed_lsn or 0) + 1})
    cluster.sql("REVOKE ALL ON sales.revenue FROM clerk" if "DROP ROLE" in fault else "SELECT 1", shop)
    cluster.sql(fault, shop)
    results = await check().run(cluster.context(shop, reference=older, recovery=recovery))
    assert outcome(results) == (FAILED, expected), results[0].detail
    # Against production as it is now, what the copy has and production lacks may have been taken away since.
    results = await check().run(cluster.context(shop, reference=later, recovery=recovery))
    more = fault.startswith("CREATE ROLE") or "TO staff" in fault
    assert outcome(results) == ((PASSED, None) if more else (FAILED, expected)), results[0].detail


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize(
    "change",
    [
        "CREATE ROLE writer",
        "ALTER ROLE clerk RENAME TO writer",
        "ALTER ROLE clerk CREATEDB",
        "REVOKE staff FROM clerk",
        "GRANT pg_read_all_data TO clerk",
        "ALTER ROLE clerk SET work_mem = '9MB'",
        "GRANT SELECT ON sales.orders TO clerk",
        "REVOKE ALL ON sales.revenue FROM clerk",
        "ALTER TABLE sales.orders OWNER TO staff",
        "REFRESH MATERIALIZED VIEW sales.totals WITH NO DATA",
        "ALTER PUBLICATION feed DROP TABLE sales.orders",
        "ALTER EVENT TRIGGER watch ENABLE ALWAYS",
    ],
)
async def test_what_production_did_is_no_fault(cluster: Cluster, shop: str, change: str) -> None:
    """Later than the recovered point, and seen by a superuser's reference; or earlier, after an older reference."""
    cluster.sql("GRANT SELECT ON sales.revenue TO clerk", shop)
    older, at_change = await before(cluster, shop), cluster.recovered_here()
    copy = cluster.make(shop)  # as it was at the recovered point
    cluster.sql(change, shop)
    now = await cluster.reference(shop)
    after = cluster.recovered_here()
    renamed = now.model_copy(update={"databases": tuple(d.model_copy(update={"name": copy}) for d in now.databases)})
    for check in (SchemaDriftCheck, MaterializedViewsCheck):
        results = await check().run(cluster.context(copy, reference=renamed, recovery=at_change))
        assert outcome(results) == (PASSED, None), results[0].detail
    for check in (SchemaDriftCheck, MaterializedViewsCheck, RolesCheck):
        results = await check().run(cluster.context(shop, reference=older, recovery=after))
        # Nothing tells that a membership was taken away rather than lost.
        gone = change.startswith("REVOKE staff") and check is RolesCheck
        assert outcome(results) == ((FAILED, "ROLE_DRIFT") if gone else (PASSED, None)), results[0].detail


@pytest.mark.usefixtures("roles")
async def test_roles_as_production_has_them_now(cluster: Cluster, shop: str) -> None:
    """The copy is the server as it is; production's later work is in the reference only."""
    recovery = cluster.recovered_here()
    cluster.sql("CREATE ROLE writer; ALTER ROLE clerk CREATEDB; GRANT writer TO clerk", "postgres")
    whole = await cluster.reference(shop)
    blind = await capture(partial(cluster.connect_as, "narrow"), databases=[shop], source="production", now=MOMENT)
    cluster.sql("REVOKE writer FROM clerk; DROP ROLE writer; ALTER ROLE clerk NOCREATEDB", "postgres")
    results = await RolesCheck().run(cluster.context(shop, reference=whole, recovery=recovery))
    assert outcome(results) == (PASSED, None), results[0].detail
    (result,) = await RolesCheck().run(cluster.context(shop, reference=blind, recovery=recovery))
    assert outcome((result,)) == (UNKNOWN, "NO_REFERENCE")
    assert not result.required
    # What a row of before the recovered point names was there, whoever looks.
    cluster.sql("REVOKE staff FROM clerk; DROP ROLE clerk", "postgres")
    results = await RolesCheck().run(cluster.context(shop, reference=blind, recovery=recovery))
    assert outcome(results) == (FAILED, "ROLE_MISSING")


async def test_an_old_reference_is_compared_by_what_it_has(cluster: Cluster, shop: str) -> None:
    made = await before(cluster, shop)
    databases = tuple(
        database.model_copy(
            update={
                "kinds": (),
                "sequences": None,
                "objects": tuple(item for item in database.objects if item.kind in FIRST_KINDS),
            }
        )
        for database in made.databases
    )
    dumped = made.model_copy(update={"databases": databases, "roles": None}).model_dump(mode="json", exclude={"roles"})
    for database in dumped["databases"]:
        del database["kinds"], database["sequences"]
    old = Reference.model_validate(dumped)
    cluster.sql("GRANT SELECT ON sales.orders TO narrow; SELECT setval('sales.orders_id_seq', 40)", shop)
    context = cluster.context(shop, reference=old, recovery=cluster.recovered_here())
    results = await SchemaDriftCheck().run(context)
    assert outcome(results) == (PASSED, None)
    assert "privileges" in results[0].facts["kinds_not_in_reference"]
    for check, expected in ((RolesCheck, "NO_REFERENCE"), (SequencesCheck, "SEQUENCE_BEHIND")):
        (result,) = await check().run(context)
        assert (outcome((result,)), result.required) == ((UNKNOWN, expected), False)
    assert outcome(await MaterializedViewsCheck().run(context)) == (PASSED, None)


async def test_without_a_reference(cluster: Cluster, shop: str) -> None:
    cluster.sql("REFRESH MATERIALIZED VIEW sales.totals WITH NO DATA; SELECT setval('sales.orders_id_seq', 40)", shop)
    for check, expected in (
        (ExtensionsCheck, "NO_REFERENCE"),
        (RolesCheck, "NO_REFERENCE"),
        (SequencesCheck, "SEQUENCE_BEHIND"),
        (MaterializedViewsCheck, "MATVIEW_UNPOPULATED"),
    ):
        (result,) = await check().run(cluster.context(shop))
        assert (outcome((result,)), result.required) == ((UNKNOWN, expected), False), check


async def test_a_sequence_that_rows_overtook_is_productions_own(cluster: Cluster, shop: str) -> None:
    older = await before(cluster, shop)
    cluster.sql("INSERT INTO sales.orders (id) VALUES (70000)", shop)
    recovery = cluster.recovered_here()
    (result,) = await SequencesCheck().run(cluster.context(shop, reference=older, recovery=recovery))
    assert (outcome((result,)), result.required) == ((UNKNOWN, "SEQUENCE_BEHIND"), False)
    same = await before(cluster, shop)
    (result,) = await SequencesCheck().run(cluster.context(shop, reference=same, recovery=recovery))
    assert outcome((result,)) == (PASSED, None)
    assert "sales.orders_id_seq" in result.detail


@pytest.mark.parametrize(("needed", "table"), [(True, "CREATE TABLE words (w sales.citext)"), (False, "SELECT 1")])
async def test_a_library_that_is_not_here_is_the_environments_fault(
    cluster: Cluster, shop: str, needed: bool, table: str
) -> None:
    cluster.sql("CREATE EXTENSION citext SCHEMA sales", shop)
    cluster.sql(table, shop)
    reference = await before(cluster, shop)
    cluster.sql("UPDATE pg_proc SET probin = '$libdir/postgis-3' WHERE probin = '$libdir/citext'", shop)
    context = cluster.context(shop, reference=reference, recovery=cluster.recovered_here())
    (result,) = await ExtensionsCheck().run(context)
    assert outcome((result,)) == (UNKNOWN, "EXTENSION_UNAVAILABLE")
    assert result.required is needed
    assert "postgis-3" in result.detail


async def test_another_librarys_sorting_is_told(cluster: Cluster, shop: str) -> None:
    cluster.sql(
        'CREATE COLLATION sales.locale FROM "C"; CREATE TABLE names (n text COLLATE sales.locale); CREATE INDEX ON names (n)',
        shop,
    )
    assert outcome(await CollationsCheck().run(cluster.context(shop))) == (PASSED, None)
    cluster.sql("UPDATE pg_collation SET collversion = '1.0' WHERE collname = 'locale'", shop)
    (result,) = await CollationsCheck().run(cluster.context(shop))
    assert (outcome((result,)), result.required) == ((UNKNOWN, "COLLATION_DIFFERS"), False)
    cluster.sql("DROP INDEX names_n_idx; CREATE INDEX ON sales.events (what)", shop)
    assert outcome(await CollationsCheck().run(cluster.context(shop))) == (PASSED, None)
    cluster.sql(f"UPDATE pg_database SET datcollversion = '0.5' WHERE datname = '{shop}'", shop)
    (result,) = await CollationsCheck().run(cluster.context(shop))
    assert (outcome((result,)), result.required) == ((UNKNOWN, "COLLATION_DIFFERS"), False)


LOSSES = {
    "a lost row": "SET session_replication_role = replica; DELETE FROM sales.customers WHERE id = 17",
    "a key of two columns": """
        CREATE TABLE pairs (a int, b text, PRIMARY KEY (a, b)); CREATE TABLE uses (a int, b text, FOREIGN KEY (a, b) REFERENCES pairs);
        INSERT INTO pairs VALUES (1, 'x'); INSERT INTO uses VALUES (1, 'x'), (NULL, 'y');
        SET session_replication_role = replica; DELETE FROM pairs""",
    "a partitioned one": """
        CREATE TABLE days (d date PRIMARY KEY) PARTITION BY RANGE (d); CREATE TABLE days_all PARTITION OF days DEFAULT;
        CREATE TABLE "On Days" (d date REFERENCES days); INSERT INTO days VALUES ('2026-01-01');
        INSERT INTO "On Days" VALUES ('2026-01-01'); SET session_replication_role = replica; DELETE FROM days""",
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
async def test_orphans_are_found(cluster: Cluster, shop: str, loss: str) -> None:
    (sound,) = await ForeignKeysCheck().run(cluster.context(shop))
    assert outcome((sound,)) == (PASSED, None)
    assert sound.proves_data
    cluster.sql(loss, shop)
    results = await ForeignKeysCheck().run(cluster.context(shop))
    assert outcome(results) == (FAILED, "FOREIGN_KEY_ORPHANS")


@pytest.mark.parametrize(
    "loose",
    [
        "ALTER TABLE sales.orders DISABLE TRIGGER ALL; DELETE FROM sales.customers WHERE id = 17",
        """ALTER TABLE sales.orders DROP CONSTRAINT orders_customer_id_fkey; DELETE FROM sales.customers WHERE id = 17;
        ALTER TABLE sales.orders ADD FOREIGN KEY (customer_id) REFERENCES sales.customers (id) NOT VALID""",
    ],
)
async def test_orphans_that_production_allows_are_no_fault(cluster: Cluster, shop: str, loose: str) -> None:
    cluster.sql("SET session_replication_role = replica; " + loose, shop)
    assert outcome(await ForeignKeysCheck().run(cluster.context(shop))) == (PASSED, None)


async def test_a_large_table_is_sampled_and_says_so(cluster: Cluster, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_dr_provider.checks.foreign_keys._PAGES", 20)
    (result,) = await ForeignKeysCheck().run(cluster.context(shop))
    assert outcome((result,)) == (PASSED, None)
    assert result.facts["sampled"] == 1
    cluster.sql("SET session_replication_role = replica; DELETE FROM sales.customers", shop)
    (result,) = await ForeignKeysCheck().run(cluster.context(shop))
    assert outcome((result,)) == (FAILED, "FOREIGN_KEY_ORPHANS")


async def test_a_page_that_became_zero_leaves_orphans(cluster: Cluster, shop: str) -> None:
    def zeroed(file: Any) -> None:
        content = bytearray(file.read_bytes())
        content[8192:16384] = bytes(8192)
        file.write_bytes(content)

    bad = cluster.damaged(shop, "sales.customers", zeroed)
    results = await ForeignKeysCheck().run(cluster.context(bad))
    assert outcome(results) == (FAILED, "FOREIGN_KEY_ORPHANS")
