"""The catalog of real backups, sound and spoilt."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_dr_provider.domain.catalog import BackupFlaw, BackupKind
from airflow_dr_provider.errors import RepositoryError
from tests.integration.repositories.conftest import MIB, Copy, Lab

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("major", [15, 17, 18])
async def test_sound_backups(major: int, labs: Callable[[int], Lab], copies: Callable[[Lab], Copy]) -> None:
    source = labs(major)
    catalog = await copies(source).take().repository.catalog()
    control = source.production.run("pg_controldata", str(source.production.data)).stdout
    assert f"{catalog.system_identifier}" in control
    assert [backup for backup in catalog.backups if backup.flaws] == []
    assert catalog.notes == ()
    assert catalog.archive.segment_size == MIB
    assert catalog.archive.flawed == ()
    incremental = ["step", "tar_top", "top"] if major >= 17 else []
    assert [backup.id for backup in catalog.backups] == sorted(
        ["full", "tar", "fetched", *incremental, *{15: ["unsummed"], 17: ["lz4", "zst"]}.get(major, [])]
    )
    for backup in catalog.backups:
        assert backup.server_version == major
        assert backup.start_lsn is not None
        assert backup.stop_lsn is not None
        assert backup.start_lsn < backup.stop_lsn
        assert backup.start_time is not None
        assert backup.stop_time is not None
        assert timedelta(0) <= backup.stop_time - backup.start_time < timedelta(minutes=5)
        assert backup.size_bytes > 20 * MIB
        if backup.id != "fetched":
            assert backup.system_identifier == catalog.system_identifier
            assert backup.own_wal[0].first == backup.start_lsn // MIB
    if incremental:
        assert catalog.backup("top").kind is BackupKind.INCREMENTAL
        assert catalog.backup("top").chain == ("step", "full")
        assert catalog.backup("tar_top").chain == ("step", "full")
        assert catalog.backup("step").size_bytes > catalog.backup("full").size_bytes


async def flaws_of(copy: Copy, name: str) -> tuple[BackupFlaw, ...]:
    """The flaws of one backup; the others don't change them."""
    found = (await copy.repository.catalog()).backup(name)
    assert bool(found.flaws) == bool(found.note)
    return found.flaws


async def test_a_damaged_manifest_is_a_flaw(copy: Copy) -> None:
    copy.take("full")
    path = copy.backups / "full" / "backup_manifest"
    copy.damage(path)
    assert await flaws_of(copy, "full") == (BackupFlaw.MANIFEST_DAMAGED,)
    copy.truncate(path, 1000)
    assert await flaws_of(copy, "full") == (BackupFlaw.MANIFEST_DAMAGED,)


async def test_a_missing_manifest_is_a_flaw(copy: Copy) -> None:
    copy.take("full", "tar", "fetched")
    for name in ("full", "tar", "fetched"):
        (copy.backups / name / "backup_manifest").unlink()
        assert await flaws_of(copy, name) == (BackupFlaw.NO_MANIFEST,)


async def test_an_interrupted_backup_is_incomplete(copy: Copy) -> None:
    copy.take("full", "fetched")
    full = copy.backups / "full"
    (full / "backup_manifest").rename(full / "backup_manifest.tmp")
    assert await flaws_of(copy, "full") == (BackupFlaw.INCOMPLETE,)
    (full / "backup_manifest.tmp").unlink()
    (full / "global" / "pg_control").unlink()
    assert await flaws_of(copy, "full") == (BackupFlaw.INCOMPLETE,)
    (copy.backups / "fetched" / "backup_manifest").unlink()
    copy.truncate(copy.backups / "fetched" / "base.tar", 12 * MIB + 77)
    assert await flaws_of(copy, "fetched") == (BackupFlaw.INCOMPLETE,)


async def test_a_missing_label_is_a_flaw(copy: Copy) -> None:
    copy.take("full")
    (copy.backups / "full" / "backup_label").unlink()
    assert await flaws_of(copy, "full") == (BackupFlaw.NO_LABEL,)


async def test_another_backup_s_label_is_noticed(copy: Copy) -> None:
    copy.take("full", "step")
    copy.own(copy.backups / "full" / "backup_label").write_bytes((copy.backups / "step" / "backup_label").read_bytes())
    assert BackupFlaw.MANIFEST_DAMAGED in await flaws_of(copy, "full")


