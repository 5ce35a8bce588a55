"""Cache warming on whole drills: in which order, how much, and what it changes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.demo.production import flip_byte, relation_file
from airflow_dr_provider.postgresql.manifest import NAME
from tests.support.drills import Bench, Repository

pytestmark = pytest.mark.postgres


def write(bench: Bench, level: str, **options: str) -> None:
    bench.write(profile=f"light, cache_warming: {level}, checks: {{exclude: [smoke]}}", **options)
    bench.spec.write_text(bench.spec.read_text() + "selection: {candidates: 1}\n" + QUERIES)


QUERIES = """\
queries:
  - {name: revenue, sql: SELECT sum(amount) FROM orders}
  - {name: any_of, sql: SELECT amount FROM orders WHERE id = $1}
  - {name: wrong, sql: SELECT 1 FROM nowhere}
"""


def warmed(document: dict[str, Any]) -> dict[str, Any]:
    assert document["outcome"] == "RECOVERED", document["attempts"][0]["detail"]
    (stage,) = (stage for stage in document["attempts"][0]["stages"] if stage["name"] == "warm")
    assert stage["verdict"] == "PASSED"
    result: dict[str, Any] = stage
    return result


def test_by_productions_statistics_with_queries_and_both_first_touches_measured(bench: Bench, repository: Repository) -> None:
    bench.environment["AIRFLOW_CONN_ORDERS_RO"] = repository.production.uri
    write(bench, "full", source="production_conn_id: orders_ro")
    document = bench.run()
    stage = warmed(document)
    assert stage["facts"]["order"] == "production's statistics"
    metrics = stage["metrics"]
    assert metrics["warmed_bytes"] > 1_000_000
    assert metrics["queries"] == 1
    assert "query wrong did not run" in stage["detail"]
    assert metrics["cold_first_touch_seconds"] > 0
    assert metrics["warm_first_touch_seconds"] > 0
    reached, achieved = document["achieved"]["milestones"], document["achieved"]
    assert 0 < reached["accepts_connections_seconds"] < reached["warm_seconds"] < achieved["rto_seconds"]
    assert "accepts connections after" in bench.call("show", document["run_id"]).stdout
    store = bench.store()
    names = {measurement.name for measurement in store.measurements(document["run_id"])}
    store.close()
    assert {"warm.cold_first_touch_seconds", "warm.warm_first_touch_seconds"} <= names


def test_by_autoprewarms_list_that_came_with_the_backup(bench: Bench, repository: Repository) -> None:
    database, tablespace, filenode = repository.production.sql(
        "SELECT d.oid, d.dattablespace, pg_relation_filenode('orders') FROM pg_database d WHERE datname = current_database()"
    )[0]
    for backup in bench.backups.iterdir():
        add_file(backup, "autoprewarm.blocks", f"<<1>>\n{database},{tablespace},{filenode},0,0\n")
    write(bench, "light")
    stage = warmed(bench.run())
    assert stage["facts"]["order"] == "autoprewarm's list"
    assert stage["metrics"]["queries"] == 0


def add_file(backup: Path, name: str, content: str) -> None:
    """Put a file into a backup as pg_basebackup would have: listed in its manifest."""
    (backup / name).write_text(content)
    digest = hashlib.sha256(content.encode()).hexdigest()
    entry = (
        f'{{ "Path": "{name}", "Size": {len(content)}, "Last-Modified": "2026-01-01 00:00:00 GMT", '
        f'"Checksum-Algorithm": "SHA256", "Checksum": "{digest}" }},\n'
    )
    seal(backup, (backup / NAME).read_text().replace('"Files": [\n', f'"Files": [\n{entry}', 1))


def seal(backup: Path, manifest: str) -> None:
    body = manifest.rpartition('"Manifest-Checksum"')[0]
    (backup / NAME).write_text(f'{body}"Manifest-Checksum": "{hashlib.sha256(body.encode()).hexdigest()}"}}\n')


def test_by_size_when_nobody_knows_and_none_is_none(bench: Bench) -> None:
    write(bench, "light")
    document = bench.run()
    assert warmed(document)["facts"]["order"] == "size"
    write(bench, "none")
    document = bench.run()
    assert [stage["name"] for stage in document["attempts"][0]["stages"]] == [
        "select", "reserve", "provision", "restore", "validate", "teardown",
    ]  # fmt: skip
    assert document["achieved"]["milestones"]["warm_seconds"] is None


def test_what_cannot_be_read_is_said_and_left_to_the_gate(bench: Bench, repository: Repository) -> None:
    # Damaged before the backup was taken: the manifest agrees with it.
    backup = bench.backups / "third"
    file = relation_file(repository.production, backup, "customers_email_key")
    flip_byte(file)
    path = str(file.relative_to(backup))
    entry = re.compile(rf'"Path": "{path}", ("Size": \d+), ("Last-Modified": "[^"]*"), .*? }}')
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    agreed = rf'"Path": "{path}", \1, \2, "Checksum-Algorithm": "SHA256", "Checksum": "{digest}" }}'
    text, count = entry.subn(agreed, (backup / NAME).read_text())
    assert count == 1
    seal(backup, text)
    bench.write(profile="light, cache_warming: light, checks: {include: [amcheck]}")
    bench.spec.write_text(bench.spec.read_text() + "selection: {candidates: 1}\n")
    document = bench.run()
    (attempt,) = document["attempts"]
    (stage,) = (stage for stage in attempt["stages"] if stage["name"] == "warm")
    assert stage["verdict"] == "PASSED"
    assert "public.customers_email_key could not be read (DataCorrupted" in stage["detail"]
    assert attempt["signature"] == "DATA_CORRUPT"
