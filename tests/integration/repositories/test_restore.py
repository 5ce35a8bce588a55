"""What is restored is what was backed up, byte by byte, or the report names the file."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import FileReport
from tests.integration.repositories.conftest import Copy, Lab, coordinate

pytestmark = pytest.mark.postgres

RELATION = "global/1262"
CHAINS = {"top": ("full", "step", "top"), "tar_top": ("full", "step", "tar_top")}


async def restore(copy: Copy, name: str) -> FileReport:
    """Restore one backup of a copy."""
    catalog = await copy.repository.catalog()
    return await copy.repository.restore(catalog, coordinate(catalog, name, Lsn("0/0")), copy.out)


async def verify(copy: Copy, name: str) -> FileReport:
    """Verify one backup of a copy."""
    catalog = await copy.repository.catalog()
    return await copy.repository.verify(catalog.backup(name))


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """What lies in a folder: inodes, times, links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        link = os.readlink(path) if path.is_symlink() else ""
        found[str(path.relative_to(folder))] = (status.st_size if path.is_file() else 0, status.st_mtime_ns, link)
    return found


@pytest.mark.parametrize(
    ("major", "name"),
    [
        (15, "tar"),
        (17, "top"),
        (17, "lz4"),
        (17, "zst"),
        (18, "full"),
        (18, "fetched"),
        (18, "tar"),
        (18, "top"),
        (18, "tar_top"),
    ],
)
async def test_a_sound_backup(major: int, name: str, labs: Callable[[int], Lab], copies: Callable[[Lab], Copy]) -> None:
    copy = copies(labs(major)).take(*CHAINS.get(name, (name,)))
    before = snapshot(copy.backups)
    (copy.out / "left_by_an_earlier_try").touch()
    report = await restore(copy, name)
    assert report.faults == ()
    assert report.verified
    assert report.bytes_read > 20 << 20
    names = {entry.name for entry in copy.out.iterdir()}
    assert not names & {"recovery.signal", "standby.signal", "postmaster.pid", "tablespace_map", "left_by_an_earlier_try"}
    assert {"PG_VERSION", "backup_label", "pg_wal", "pg_tblspc", "base", "global", "pg_notify"} <= names
    for link in (copy.out / "pg_tblspc").iterdir():
        assert os.readlink(link) == f"../../data.tablespaces/{link.name}"
        assert list(link.rglob("PG_*"))
    assert len(list((copy.out / "pg_tblspc").iterdir())) == 1
    assert copy.out.stat().st_mode & 0o777 in (0o700, 0o755)  # the folder itself is the sandbox's
    modes = {path.stat().st_mode & 0o777 for path in copy.out.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert [entry.name for entry in copy.out.parent.iterdir() if entry.name.startswith(".")] == []
    assert snapshot(copy.backups) == before


@pytest.mark.parametrize("name", ["full", "tar", "fetched", "tar_top"])
async def test_verifying_a_sound_backup(copy: Copy, name: str) -> None:
    copy.take(*CHAINS.get(name, (name,)))
    report = await verify(copy, name)
    assert report.faults == ()
    assert report.verified


async def test_a_backup_without_checksums_is_not_called_verified(lab15: Lab, copies: Callable[[Lab], Copy]) -> None:
    copy = copies(lab15).take("unsummed")
    for report in (await verify(copy, "unsummed"), await restore(copy, "unsummed")):
        assert report.faults == ()
        assert not report.verified
    copy.truncate(copy.backups / "unsummed" / RELATION, 100)
    assert [fault.code for fault in (await verify(copy, "unsummed")).faults] == ["BACKUP_FILE_SIZE"]


@pytest.mark.parametrize("act", [restore, verify])
@pytest.mark.parametrize(
    ("damage", "code", "path"),
    [
        ("byte", "BACKUP_CHECKSUM_MISMATCH", RELATION),
        ("cut", "BACKUP_FILE_SIZE", RELATION),
        ("longer", "BACKUP_FILE_SIZE", RELATION),
        ("missing", "BACKUP_FILE_MISSING", RELATION),
        ("folder", "BACKUP_FILE_MISSING", RELATION),
        ("extra", "BACKUP_FILE_EXTRA", "base/stray"),
    ],
)
async def test_each_damage_of_a_plain_backup_is_named(
    copy: Copy, act: Callable[[Copy, str], object], damage: str, code: str, path: str
) -> None:
    copy.take("full")
    file = copy.backups / "full" / RELATION
    if damage == "byte":
        copy.damage(file)
    elif damage == "cut":
        copy.truncate(file, 100)
    elif damage == "longer":
        copy.own(file).write_bytes(file.read_bytes() + b"\0")
    elif damage in ("missing", "folder"):
        file.unlink()
        if damage == "folder":
            file.mkdir()
    else:
        (copy.backups / "full" / "base" / "stray").touch()
    report = await act(copy, "full")  # type: ignore[misc]
    assert [(fault.code, fault.path) for fault in report.faults] == [(code, path)]
    assert not report.verified


async def test_what_pg_verifybackup_passes_over_is_neither_extra_nor_obeyed(copy: Copy) -> None:
    copy.take("full")
    full = copy.backups / "full"
    (full / "standby.signal").touch()
    (full / "recovery.signal").touch()
    copy.own(full / "postgresql.auto.conf").write_text("archive_command = 'false'\n")
    assert (await verify(copy, "full")).faults == ()
    assert (await restore(copy, "full")).faults == ()
    assert not (copy.out / "standby.signal").exists()
    assert not (copy.out / "recovery.signal").exists()
    assert not (copy.out / "postgresql.auto.conf").exists() or not (copy.out / "postgresql.auto.conf").read_text()


async def test_a_tablespace_s_damage_is_found(copy: Copy) -> None:
    """The link of a plain backup leads out of it; here to a copy that this test may damage."""
    copy.take("full")
    link = next((copy.backups / "full" / "pg_tblspc").iterdir())
    own = copy.folder / "space"
    shutil.copytree(link.resolve(), own)
    link.unlink()
    link.symlink_to(own)
    assert (await verify(copy, "full")).faults == ()
    file = max((path for path in own.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    copy.damage(file)
    for report in (await verify(copy, "full"), await restore(copy, "full")):
        assert [fault.code for fault in report.faults] == ["BACKUP_CHECKSUM_MISMATCH"]
        assert report.faults[0].path.startswith(f"pg_tblspc/{link.name}/PG_18")
    link.unlink()
    link.symlink_to(copy.folder / "nowhere")
    assert {fault.code for fault in (await restore(copy, "full")).faults} == {"BACKUP_FILE_MISSING"}


async def test_a_tablespace_that_was_copied_into_its_backup(copy: Copy) -> None:
    copy.take("full", "step")
    link = next((copy.backups / "full" / "pg_tblspc").iterdir())
    real = link.resolve()
    link.unlink()
    shutil.copytree(real, link)
    assert (await restore(copy, "full")).faults == ()
    assert os.readlink(copy.out / "pg_tblspc" / link.name) == f"../../data.tablespaces/{link.name}"
    report = await restore(copy, "step")
    assert report.faults == ()


async def test_an_unpacked_tar_backup_brings_no_links_to_production(copy: Copy) -> None:
    """Unpacked by hand it holds a tablespace_map: a server would make links to production's own tablespaces of it."""
    copy.take("fetched")
    unpacked = copy.backups / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "-xf", copy.backups / "fetched" / "base.tar", "-C", unpacked], check=True)
    for path in (copy.backups / "fetched").glob("[0-9]*.tar"):
        (unpacked / "pg_tblspc" / path.stem).mkdir()
        subprocess.run(["tar", "-xf", path, "-C", unpacked / "pg_tblspc" / path.stem], check=True)
    shutil.copy(copy.backups / "fetched" / "backup_manifest", unpacked)
    assert (unpacked / "tablespace_map").exists()
    assert (await verify(copy, "unpacked")).faults == ()
    assert (await restore(copy, "unpacked")).faults == ()
    assert not (copy.out / "tablespace_map").exists()


@pytest.mark.parametrize("act", [restore, verify])
async def test_damage_of_a_tar_backup_is_found(copy: Copy, act: Callable[[Copy, str], object]) -> None:
    copy.take("fetched", "tar")
    archive = copy.backups / "fetched" / "base.tar"
    with tarfile.open(archive) as tar:
        member = tar.getmember(RELATION)
    copy.damage(archive, member.offset_data + 5)
    report = await act(copy, "fetched")  # type: ignore[misc]
    assert [(fault.code, fault.path) for fault in report.faults] == [("BACKUP_CHECKSUM_MISMATCH", RELATION)]
    copy.truncate(archive, member.offset_data + 10)
    report = await act(copy, "fetched")  # type: ignore[misc]
    assert report.faults
    assert not report.verified
    compressed = copy.backups / "tar" / "base.tar.gz"
    copy.truncate(compressed, compressed.stat().st_size - 5000)
    report = await act(copy, "tar")  # type: ignore[misc]
    assert {fault.code for fault in report.faults} <= {"BACKUP_UNREADABLE", "BACKUP_FILE_MISSING"}
    assert report.faults


@pytest.mark.parametrize("kind", ["parent", "absolute", "link", "device"])
async def test_a_tar_file_that_leads_out_of_its_folder(copy: Copy, kind: str) -> None:
    copy.take("fetched")
    archive = copy.backups / "fetched" / "base.tar"
    content = io.BytesIO(copy.own(archive).read_bytes())
    with tarfile.open(fileobj=content, mode="a") as tar:
        member = tarfile.TarInfo({"parent": "../evil", "absolute": "/tmp/dr-evil"}.get(kind, "base/evil"))
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "../../.."
            tar.addfile(member)
            member = tarfile.TarInfo("base/evil/evil")
        elif kind == "device":
            member.type = tarfile.CHRTYPE
        member.size = 4 if member.isreg() else 0
        tar.addfile(member, io.BytesIO(b"evil"))
    archive.write_bytes(content.getvalue())
    report = await restore(copy, "fetched")
    assert not (copy.out.parent / "evil").exists()
    assert not (copy.out.parent.parent / "evil").exists()
    assert not Path("/tmp/dr-evil").exists()
    assert not (copy.out / "base" / "evil").is_symlink()
    assert kind == "device" or report.faults


async def test_damage_anywhere_in_a_chain_is_found(copy: Copy) -> None:
    copy.take(*CHAINS["top"])
    copy.damage(copy.backups / "full" / RELATION)
    for report in (await restore(copy, "top"), await verify(copy, "top")):
        assert [(fault.code, fault.path) for fault in report.faults] == [("BACKUP_CHECKSUM_MISMATCH", f"full/{RELATION}")]
    assert [entry.name for entry in copy.out.parent.iterdir() if entry.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["full", "tar"])
async def test_the_backup_s_own_wal_counts_where_the_archive_has_none(copy: Copy, name: str) -> None:
    copy.take(name)
    catalog = await copy.repository.catalog()
    backup = catalog.backup(name)
    for part in backup.own_wal:
        for number in range(part.first, part.last + 1):
            (copy.archive / f"{part.timeline:08X}{0:08X}{number:08X}").unlink()
    assert (await verify(copy, name)).faults == ()
    assert (await restore(copy, name)).faults == ()
    if name == "full":
        own = next((copy.backups / "full" / "pg_wal").glob("0*"))
        copy.damage(own, 0x40)
        for report in (await verify(copy, name), await restore(copy, name)):
            assert [fault.code for fault in report.faults] == ["BACKUP_WAL_MISSING"]
        own.unlink()
    else:
        (copy.backups / "tar" / "pg_wal.tar.gz").unlink()
    for report in (await verify(copy, name), await restore(copy, name)):
        assert [fault.code for fault in report.faults] == ["BACKUP_WAL_MISSING"]


async def test_a_cancelled_restore_writes_nothing_more(copy: Copy) -> None:
    copy.take("full")
    task = asyncio.create_task(restore(copy, "full"))
    while not any(copy.out.rglob("*")):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left = snapshot(copy.out)
    await asyncio.sleep(0.05)
    assert snapshot(copy.out) == left
    assert (await restore(copy, "full")).faults == ()