async def test_a_base_that_is_gone_is_a_flaw_of_all_that_build_on_it(copy: Copy) -> None:
    copy.take("tar", "step", "top")
    assert await flaws_of(copy, "step") == (BackupFlaw.BASE_MISSING,)
    assert await flaws_of(copy, "top") == (BackupFlaw.BASE_MISSING,)
    assert await flaws_of(copy, "tar") == ()


async def test_a_cut_archive_is_unreadable_or_found_out_by_its_bytes(copy: Copy) -> None:
    copy.take("tar")
    copy.truncate(copy.backups / "tar" / "base.tar.gz", 100)
    assert await flaws_of(copy, "tar") == (BackupFlaw.UNREADABLE,)


async def test_times_in_the_server_s_zone(copy: Copy) -> None:
    """The label shows the server's log time zone; the catalog has UTC, whenever the files were copied."""
    copy.take("full")
    label = copy.own(copy.backups / "full" / "backup_label")
    before = (await copy.repository.catalog()).backup("full")
    assert before.start_time is not None
    local = (before.start_time + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S CET")
    lines = [f"START TIME: {local}" if line.startswith("START TIME") else line for line in label.read_text().splitlines()]
    label.write_text("\n".join(lines) + "\n")
    for path in (label, copy.backups / "full" / "backup_manifest"):
        os.utime(path)
    assert (await copy.repository.catalog()).backup("full").start_time == before.start_time


async def test_strangers_are_noted_and_tablespaces_are_none(copy: Copy) -> None:
    copy.take("full", "full.space")
    (copy.backups / "readme.txt").touch()
    (copy.backups / ".hidden").mkdir()
    (copy.backups / "lost+found").mkdir()
    catalog = await copy.repository.catalog()
    assert "full.space" not in [backup.id for backup in catalog.backups]
    assert len(catalog.backups) == 1
    assert [note for note in catalog.notes if "readme.txt" in note]


@pytest.mark.parametrize("kind", ["nowhere", "file", "empty", "backup", "tar", "production"])
async def test_what_is_no_repository_is_said(copy: Copy, lab18: Lab, kind: str) -> None:
    copy.take("full", "tar")
    place = copy.backups
    backups, archive = {
        "nowhere": (place / "nowhere", copy.archive),
        "file": (place / "full" / "PG_VERSION", copy.archive),
        "empty": (copy.folder / "out", copy.archive),
        "backup": (place / "full", copy.archive),
        "tar": (place / "tar", copy.archive),
        "production": (lab18.production.data, copy.archive),
    }[kind]
    (copy.folder / "out").rename(copy.folder / "gone")
    (copy.folder / "out").mkdir()
    repository = copy.repository
    repository.backups, repository.archive = backups, archive
    with pytest.raises(RepositoryError, match=r"source\.repository\.backups") as refused:
        await repository.catalog()
    assert refused.value.code in ("REPOSITORY_UNREACHABLE", "REPOSITORY_EMPTY")
    assert str(backups) in refused.value.message


async def test_an_archive_of_another_cluster(copy: Copy, lab17: Lab) -> None:
    """One foreign segment is a hole; the cluster is the one that the rest is of."""
    copy.take("tar")
    catalog = await copy.repository.catalog()
    last = catalog.archive.ranges[-1].last
    foreign = max(path for path in (lab17.folder / "archive").iterdir() if len(path.name) == 24)
    target = copy.archive / f"00000001000000000{last - 3:07X}"
    copy.own(target).write_bytes(foreign.read_bytes())
    spoilt = await copy.repository.catalog()
    assert spoilt.system_identifier == catalog.system_identifier
    assert [(part.first, part.last) for part in spoilt.archive.flawed] == [(last - 3, last - 3)]
    assert any("another cluster" in note for note in spoilt.notes)


async def test_a_compressed_archive_is_the_same_archive(copy: Copy) -> None:
    copy.take("tar")
    plain = await copy.repository.catalog()
    for number, path in enumerate(sorted(copy.archive.iterdir())):
        if number % 2 and len(path.name) == 24:
            compress(path)
    assert (await copy.repository.catalog()).archive == plain.archive


def compress(path: Path) -> None:
    """Replace a file by its gzip."""
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 1))
    path.unlink()
