"""Every kind of item is read: sound ones are sound, and a fault is found in the item that has it."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.domain.wal import parse_segment
from tests.integration.repositories.conftest import MIB, Copy, Lab

pytestmark = pytest.mark.postgres

LONG_RECORD = "000000010000000000000019"
"""The segment in which the lab's long record begins, which runs through the three that follow."""

EVERYTHING = {
    15: ("full", "tar", "fetched", "unsummed"),
    17: ("full", "step", "top", "lz4", "zst"),
    18: ("full", "step", "top", "tar", "tar_top", "fetched"),
}


async def inventory(copy: Copy) -> dict[str, RepositoryItem]:
    repository = copy.repository
    return {item.name: item async for item in repository.inventory(await repository.catalog())}


async def read(copy: Copy, *names: str) -> dict[str, ItemReport]:
    """Reports of some items, or of all."""
    repository = copy.repository
    catalog = await repository.catalog()
    items = [item async for item in repository.inventory(catalog) if not names or item.name in names]
    reports = [report async for report in repository.read_items(catalog, items)]
    assert sorted(report.name for report in reports) == sorted(item.name for item in items)
    assert all(report.fault is None or report.fault.path == report.name for report in reports)
    return {report.name: report for report in reports}


def faults(reports: dict[str, ItemReport]) -> dict[str, str]:
    return {name: report.fault.code for name, report in reports.items() if report.fault is not None}


@pytest.mark.parametrize("major", [15, 17, 18])
async def test_everything_of_a_sound_repository_is_sound(
    major: int, labs: Callable[[int], Lab], copies: Callable[[Lab], Copy]
) -> None:
    copy = copies(labs(major)).take(*EVERYTHING[major])
    items, reports = await inventory(copy), await read(copy)
    assert faults(reports) == {}
    assert all(report.checksum.startswith("sha256:") for report in reports.values())
    assert all(report.bytes_read == items[name].size for name, report in reports.items())
    uncompared = {name for name, report in reports.items() if not report.compared}
    assert all(name.startswith("backups/unsummed/") for name in uncompared)
    assert bool(uncompared) == (major == 15)
    assert await read(copy) == reports
    tools = {report.tool for report in reports.values()}
    assert any(tool.startswith(f"pg_waldump {major}") for tool in tools)
    assert any(tool.startswith(f"pg_verifybackup {major}") for tool in tools)


async def test_tablespaces_and_own_wal_are_items(copy: Copy) -> None:
    copy.take("full", "tar")
    names = set(await inventory(copy))
    assert any(name.startswith("backups/full/pg_tblspc/") for name in names)
    assert any(name.startswith("backups/full/pg_wal/0000") for name in names)
    assert {name for name in names if name.startswith("backups/tar/")} >= {
        "backups/tar/base.tar.gz", "backups/tar/pg_wal.tar.gz", "backups/tar/backup_manifest",
    }  # fmt: skip
    assert not any("postgresql.auto.conf" in name for name in names)


async def test_reading_leaves_everything_as_it_was(copy: Copy) -> None:
    copy.take("full", "tar")

    def snapshot() -> dict[Path, tuple[int, int, int]]:
        paths = sorted(copy.folder.rglob("*"))
        return {path: (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_nlink) for path in paths}

    before = snapshot()
    await read(copy)
    assert snapshot() == before


