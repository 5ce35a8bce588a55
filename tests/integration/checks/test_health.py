from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from airflow_dr_provider.checks import health
from airflow_dr_provider.checks.health import HealthCheck
from airflow_dr_provider.domain.verdicts import Verdict
from airflow_dr_provider.errors import SandboxError
from tests.integration.checks.conftest import Cluster
from tests.unit.checks.contexts import outcome

pytestmark = pytest.mark.postgres


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_PAUSE_SECONDS", 0.01)


async def test_a_server_that_answers_in_every_database(cluster: Cluster, shop: str) -> None:
    (result,) = await HealthCheck().run(cluster.context(shop, "postgres", "not_there"))
    assert result.verdict is Verdict.PASSED, result.detail
    assert result.measurements["ping_seconds"] > 0
    assert not result.proves_data


async def test_a_database_that_cannot_be_opened(cluster: Cluster, shop: str) -> None:
    ((oid,),) = cluster.sql(f"SELECT oid FROM pg_database WHERE datname = '{shop}'", "postgres")
    cluster.sql("CHECKPOINT", "postgres")
    (cluster.server.data / "base" / str(oid) / "PG_VERSION").unlink()
    (result,) = await HealthCheck().run(cluster.context("postgres", shop))
    assert outcome([result]) == (Verdict.FAILED, "DATABASE_UNUSABLE")
    assert shop in result.detail
    assert "postgres" not in result.detail.partition("(")[0]


async def test_a_damaged_catalog_is_damaged_data(cluster: Cluster, shop: str) -> None:
    bad = cluster.damaged(shop, "pg_catalog.pg_class_relname_nsp_index", spoil)
    results = await HealthCheck().run(cluster.context(bad))
    assert outcome(results) == (Verdict.FAILED, "DATA_CORRUPT")


def spoil(file: Path) -> None:
    """Overwrite the header of the first page."""
    with file.open("r+b") as opened:
        opened.write(b"\x01" * 24)


async def test_a_server_that_is_gone(cluster: Cluster) -> None:
    results = await HealthCheck().run(cluster.context("postgres", connect=refused))
    assert outcome(results) == (Verdict.FAILED, "SERVER_UNREACHABLE")


async def test_a_moment_without_an_answer_is_waited_for(cluster: Cluster) -> None:
    refusals = iter([psycopg.OperationalError("too many clients"), SandboxError("nobody answers")])

    async def connect(database: str, role: str = "admin") -> object:
        for error in refusals:
            raise error
        return await cluster.connect(database, role)

    (result,) = await HealthCheck().run(cluster.context("postgres", connect=connect))
    assert result.verdict is Verdict.PASSED, result.detail


async def refused(database: str, role: str = "admin") -> object:
    return await psycopg.AsyncConnection.connect(host="/nonexistent", dbname=database, user=role)
