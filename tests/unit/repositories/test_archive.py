"""A WAL archive's listing and headers, compressed files, and work in threads that is told to stop."""

from __future__ import annotations

import asyncio
import gzip
import os
import struct
import threading
from pathlib import Path

import pytest

from airflow_dr_provider.domain.catalog import SegmentRange, WalArchive
from airflow_dr_provider.domain.wal import segment_name
from airflow_dr_provider.errors import ArchiveError, BackupError, RepositoryError
from airflow_dr_provider.repositories.archive import list_archive
from airflow_dr_provider.repositories.archive_judge import find_segment_size, read_archive
from airflow_dr_provider.repositories.compression import open_file
from airflow_dr_provider.repositories.halting import check_halt, in_thread
from airflow_dr_provider.repositories.wal_files import ArchiveListing, unpack_segment

MIB = 1 << 20
CLUSTER = 77


def content(number: int, *, timeline: int = 1, cluster: int = CLUSTER, size: int = MIB) -> bytes:
    """A segment with a right header and nothing in it."""
    return struct.pack("=HHIQI4xQII", 0xD118, 2, timeline, number * size, 0, cluster, size, 8192).ljust(size, b"\1")


def put(folder: Path, number: int, *, timeline: int = 1, suffix: str = "", data: bytes | None = None) -> Path:
    """Write a segment."""
    path = folder / (segment_name(timeline, number, MIB) + suffix)
    path.write_bytes(content(number, timeline=timeline) if data is None else data)
    return path


def read(folder: Path, *, oldest: int | None = None) -> tuple[WalArchive, ArchiveListing]:
    """The archive as the catalog has it."""
    listing = list_archive(folder)
    archive, _ = read_archive(listing, find_segment_size(listing), oldest=oldest, identifiers=[CLUSTER])
    return archive, listing


def one(timeline: int, first: int, last: int) -> SegmentRange:
    """A range."""
    return SegmentRange(timeline=timeline, first=first, last=last)


def test_flat_nested_and_compressed_segments_are_one_archive(tmp_path: Path) -> None:
    nested = tmp_path / "0000000100000000"
    nested.mkdir()
    put(tmp_path, 1)
    put(nested, 2)
    put(tmp_path, 3, suffix=".gz", data=gzip.compress(content(3)))
    put(tmp_path, 4, suffix=".partial", data=b"x")
    put(tmp_path, 5, suffix=".gz.partial", data=b"x")
    (tmp_path / "00000002.history").write_text("1\t0/300000\tno recovery target specified\n")
    (tmp_path / "note.txt").write_text("")
    (tmp_path / "old").mkdir()
    put(tmp_path / "old", 9)
    archive, listing = read(tmp_path)
    assert archive.segment_size == MIB
    assert archive.ranges == (one(1, 1, 3),)
    assert archive.partial == (one(1, 4, 5),)
    assert [(fork.timeline, fork.parent) for fork in archive.forks] == [(2, 1)]
    assert any("note.txt" in note and "old/" in note for note in listing.notes)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (content(3)[:-1], "1048575 bytes"),
        (bytes(MIB), "zeros"),
        (content(3, cluster=5), "another cluster"),
        (content(4), "another segment"),
        (content(3, timeline=2), "timeline 2"),
        (os.urandom(MIB), "does not begin"),
    ],
)
def test_a_segment_that_can_t_be_used_is_a_hole_with_a_note(tmp_path: Path, data: bytes, words: str) -> None:
    for number in (1, 2, 4, 5):
        put(tmp_path, number)
    put(tmp_path, 3, data=data)
    archive, listing = read(tmp_path)
    assert archive.ranges == (one(1, 1, 2), one(1, 4, 5))
    assert archive.flawed == (one(1, 3, 3),)
    assert any(words in note for note in listing.notes), listing.notes


