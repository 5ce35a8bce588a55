"""Barman's files and segments as items of the verification ledger."""

from __future__ import annotations

import shutil

import pytest

from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from tests.integration.repositories.barman_lab import Barman

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(shutil.which("rsync") is None, reason="Barman needs rsync"),
]

RELATION = "global/1262"


async def read(barman: Barman, server: str) -> tuple[dict[str, RepositoryItem], dict[str, ItemReport]]:
    """A whole pass: every item, and its report."""
    repository = barman.repository(server)
    catalog = await repository.catalog()
    items = [item async for item in repository.inventory(catalog)]
    reports = [report async for report in repository.read_items(catalog, items)]
    assert sorted(report.name for report in reports) == sorted(item.name for item in items)
    assert len({item.name for item in items}) == len(items)
    return {item.name: item for item in items}, {report.name: report for report in reports}


def faults(reports: dict[str, ItemReport]) -> dict[str, str]:
    return {report.name: report.fault.code for report in reports.values() if report.fault is not None}


async def test_everything_is_read(barman: Barman) -> None:
    items, reports = await read(barman, "main")
    assert faults(reports) == {}
    assert all(report.compared and report.checksum for report in reports.values())
    sound = {barman.facts["first"], barman.facts["second"], barman.facts["step"]}
    assert {item.backup_id for item in items.values()} == {"", *sound}
    segments = [item for item in items.values() if item.segment is not None]
    assert len(segments) == len(list((barman.home / "main" / "wals").glob("0*/" + "[0-9A-F]" * 24)))
    assert any("/pg_tblspc/" in name for name in items)


async def test_damage_is_found_where_it_is(barman: Barman) -> None:
    """Also in a tablespace of a home that was copied, where the links of its backups still lead to the first one."""
    first, second = barman.facts["first"], barman.facts["second"]
    barman.damage(barman.data("main", first) / RELATION)
    (barman.data("main", first) / "global" / "1260").unlink()
    space = next(path for path in barman.data("main", second).parent.iterdir() if path.name.isdigit())
    file = max((path for path in space.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    barman.damage(file)
    segment = barman.segment("main", barman.facts["after_first"])
    barman.damage(segment, 0x60)
    _, reports = await read(barman, "main")
    assert faults(reports) == {
        f"backups/{first}/{RELATION}": "BACKUP_CHECKSUM_MISMATCH",
        f"backups/{first}/global/1260": "BACKUP_FILE_MISSING",
        f"backups/{second}/pg_tblspc/{space.name}/{file.relative_to(space)}": "BACKUP_CHECKSUM_MISMATCH",
        f"wals/{segment.parent.name}/{segment.name}": "WAL_SEGMENT_DAMAGED",
    }


async def test_a_copy_without_checksums_is_remembered(barman: Barman) -> None:
    """Nothing tells what its bytes should be, but the second reading tells that they are no longer what they were."""
    copied = barman.facts["copied"]
    _, before = await read(barman, "copied")
    files = {name: report for name, report in before.items() if name.startswith("backups/")}
    assert faults(before) == {}
    assert not any(report.compared for report in files.values())
    assert any("/pg_tblspc/" in name for name in files)
    barman.damage(barman.data("copied", copied) / RELATION)
    _, after = await read(barman, "copied")
    assert [name for name in files if before[name].checksum != after[name].checksum] == [f"backups/{copied}/{RELATION}"]
    barman.run("generate-manifest", "copied", copied)
    _, compared = await read(barman, "copied")
    assert faults(compared) == {}
    assert {name.split("/")[2] for name in files if not compared[name].compared} == {"pg_tblspc"}


async def test_tar_files_and_compressed_segments(barman: Barman) -> None:
    items, reports = await read(barman, "packed")
    assert faults(reports) == {}
    assert all(report.compared for report in reports.values())
    packed = barman.facts["packed"]
    archive = barman.data("packed", packed) / "base.tar.gz"
    barman.damage(archive)
    segment = barman.segment("packed", barman.facts["gzip"])
    barman.damage(segment)
    _, reports = await read(barman, "packed")
    assert set(faults(reports)) == {f"backups/{packed}/base.tar.gz", f"wals/{segment.parent.name}/{segment.name}"}
    assert {item.stamp for item in items.values() if item.segment is None} != {""}
