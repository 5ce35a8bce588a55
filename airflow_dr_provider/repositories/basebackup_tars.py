"""Read a backup's tar file and compare its members with the manifest while they stream by."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.domain.wal import parse_segment
from airflow_dr_provider.errors import BackupError, RepositoryError
from airflow_dr_provider.postgresql.manifest import PASSED_OVER, Manifest, ManifestFile, safe_path
from airflow_dr_provider.repositories.archive import list_archive
from airflow_dr_provider.repositories.basebackup_items import ABSENT, NO_MANIFEST, KnownManifest, item_path, tar_of
from airflow_dr_provider.repositories.basebackup_reading import Digests, compare_by_crc
from airflow_dr_provider.repositories.compression import compression_of, content_of, without_suffix
from airflow_dr_provider.repositories.halting import check_halt, in_thread
from airflow_dr_provider.repositories.transfer import copy_content, forget_pages
from airflow_dr_provider.repositories.wal_items import read_segments, segment_items
from airflow_dr_provider.repositories.wal_reader import WalReader

_UNPACKED = 256 << 20
"""Bytes of members that lie unpacked at once, where only pg_verifybackup can compare them."""

_BUFFER = 1 << 20


async def read_tar(folder: Path, known: KnownManifest, item: RepositoryItem, major: int | None, catalog: Catalog) -> ItemReport:
    """The report of one tar file of a backup: every member that the manifest lists, and the WAL in it."""
    name = without_suffix(item_path(item)).removesuffix(".tar")
    if item.stamp == ABSENT:
        fault = BackupFault(
            code="BACKUP_FILE_MISSING", path=item.name, detail="the manifest lists files in it; it is not there"
        )
        return ItemReport(name=item.name, checksum="", compared=True, fault=fault)
    with tempfile.TemporaryDirectory(prefix="dr-verify-") as scratch:
        reading = _TarReading(folder / item_path(item), name, known, Path(scratch))
        tools: list[str] = []
        members = reading.members()
        while (batch := await in_thread(next, members, None)) is not None:
            faults, tool = await compare_by_crc(known.manifest, batch, reading.data, major)
            reading.faults += faults.values()
            tools += [tool] if tool else []
        wal_faults, tool = await _wal_faults(reading.wal, known.manifest, catalog)
        reading.faults += wal_faults
        tools += [tool] if tool else []
    await in_thread(forget_pages, reading.path)
    return ItemReport(
        name=item.name,
        checksum=reading.checksum,
        compared=all(file.algorithm for file in reading.listed.values()) and known is not NO_MANIFEST,
        bytes_read=item.size,
        fault=reading.fault(item.name),
        tool=", ".join(dict.fromkeys(tools)),
    )


async def _wal_faults(folder: Path, manifest: Manifest, catalog: Catalog) -> tuple[list[BackupFault], str]:
    """What is wrong with the segments that lay in a tar file, by their own paths, and what decoded them."""
    listing = await in_thread(list_archive, folder)
    items = list(segment_items(listing, catalog.archive.segment_size, prefix="pg_wal"))
    needed = {part.timeline: part.end for part in manifest.wal_ranges}
    reports = [report async for report in read_segments(WalReader(catalog, listing), items, needed=needed)]
    return [report.fault for report in reports if report.fault is not None], reports[0].tool if reports else ""


class _Hashed:
    """A file as stored, hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self.digest.update(content)
        return content

    def close(self) -> None:
        self._file.close()


