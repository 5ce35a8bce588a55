"""One real repository a session, copied for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_dr_provider.demo.production import DemoProduction
from tests.integration.repositories.pgbackrest_lab import posix_stanza, s3_stanza, stanza_copy
from tests.support.drills import QUIET, Bench, Repository, copy_repository, remove

__all__ = ["posix_stanza", "s3_stanza", "stanza_copy"]


@pytest.fixture(scope="session")
def repository() -> Iterator[Repository]:
    """PostgreSQL 18 with three base backups, rows and heartbeats between them, and all of its WAL in the archive.

    Production goes on running, read-only for the tests.
    """
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    with DemoProduction(folder, settings=QUIET) as production:
        production.create()
        facts: dict[str, object] = {}
        for name in ("first", "second", "third"):
            production.backup(name)
            production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 7 FROM generate_series(1, 100) n")
            production.beat()
            facts[f"segment_after_{name}"] = production.switch_wal()
            production.beat()
            facts[f"filler_after_{name}"] = production.switch_wal()
        facts["orders"] = production.sql("SELECT count(*) FROM orders")[0][0]
        production.sql("SELECT pg_create_restore_point('before_the_mistake')")
        production.sql("CREATE TABLE made_next (id int PRIMARY KEY); INSERT INTO made_next VALUES (1)")
        facts["xid"] = str(production.sql("SELECT txid_current()")[0][0])
        facts["before_last"] = production.sql("SELECT clock_timestamp()")[0][0]
        production.sql("INSERT INTO customers (email, name) VALUES ('late@example.com', 'Late')")
        production.beat()
        facts["heartbeat"] = production.sql("SELECT beat_at FROM dr_heartbeat")[0][0]
        facts["last_segment"] = production.switch_wal()
        yield Repository(folder=folder, production=production, disaster=datetime.now(UTC), facts=facts)
    remove(folder)


@pytest.fixture
def bench(repository: Repository) -> Iterator[Bench]:
    """A copy of the repository for one test; after it nothing may be left of any drill."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    copy_repository(repository.folder, folder)
    made = Bench(folder=folder, disaster=repository.disaster)
    made.write()
    yield made
    left = made.left()
    remove(folder)
    assert left == []