def test_a_flawed_compressed_copy_does_not_hide_the_plain_one(tmp_path: Path) -> None:
    put(tmp_path, 1)
    put(tmp_path, 1, suffix=".gz", data=b"rubbish")
    assert read(tmp_path)[0].ranges == (one(1, 1, 1),)


def test_headers_before_the_oldest_backup_are_not_read(tmp_path: Path) -> None:
    put(tmp_path, 1, data=bytes(MIB))
    put(tmp_path, 2)
    assert read(tmp_path, oldest=2)[0].flawed == ()
    assert read(tmp_path, oldest=1)[0].flawed == (one(1, 1, 1),)


@pytest.mark.parametrize("size", [MIB, 16 * MIB])
def test_the_segment_size_is_that_of_the_headers(tmp_path: Path, size: int) -> None:
    (tmp_path / segment_name(1, 1, size)).write_bytes(bytes(size))
    (tmp_path / segment_name(1, 2, size)).write_bytes(content(2, size=size))
    assert find_segment_size(list_archive(tmp_path)) == size


def test_a_history_that_is_none_is_noted(tmp_path: Path) -> None:
    put(tmp_path, 1)
    (tmp_path / "00000002.history").write_bytes(b"\xff\0 nonsense")
    archive, listing = read(tmp_path)
    assert archive.forks == ()
    assert any("00000002.history" in note for note in listing.notes)


def test_a_missing_archive_names_its_key(tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", tmp_path / "file"):
        (tmp_path / "file").touch()
        with pytest.raises(RepositoryError, match=r"source\.repository\.archive") as refused:
            list_archive(place)
        assert refused.value.code == "ARCHIVE_MISSING"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_an_archive_that_may_not_be_read_says_which_right_is_missing(place: Path) -> None:
    archive = place / "archive"
    archive.mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        with pytest.raises(RepositoryError, match="r-x") as refused:
            list_archive(archive)
    finally:
        os.seteuid(0)
    assert refused.value.code == "REPOSITORY_UNREACHABLE"


# -- compression -------------------------------------------------------------------------------------------------------
def compressed(kind: str, data: bytes) -> bytes:
    """Data in one frame."""
    if kind == ".gz":
        return gzip.compress(data)
    if kind == ".lz4":
        return bytes(pytest.importorskip("lz4.frame").compress(data))
    return bytes(pytest.importorskip("zstandard").compress(data))


@pytest.mark.parametrize("kind", [".gz", ".lz4", ".zst"])
def test_compressed_files_are_whole_or_refused(tmp_path: Path, kind: str) -> None:
    data = os.urandom(70_000) + bytes(500_000)
    whole = compressed(kind, data)
    path = tmp_path / f"file{kind}"
    path.write_bytes(whole)
    with open_file(path) as stream:
        assert stream.read() == data
    path.write_bytes(whole + compressed(kind, b"second frame"))
    with open_file(path) as stream:
        assert stream.read() == data + b"second frame"
    for damaged in (whole[:-3], whole[: len(whole) // 2], whole + b"\x55trailing", b"rubbish"):
        path.write_bytes(damaged)
        with pytest.raises(BackupError, match="can't be decompressed"), open_file(path) as stream:
            stream.read()


def test_a_compressed_segment_has_to_be_as_long_as_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for data in (content(1)[:-1], content(1) + b"x", bytes(64 * MIB)):
        put(tmp_path, 1, suffix=".gz", data=gzip.compress(data))
        file = list_archive(tmp_path).segment(1, 1, MIB)
        assert file is not None
        with pytest.raises(ArchiveError) as refused:
            unpack_segment(file, out / "segment", MIB)
        assert refused.value.code == "WAL_SEGMENT_DAMAGED"
    assert list(out.iterdir()) == []


# -- threads -----------------------------------------------------------------------------------------------------------
async def test_cancelled_work_has_ended_when_the_caller_goes_on() -> None:
    running, ended = threading.Event(), threading.Event()

    def work() -> None:
        running.set()
        try:
            while True:
                check_halt()
        finally:
            ended.set()

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(running.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