@dataclass
class _TarReading:
    """One tar file on its way.

    :param name: what it holds: ``base``, a tablespace's oid, ``pg_wal``.
    :param faults: by paths of the manifest.
    """

    path: Path
    name: str
    known: KnownManifest
    scratch: Path
    faults: list[BackupFault] = field(default_factory=list)
    checksum: str = ""

    def __post_init__(self) -> None:
        self.listed = {path: entry for path, entry in self.known.entries.items() if tar_of(path) == self.name}
        self._missing = dict(self.listed)
        self._unpacked: dict[ManifestFile, Path] = {}
        self.data = self.scratch / "data"
        self.wal = self.scratch / "pg_wal"
        self.wal.mkdir()

    def members(self) -> Iterator[Collection[ManifestFile]]:
        """Read it to its end. Members that only pg_verifybackup can compare are given unpacked, some at a time."""
        try:
            with self.path.open("rb") as file:
                stored = _Hashed(file)
                content = content_of(cast("BinaryIO", stored), compression_of(self.path.name), self.path)
                with tarfile.open(fileobj=content, mode="r|", bufsize=_BUFFER) as archive:
                    for member in archive:
                        check_halt()
                        self._member(archive, member)
                        if sum(entry.size for entry in self._unpacked) >= _UNPACKED:
                            yield from self._batch()
                # Reading on to the end shows whether the file was cut off behind its last member.
                while content.read(_BUFFER):
                    check_halt()
            self.checksum = f"sha256:{stored.digest.hexdigest()}"
        except PermissionError as error:
            raise RepositoryError(
                f"{self.path} can't be read: {error.strerror}. Give this account the right to read the backup."
            ) from error
        except BackupError as error:
            self._fault("BACKUP_UNREADABLE", "", error.message)
        except (OSError, tarfile.TarError, EOFError) as error:
            self._fault("BACKUP_UNREADABLE", "", f"it can't be unpacked: {error}")
        else:
            for path in self._missing:
                self._fault("BACKUP_FILE_MISSING", path, "the manifest lists it; it is not there")
        yield from self._batch()

    def _batch(self) -> Iterator[Collection[ManifestFile]]:
        if self._unpacked:
            yield tuple(self._unpacked)
        shutil.rmtree(self.data, ignore_errors=True)
        self._unpacked = {}

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        content = archive.extractfile(member) if member.isfile() else None
        if content is None:
            return
        inside = member.name.removeprefix("./")
        path = f"pg_tblspc/{self.name}/{inside}" if self.name.isdigit() else inside
        if not safe_path(inside):
            self._fault("BACKUP_UNREADABLE", inside, "it lies outside of a backup")
        elif self.name == "pg_wal" or inside.startswith("pg_wal/"):
            self._keep_segment(cast("BinaryIO", content), inside.removeprefix("pg_wal/"))
        elif path not in PASSED_OVER:
            self._compare(cast("BinaryIO", content), path)

    def _keep_segment(self, content: BinaryIO, name: str) -> None:
        if parse_segment(name, 1 << 20) is not None:
            with (self.wal / name).open("wb") as sink:
                copy_content(content, sink)

    def _compare(self, content: BinaryIO, path: str) -> None:
        entry = self._missing.pop(path, None)
        if entry is None:
            if self.known is not NO_MANIFEST:
                self._fault("BACKUP_FILE_EXTRA", path, "it is there; the manifest doesn't list it")
            return
        digests = Digests(entry)
        if entry.algorithm != "CRC32C":
            size = copy_content(content, None, digest=digests)
        else:
            place = self.data / path
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as sink:
                size = copy_content(content, sink, digest=digests)
            self._unpacked[entry] = place
        wrong = digests.fault(path, size)
        if wrong is not None:
            self.faults.append(wrong)
            self._unpacked.pop(entry, None)

    def _fault(self, code: str, path: str, detail: str) -> None:
        self.faults.append(BackupFault(code=code, path=path, detail=detail))

    def fault(self, name: str) -> BackupFault | None:
        """All that is wrong, as the tar file's one fault."""
        if not self.faults:
            return None
        first = self.faults[0]
        where = f"{first.path}: " if first.path else ""
        more = f", and {len(self.faults) - 1} more" if len(self.faults) > 1 else ""
        return BackupFault(code=first.code, path=name, detail=f"{where}{first.detail}{more}")
