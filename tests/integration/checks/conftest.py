"""One real server a session, without page checksums so that damage inside pages is amcheck's to find, and a database a test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.fingerprint import capture
from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.domain.reference import Reference
from airflow_dr_provider.domain.reports import Recovery
from tests.unit.checks.contexts import MOMENT, RECOVERY, context

RICH = (Path(__file__).parent / "rich.sql").read_text()
ROLES = """
CREATE ROLE smoke LOGIN IN ROLE pg_read_all_data BYPASSRLS;
CREATE ROLE strong LOGIN IN ROLE pg_write_server_files;
CREATE ROLE narrow LOGIN;
"""
_numbers = count()


class Cluster:
    """The server, and how a check or a production account reaches it."""

    def __init__(self, server: DemoProduction) -> None:
        self.server = server
        self.smoke = "smoke"
        self.admin = "postgres"

    async def connect(self, database: str, role: str = "admin") -> psycopg.AsyncConnection[Any]:
        return await self.connect_as(self.smoke if role == "smoke" else self.admin, database)

    async def connect_as(self, user: str, database: str) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            host=str(self.server.socket), port=self.server.port, user=user, dbname=database or "postgres", autocommit=True
        )

    def sql(self, statement: str, database: str) -> list[tuple[Any, ...]]:
        return self.server.sql(statement, database)

    def make(self, template: str = "rich", *, strategy: str = "wal_log") -> str:
        name = f"shop_{next(_numbers)}"
        self.server.sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY {strategy}")
        return name

    def damaged(self, database: str, relation: str, damage: Callable[[Path], None]) -> str:
        """A copy of a database in which one relation's file was damaged on disk before anybody read it."""
        self.server.sql("CHECKPOINT")
        file = self.server.data / str(self.server.sql(f"SELECT pg_relation_filepath('{relation}')", database)[0][0])
        damage(file)
        return self.make(database, strategy="file_copy")

    async def reference(self, *databases: str, **changes: Any) -> Reference:
        made = await capture(self.connect, databases=databases, source="production", now=MOMENT)
        return made.model_copy(update=changes)

    def recovered_here(self) -> Recovery:
        """A recovery whose point is this very moment."""
        ((lsn, following),) = self.server.sql(
            "SELECT pg_current_wal_lsn()::text, pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        )
        return Recovery.model_validate({**RECOVERY.model_dump(), "replayed_lsn": lsn, "next_transaction": following})

    def context(self, *databases: str, **changes: Any) -> CheckContext:
        return context(**{"databases": databases, "connect": self.connect, **changes})


@pytest.fixture(scope="session")
def server() -> Iterator[DemoProduction]:
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    with DemoProduction(folder, settings={"archive_mode": "off", "autovacuum": "off"}) as made:
        made.create(schema=ROLES, initdb=("--no-data-checksums",))
        made.sql("CREATE DATABASE rich")
        made.sql(RICH, "rich")
        yield made
    shutil.rmtree(folder)


@pytest.fixture
def cluster(server: DemoProduction) -> Iterator[Cluster]:
    before = {name for (name,) in server.sql("SELECT datname FROM pg_database")}
    yield Cluster(server)
    for (name,) in server.sql("SELECT datname FROM pg_database"):
        if name not in before:
            server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def shop(cluster: Cluster) -> str:
    """A database with one of everything."""
    return cluster.make()


Connect = Callable[[str], Awaitable[psycopg.AsyncConnection[Any]]]