# -- backups -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["full", "top"])
async def test_a_flipped_byte_of_a_plain_backup(copy: Copy, name: str) -> None:
    copy.take("full", "step", name) if name != "full" else copy.take("full")
    victim = max((copy.backups / name / "base").rglob("*"), key=lambda path: path.stat().st_size)
    copy.damage(victim)
    assert faults(await read(copy)) == {str(victim.relative_to(copy.folder)): "BACKUP_CHECKSUM_MISMATCH"}


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        ("flip", "BACKUP_CHECKSUM_MISMATCH"),
        ("cut", "BACKUP_UNREADABLE"),
        ("lose", "BACKUP_FILE_MISSING"),
        ("add", "BACKUP_FILE_EXTRA"),
    ],
)
async def test_a_member_of_a_tar_backup(copy: Copy, harm: str, code: str) -> None:
    copy.take("fetched")
    victim = copy.own(copy.backups / "fetched" / "base.tar")
    if harm == "flip":
        with tarfile.open(victim) as archive:
            member = next(member for member in archive if member.name == "global/1262")
        copy.damage(victim, member.offset_data + 100)
    elif harm == "cut":
        os.truncate(victim, victim.stat().st_size // 2)
    else:
        rewrite(victim, lose="global/1262" if harm == "lose" else "", add="stranger" if harm == "add" else "")
    report = (await read(copy))["backups/fetched/base.tar"]
    assert report.fault is not None
    assert report.fault.code == code
    assert {"flip": "global/1262", "cut": "unpacked", "lose": "global/1262", "add": "stranger"}[harm] in report.fault.detail


def rewrite(path: Path, *, lose: str, add: str) -> None:
    """Write a tar file anew without one member, or with another."""
    other = path.with_suffix(".new")
    with tarfile.open(path) as source, tarfile.open(other, "w", format=tarfile.USTAR_FORMAT) as sink:
        for member in source:
            if member.name != lose:
                sink.addfile(member, source.extractfile(member) if member.isfile() else None)
        if add:
            sink.addfile(tarfile.TarInfo(add))
    other.rename(path)


async def test_a_tar_file_that_is_gone(copy: Copy) -> None:
    copy.take("tar")
    space = next(path for path in (copy.backups / "tar").iterdir() if path.name.split(".")[0].isdigit())
    space.unlink()
    assert faults(await read(copy)) == {f"backups/tar/{space.name.removesuffix('.gz')}": "BACKUP_FILE_MISSING"}


async def test_a_damaged_manifest_leaves_nothing_to_compare_with(copy: Copy) -> None:
    copy.take("full")
    copy.damage(copy.backups / "full" / "backup_manifest")
    reports = await read(copy)
    assert faults(reports) == {"backups/full/backup_manifest": "BACKUP_MANIFEST_DAMAGED"}
    assert not reports["backups/full/PG_VERSION"].compared
    assert reports["backups/full/PG_VERSION"].checksum


async def test_own_wal_costs_the_backup_only_where_the_archive_lacks_it(copy: Copy) -> None:
    copy.take("full")
    own = next(path for path in sorted((copy.backups / "full" / "pg_wal").iterdir()) if len(path.name) == 24)
    copy.damage(own, 40 + 24)  # in the first record
    name = f"backups/full/pg_wal/{own.name}"
    assert faults(await read(copy)) == {name: "WAL_SEGMENT_DAMAGED"}
    (copy.archive / own.name).unlink()
    assert faults(await read(copy))[name] == "BACKUP_WAL_MISSING"


async def test_a_backup_that_expires_meanwhile_is_no_fault(copy: Copy) -> None:
    copy.take("full", "tar")
    repository = copy.repository
    catalog = await repository.catalog()
    items = [item async for item in repository.inventory(catalog)]
    shutil.rmtree(copy.backups / "full")
    (copy.archive / items[0].name.removeprefix("archive/")).unlink()
    reports = {report.name: report async for report in repository.read_items(catalog, items)}
    assert len(reports) == len(items)
    assert faults(reports) == {}


# -- WAL ---------------------------------------------------------------------------------------------------------------
def segments(copy: Copy) -> list[Path]:
    return sorted(path for path in copy.archive.iterdir() if parse_segment(path.name, MIB) is not None)


async def test_each_damaged_segment_is_found(copy: Copy) -> None:
    """One byte of each segment in turn; the archive holds a record that runs through four of them."""
    copy.take("full")
    missed = []
    for segment in segments(copy):
        content = segment.read_bytes()
        written = content.rstrip(b"\0")
        copy.damage(segment, min(len(written) - 1, MIB // 3))
        found = faults(await read(copy, *(name for name in await inventory(copy) if name.startswith("archive/"))))
        # Inside a record that began before, the segment in which it begins can't be replayed to its end.
        near = {f"archive/{path.name}" for path in segments(copy) if path <= segment}
        if not found or not set(found) <= near or set(found.values()) != {"WAL_SEGMENT_DAMAGED"}:
            missed.append((segment.name, found))
        segment.write_bytes(content)
    assert missed == []


async def test_a_segment_is_judged_alone_as_among_others(copy: Copy) -> None:
    copy.take("full")
    together = {name: report for name, report in (await read(copy)).items() if name.startswith("archive/")}
    for name, report in together.items():
        assert await read(copy, name) == {name: report}


@pytest.mark.parametrize("harm", ["zeros", "short", "empty", "other"])
async def test_a_segment_that_is_none(copy: Copy, harm: str) -> None:
    copy.take("full")
    victim, other = segments(copy)[2], segments(copy)[3]
    content = {"zeros": bytes(MIB), "short": victim.read_bytes()[:8192], "empty": b"", "other": other.read_bytes()}[harm]
    copy.own(victim).write_bytes(content)
    assert faults(await read(copy))[f"archive/{victim.name}"] == "WAL_SEGMENT_DAMAGED"


async def test_an_archive_may_end_in_the_middle_of_a_segment(copy: Copy) -> None:
    copy.take("full")
    *_, before, last = segments(copy)
    whole = last.read_bytes()
    copy.own(last).write_bytes(whole[: MIB // 2])
    reports = await read(copy)
    name = f"archive/{last.name}"
    assert faults(reports) == {}
    assert reports[name].unfinished
    assert [report.name for report in reports.values() if report.unfinished and report.name < f"archive/{before.name}"] == [
        f"archive/{LONG_RECORD}"
    ]
    # With a later segment it should have been whole.
    (copy.archive / f"{last.name[:16]}{int(last.name[16:], 16) + 1:08X}").write_bytes(whole)
    assert set(faults(await read(copy))) >= {name, f"archive/{LONG_RECORD}"}


async def test_damage_in_the_last_segment_is_told_from_its_end(copy: Copy) -> None:
    copy.take("full")
    shorter = [path for path in segments(copy) if path.name < LONG_RECORD]
    for path in segments(copy):
        if path not in shorter:
            path.unlink()
    last = shorter[-1]
    copy.damage(last, MIB // 2)
    assert faults(await read(copy)) == {f"archive/{last.name}": "WAL_SEGMENT_DAMAGED"}


async def test_a_segment_whose_last_record_runs_on_waits_for_the_next(copy: Copy) -> None:
    copy.take("full")
    assert not any(report.unfinished for report in (await read(copy)).values())
    first = copy.archive / LONG_RECORD
    for path in segments(copy):
        if path > first:
            path.unlink()
    reports = await read(copy)
    assert faults(reports) == {}
    assert [name for name, report in reports.items() if report.unfinished] == [f"archive/{LONG_RECORD}"]


async def test_the_end_that_a_backup_needs_is_not_forgiven(copy: Copy) -> None:
    copy.take("full")
    catalog = await copy.repository.catalog()
    stop = catalog.backup("full").stop_lsn
    assert stop is not None
    needed = [path for path in segments(copy) if (parse_segment(path.name, MIB) or (0, 0))[1] * MIB < stop]
    for path in segments(copy):
        if path not in needed:
            path.unlink()
    assert faults(await read(copy)) == {}
    os.truncate(copy.own(needed[-1]), 8192)
    assert faults(await read(copy))[f"archive/{needed[-1].name}"] == "WAL_SEGMENT_DAMAGED"


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".lz4"])
async def test_compressed_segments(copy: Copy, suffix: str) -> None:
    copy.take("full")
    plain = {name: report for name, report in (await read(copy)).items() if name.startswith("archive/")}
    for segment in segments(copy):
        compress(segment, suffix)
    reports = {name: report for name, report in (await read(copy)).items() if name.startswith("archive/")}
    assert faults(reports) == {}
    # The content counts, not how it is kept.
    assert {name.removesuffix(suffix): report.checksum for name, report in reports.items()} == {
        name: report.checksum for name, report in plain.items()
    }
    victim = sorted(path for path in copy.archive.iterdir() if path.name.endswith(suffix))[1]
    os.truncate(victim, victim.stat().st_size - 20)
    assert f"archive/{victim.name}" in faults(await read(copy))


def compress(segment: Path, suffix: str) -> None:
    import gzip

    import lz4.frame
    import zstandard

    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress, ".lz4": lz4.frame.compress}[suffix]
    segment.with_name(segment.name + suffix).write_bytes(pack(segment.read_bytes()))
    segment.unlink()
