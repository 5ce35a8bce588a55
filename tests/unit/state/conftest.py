"""Each test on both kinds of database."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.demo.scene import free_port
from airflow_dr_provider.state.store import Store


@pytest.fixture(scope="session")
def server() -> Iterator[DemoProduction]:
    """A PostgreSQL for state databases."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    with DemoProduction(folder, port=free_port(), tcp=True, settings={"archive_mode": "off"}) as production:
        yield production.create(schema="")
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/state.db"
        return
    server: DemoProduction = request.getfixturevalue("server")
    name = f"state_{abs(hash(request.node.name)) % 10**12}"
    server.sql(f"CREATE DATABASE {name}")
    yield server.url(name)
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An open store."""
    opened = Store.open(url)
    yield opened
    opened.close()
