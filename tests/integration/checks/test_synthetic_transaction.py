from __future__ import annotations

import pytest

from airflow_dr_provider.checks.fingerprint import capture_database
from airflow_dr_provider.checks.synthetic_transaction import SyntheticTransactionCheck
from airflow_dr_provider.domain.verdicts import Verdict
from tests.integration.checks.conftest import Cluster
from tests.integration.checks.test_health import spoil
from tests.unit.checks.contexts import outcome

pytestmark = pytest.mark.postgres


async def test_every_database_takes_writes_and_nothing_of_them_stays(cluster: Cluster, shop: str) -> None:
    async with await cluster.connect(shop) as connection:
        before = await capture_database(connection)
    (result,) = await SyntheticTransactionCheck().run(cluster.context(shop, "postgres"))
    assert result.verdict is Verdict.PASSED, result.detail
    assert result.measurements["write_seconds"] > 0
    assert not result.proves_data
    async with await cluster.connect(shop) as connection:
        assert await capture_database(connection) == before
    assert cluster.sql("SELECT to_regclass('airflow_dr.synthetic_transaction') IS NULL", shop) == [(True,)]


async def test_what_an_earlier_try_left_is_no_obstacle(cluster: Cluster, shop: str) -> None:
    cluster.sql("CREATE SCHEMA airflow_dr; CREATE TABLE airflow_dr.synthetic_transaction (other int)", shop)
    (result,) = await SyntheticTransactionCheck().run(cluster.context(shop))
    assert result.verdict is Verdict.PASSED, result.detail


async def test_triggers_on_ddl_do_not_fire(cluster: Cluster, shop: str) -> None:
    cluster.sql(
        """
        CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no DDL''; END';
        CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse();
        """,
        shop,
    )
    (result,) = await SyntheticTransactionCheck().run(cluster.context(shop))
    assert result.verdict is Verdict.PASSED, result.detail


async def test_a_database_that_takes_no_writes(cluster: Cluster, shop: str) -> None:
    cluster.sql(f"ALTER DATABASE {shop} SET default_transaction_read_only = on", "postgres")
    results = await SyntheticTransactionCheck().run(cluster.context("postgres", shop))
    assert outcome(results) == (Verdict.FAILED, "WRITE_FAILED")
    assert shop in results[0].detail


async def test_an_account_without_the_right(cluster: Cluster, shop: str) -> None:
    cluster.admin = "narrow"
    results = await SyntheticTransactionCheck().run(cluster.context(shop))
    assert outcome(results) == (Verdict.FAILED, "WRITE_FAILED")


async def test_a_damaged_catalog_is_damaged_data(cluster: Cluster, shop: str) -> None:
    bad = cluster.damaged(shop, "pg_catalog.pg_class_relname_nsp_index", spoil)
    results = await SyntheticTransactionCheck().run(cluster.context("postgres", bad))
    assert outcome(results) == (Verdict.FAILED, "DATA_CORRUPT")


async def test_without_a_database_nothing_is_proved(cluster: Cluster) -> None:
    results = await SyntheticTransactionCheck().run(cluster.context("not_there"))
    assert outcome(results) == (Verdict.COULD_NOT_VERIFY, "CHECK_BROKEN")
