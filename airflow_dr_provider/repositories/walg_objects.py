"""Read an object of WAL-G's storage whole, decrypted and decompressed; a tar file has to be one to its end."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import BinaryIO

from airflow_dr_provider.domain.reports import BackupFault, FileReport
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.repositories.halting import check_halt
from airflow_dr_provider.repositories.walg_documents import FilesMetadata, without_extension
from airflow_dr_provider.repositories.walg_program import BACKUPS, WalG

TARS = "tar_partitions"
_BLOCK = 512


@dataclass
class Content:
    """An object, read to its end.

    :param checksum: of its content; "" when it couldn't be read.
    :param members: names of what a tar file holds, without slashes before them.
    :param fault: what is wrong with it; "" for nothing.
    """

    checksum: str = ""
    bytes_read: int = 0
    members: set[str] = field(default_factory=set)
    fault: str = ""


def read_object(walg: WalG, name: str) -> Content:
    """Read an object; that it is damaged or gone is no error."""
    content = Content()
    try:
        with walg.open(name) as stream:
            hashing = _Hashing(stream)
            if without_extension(name).endswith(".tar"):
                content.members = _members(hashing)
            hashing.drain()
    except (DrillError, tarfile.TarError, EOFError, OSError) as error:
        content.fault = f"it can't be read: {getattr(error, 'message', None) or error}"
        return content
    content.checksum, content.bytes_read = f"sha256:{hashing.digest.hexdigest()}", hashing.size
    if content.members and hashing.size % _BLOCK:
        content.fault = "it is cut off: a tar file is made of whole blocks"
    return content


class _Hashing:
    """A stream that hashes what is read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        check_halt()
        data = self._stream.read(size)
        self.digest.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass


def _members(stream: _Hashing) -> set[str]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]  # it only reads
        return {plain_path(member.name) for member in archive}


def plain_path(name: str) -> str:
    """A file's path relative to the data directory: WAL-G writes slashes before it, PostgreSQL a dot."""
    return name.removeprefix("./").lstrip("/")


def read_backup(walg: WalG, backup: str, names: Collection[str], metadata: FilesMetadata) -> FileReport:
    """Read a backup's tar files and compare what they hold with what its metadata lists.

    WAL-G keeps no checksum of them, so the report is never a verified one.

    :param names: its tar files.
    """
    faults: list[BackupFault] = []
    members = read = 0
    expected = expected_members(metadata)
    for name in sorted({*names, *expected}):
        path = f"{TARS}/{name}"
        if name not in names:
            detail = "the backup's metadata lists it; it is not there"
            faults.append(BackupFault(code="BACKUP_FILE_MISSING", path=path, detail=detail))
            continue
        content = read_object(walg, f"{BACKUPS}/{backup}/{path}")
        members += len(content.members)
        read += content.bytes_read
        if content.fault:
            faults.append(BackupFault(code="BACKUP_UNREADABLE", path=path, detail=content.fault))
            continue
        for file in sorted(expected.get(name, frozenset()) - content.members):
            detail = f"the backup's metadata says that {name} holds it; it doesn't"
            faults.append(BackupFault(code="BACKUP_FILE_MISSING", path=file, detail=detail))
    if not names:
        faults.append(BackupFault(code="BACKUP_FILE_MISSING", path=TARS, detail="the backup has no tar file"))
    return FileReport(files=members, bytes_read=read, faults=tuple(faults))


def expected_members(metadata: FilesMetadata) -> dict[str, frozenset[str]]:
    """What each tar file has to hold.

    A set is noted before its files are packed: what was removed in between is in no list of files, and what had not changed
    after all is marked as skipped.
    """
    files = metadata.files or {}
    return {
        name: frozenset(
            plain_path(file) for file in members or () if file in files and files[file].get("IsSkipped") is not True
        )
        for name, members in (metadata.tar_sets or {}).items()
    }
