from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_dr_provider.checks.amcheck import AmcheckCheck
from airflow_dr_provider.checks.fingerprint import capture_database
from airflow_dr_provider.domain.verdicts import Verdict
from tests.integration.checks.conftest import Cluster
from tests.unit.checks.contexts import outcome

pytestmark = pytest.mark.postgres

PAGE = 8192


def swap_items(file: Path) -> None:
    """Put two entries of a B-tree leaf in the wrong order: swap their line pointers."""
    content = bytearray(file.read_bytes())
    start = PAGE + 24 + 4 * 10
    content[start : start + 4], content[start + 4 : start + 8] = content[start + 4 : start + 8], content[start : start + 4]
    file.write_bytes(content)


def bend_tuple(file: Path) -> None:
    """Let a heap tuple say that its data begin beyond its end (t_hoff, byte 22 of its header)."""
    content = bytearray(file.read_bytes())
    pointer = int.from_bytes(content[24:28], "little")
    content[(pointer & 0x7FFF) + 22] = 0xF8
    file.write_bytes(content)


async def test_sound_databases_pass(cluster: Cluster, shop: str) -> None:
    (result,) = await AmcheckCheck().run(cluster.context(shop, "postgres"))
    assert result.verdict is Verdict.PASSED, result.detail
    assert result.proves_data
    assert result.measurements["relations"] > 400
    # What it installed is no drift.
    async with await cluster.connect(shop) as connection:
        seen = await capture_database(connection, count_rows=False)
    assert not any("amcheck" in item.name or "airflow_dr" in item.name for item in seen.objects)


@pytest.mark.parametrize(
    ("relation", "damage", "named"),
    [
        ("sales.customers_pkey", swap_items, "index sales.customers_pkey"),
        ("sales.orders", bend_tuple, "table sales.orders"),
        ("pg_catalog.pg_attribute_relid_attnum_index", swap_items, "pg_attribute_relid_attnum_index"),
    ],
)
async def test_damage_inside_is_found_and_named(
    cluster: Cluster, shop: str, relation: str, damage: Callable[[Path], None], named: str
) -> None:
    bad = cluster.damaged(shop, relation, damage)
    results = await AmcheckCheck().run(cluster.context(bad))
    assert outcome(results) == (Verdict.FAILED, "DATA_CORRUPT")
    assert named in results[0].detail


async def test_an_index_that_lacks_a_row_is_found(cluster: Cluster, shop: str) -> None:
    # An index built while rows were hidden from it: sound in itself, and wrong about its table.
    cluster.sql(
        """
        UPDATE pg_index SET indisready = false WHERE indexrelid = 'sales.customers_lower'::regclass;
        INSERT INTO sales.customers (email) VALUES ('hidden@example.com');
        UPDATE pg_index SET indisready = true WHERE indexrelid = 'sales.customers_lower'::regclass;
        """,
        shop,
    )
    results = await AmcheckCheck().run(cluster.context(shop))
    assert outcome(results) == (Verdict.FAILED, "DATA_CORRUPT")
    assert "customers_lower" in results[0].detail


async def test_a_visibility_map_that_shows_what_was_deleted(cluster: Cluster, shop: str) -> None:
    cluster.sql("VACUUM sales.orders", shop)
    cluster.sql("CHECKPOINT", shop)
    ((path,),) = cluster.sql("SELECT pg_relation_filepath('sales.orders')", shop)
    map_before = (cluster.server.data / f"{path}_vm").read_bytes()
    cluster.sql("DELETE FROM sales.orders WHERE id % 50 = 0", shop)
    bad = cluster.damaged(shop, "sales.orders", lambda file: file.with_name(f"{file.name}_vm").write_bytes(map_before))
    results = await AmcheckCheck().run(cluster.context(bad))
    assert outcome(results) == (Verdict.FAILED, "DATA_CORRUPT")
    assert "table sales.orders" in results[0].detail
    assert "visible to all" in results[0].detail
    assert outcome(await AmcheckCheck().run(cluster.context(shop))) == (Verdict.PASSED, None)


async def test_an_extension_that_cannot_be_installed_is_no_pass(cluster: Cluster, shop: str) -> None:
    cluster.admin = "narrow"
    results = await AmcheckCheck().run(cluster.context(shop))
    assert outcome(results) == (Verdict.COULD_NOT_VERIFY, "CHECK_BROKEN")
    assert "installed" in results[0].detail


async def test_triggers_of_production_stay_quiet(cluster: Cluster, shop: str) -> None:
    cluster.sql(
        """
        CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no changes here'; END $$;
        CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse();
        """,
        shop,
    )
    assert outcome(await AmcheckCheck().run(cluster.context(shop))) == (Verdict.PASSED, None)


async def test_productions_own_amcheck_is_used(cluster: Cluster, shop: str) -> None:
    cluster.sql("CREATE SCHEMA tools; CREATE EXTENSION amcheck SCHEMA tools VERSION '1.0'", shop)
    assert outcome(await AmcheckCheck().run(cluster.context(shop))) == (Verdict.PASSED, None)
