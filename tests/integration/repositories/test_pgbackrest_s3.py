"""A stanza in a bucket of an S3 server over TLS: every file is read through pgBackRest."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_dr_provider.domain.catalog import BackupFlaw
from airflow_dr_provider.domain.continuity import holes
from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.pgbackrest import PgBackRestRepository
from airflow_dr_provider.spec.repository import PgBackRestSpec
from tests.integration.repositories.conftest import path_of
from tests.integration.repositories.pgbackrest_lab import STANZA, Stanza, coordinate, free_ports

pytestmark = pytest.mark.postgres


def repository(config: Path) -> PgBackRestRepository:
    return PgBackRestRepository(PgBackRestSpec(kind="pgbackrest", stanza=STANZA, config=config), base=Path("/"))


async def test_catalog_files_wal_and_items(s3_stanza: Stanza, place: Path) -> None:
    adapter = repository(s3_stanza.config)
    catalog = await adapter.catalog()
    assert {backup.id: backup.flaws for backup in catalog.backups} == {
        s3_stanza.labels["full"]: (),
        s3_stanza.labels["flagged"]: (BackupFlaw.ERROR_FLAG,),
    }
    assert (catalog.notes, catalog.archive.flawed, holes(catalog)) == ((), (), ())
    backup = catalog.backup(s3_stanza.labels["full"])
    point = await adapter.last_record(catalog, path_of(catalog, backup))
    assert point is not None

    for name in ("data", "wal"):
        (place / "out" / name).mkdir(parents=True)
    made = coordinate(catalog, backup, point.lsn)
    report = await adapter.restore(catalog, made, place / "out" / "data")
    assert (report.faults, report.verified) == ((), True)
    wal = await adapter.fetch_wal(catalog, made, place / "out" / "wal")
    assert (wal.missing, wal.damaged) == ((), ()), wal.detail

    items = [item async for item in adapter.inventory(catalog)]
    assert all(item.stamp and item.size for item in items)
    chosen = [item for item in items if item.segment is None] + items[-2:]
    reports = [report async for report in adapter.read_items(catalog, chosen)]
    assert {report.name for report in reports} == {item.name for item in chosen}
    assert [report for report in reports if report.fault is not None or not report.compared] == []


async def test_a_server_that_doesn_t_answer_is_no_empty_repository(s3_stanza: Stanza, place: Path) -> None:
    config = place / "pgbackrest.conf"
    (closed,) = free_ports(1)
    text = s3_stanza.config.read_text().replace("io-timeout=2", "io-timeout=0.1")
    config.write_text(text.replace(f"port={s3_stanza.facts['port']}", f"port={closed}"))
    with pytest.raises(RepositoryError) as refused:
        await repository(config).catalog()
    assert refused.value.code == "REPOSITORY_UNREACHABLE"
    assert "can't be read" in refused.value.message
    assert "of-no-production" not in refused.value.message
