"""Read a ``backup_manifest``, and tell whether it is the one that the server wrote.

The format is in the PostgreSQL manual, *Backup Manifest Format*; the limits are those of ``parse_manifest.c``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import BackupError

NAME = "backup_manifest"
TEMPORARY_NAME = "backup_manifest.tmp"
SIZE_LIMIT = 1 << 30
"""Bytes; a manifest of five million files is about as large."""

DIGITS = {"CRC32C": 8, "SHA224": 56, "SHA256": 64, "SHA384": 96, "SHA512": 128}
"""Checksum algorithms, and how many hexadecimal digits a checksum of each has."""

PASSED_OVER = frozenset({NAME, TEMPORARY_NAME, "pg_wal", "postgresql.auto.conf", "recovery.signal", "standby.signal"})
"""What ``pg_verifybackup`` ignores, listed or not (its ``main``: *By default, we ignore …*), and an unfinished manifest."""


class ManifestFile(NamedTuple):
    """One file of the backup.

    :param path: relative to the data directory, with ``/``; a path that is no UTF-8 in Python's own escaped form.
    :param modified: GMT, ``2026-11-22 21:13:43 GMT``; "" when absent.
    :param algorithm: a key of :data:`DIGITS`, "" when the backup was taken without checksums.
    :param checksum: lower-case hexadecimal; a CRC-32C in the byte order of the server's machine.
    """

    path: str
    size: int
    modified: str
    algorithm: str
    checksum: str


class WalRange(NamedTuple):
    """WAL that the backup needs, of one timeline."""

    timeline: int
    start: Lsn
    end: Lsn


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """What a manifest tells.

    :param system_identifier: from version 2 (PostgreSQL 17) on, else None.
    :param wal_ranges: the server lists the newest timeline first; empty where a tool left them out.
    """

    version: int
    system_identifier: int | None
    files: tuple[ManifestFile, ...]
    wal_ranges: tuple[WalRange, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def newest(self) -> datetime | None:
        """When the file that changed last did; None when no file tells."""
        return parse_time(max((file.modified for file in self.files), default=""))

    @property
    def algorithms(self) -> frozenset[str]:
        """Every checksum algorithm that occurs, "" for files without a checksum; files that are passed over don't count."""
        return frozenset(file.algorithm for file in self.files if file.path not in PASSED_OVER)

    def file(self, path: str) -> ManifestFile | None:
        """The entry of a path, None when it isn't listed."""
        return next((file for file in self.files if file.path == path), None)


def write_manifest(path: Path, manifest: Manifest, files: Iterable[ManifestFile]) -> None:
    """Write a manifest of some of a manifest's files, with a checksum of its own, for a program that takes no list of files."""
    head: dict[str, Any] = {"PostgreSQL-Backup-Manifest-Version": manifest.version}
    if manifest.system_identifier is not None:
        head["System-Identifier"] = manifest.system_identifier
    entries = [
        {
            "Encoded-Path": os.fsencode(file.path).hex(),
            "Size": file.size,
            "Last-Modified": file.modified,
            "Checksum-Algorithm": file.algorithm,
            "Checksum": file.checksum,
        }
        for file in files
    ]
    content = json.dumps({**head, "Files": entries, "WAL-Ranges": []})[:-1] + ",\n"
    path.write_text(f'{content}"Manifest-Checksum": "{hashlib.sha256(content.encode()).hexdigest()}"}}\n')


def parse_time(text: str) -> datetime | None:
    """A manifest's time; None for anything else."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest's file.

    :raises BackupError: ``BACKUP_MANIFEST_DAMAGED`` when it isn't whole, ``BACKUP_UNREADABLE`` when it can't be read.
    """
    try:
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise _damaged(f"it has {size} bytes, more than the {SIZE_LIMIT} that are read")
        content = path.read_bytes()
    except OSError as error:
        raise BackupError(f"{path} can't be read: {error.strerror}. Give this account the right to read the backup.") from error
    try:
        return parse_manifest(content)
    except BackupError as error:
        raise BackupError(f"{path}: {error.message}", code=error.code) from error


def read_unchanged(path: Path) -> Manifest:
    """The same, taken from memory while the file stays as it is, by inode, size and time of modification.

    :raises BackupError: as :func:`read_manifest` does.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise BackupError(f"{path} can't be read: {error.strerror}.") from error
    return _read_once(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_once(path: Path, *stamp: int) -> Manifest:
    return read_manifest(path)


def parse_manifest(content: bytes) -> Manifest:
    """Check a manifest's own checksum and take it apart.

    :raises BackupError: ``BACKUP_MANIFEST_DAMAGED``, with what is wrong.
    """
    # The last line holds the SHA-256 of everything before it (parse_manifest.c, verify_manifest_checksum).
    if not content.endswith(b"\n"):
        raise _damaged("it is cut off")
    last_line = content.rfind(b"\n", 0, -1) + 1
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged("it is no JSON document") from error
    if not isinstance(document, dict):
        raise _damaged("it is no JSON object")
    promised = document.get("Manifest-Checksum")
    if not isinstance(promised, str) or not content[last_line:].lstrip().startswith(b'"Manifest-Checksum"'):
        raise _damaged("its own checksum is missing")
    if hashlib.sha256(content[:last_line]).hexdigest() != promised.lower():
        raise _damaged("its own checksum does not match")
    return _manifest(document)


def _manifest(document: dict[str, Any]) -> Manifest:
    version = document.get("PostgreSQL-Backup-Manifest-Version")
    if type(version) is not int or version not in (1, 2):
        raise _damaged(f"its version {version!r} is unknown")
    identifier = document.get("System-Identifier") if version >= 2 else None
    if identifier is not None and (type(identifier) is not int or not 0 <= identifier < 1 << 64):
        raise _damaged("its system identifier is no 64-bit number")
    entries, ranges = document.get("Files"), document.get("WAL-Ranges", [])
    if not isinstance(entries, list) or not isinstance(ranges, list):
        raise _damaged("it has no list of files, or its WAL ranges are no list")
    files = tuple(map(_file, entries))
    if len({file.path for file in files}) != len(files):
        raise _damaged("it lists a file twice")
    return Manifest(version=version, system_identifier=identifier, files=files, wal_ranges=tuple(map(_wal_range, ranges)))


def _file(entry: Any) -> ManifestFile:
    if not isinstance(entry, dict):
        raise _damaged("an entry of its files is no object")
    path, size, modified = entry.get("Path"), entry.get("Size"), entry.get("Last-Modified", "")
    if path is None and isinstance(entry.get("Encoded-Path"), str):
        try:
            path = os.fsdecode(bytes.fromhex(entry["Encoded-Path"]))
        except ValueError:
            path = None
    if not isinstance(path, str) or not safe_path(path):
        raise _damaged(f"the path {path!r} does not lie inside a backup")
    if type(size) is not int or not 0 <= size < 1 << 63 or not isinstance(modified, str):
        raise _damaged(f"the size or time of {path!r} is not one")
    algorithm, checksum = entry.get("Checksum-Algorithm"), entry.get("Checksum")
    if algorithm is None and checksum is None:
        return ManifestFile(path, size, modified, "", "")
    if not isinstance(algorithm, str) or not isinstance(checksum, str) or len(checksum) != DIGITS.get(algorithm.upper(), -1):
        raise _damaged(f"the checksum of {path!r} is not one that PostgreSQL writes")
    return ManifestFile(path, size, modified, algorithm.upper(), checksum.lower())


def _wal_range(entry: Any) -> WalRange:
    if not isinstance(entry, dict):
        raise _damaged("an entry of its WAL ranges is no object")
    timeline, start, end = entry.get("Timeline"), entry.get("Start-LSN"), entry.get("End-LSN")
    if type(timeline) is not int or not 0 < timeline < 1 << 32 or not isinstance(start, str) or not isinstance(end, str):
        raise _damaged("a WAL range of it has no timeline, start or end")
    try:
        found = WalRange(timeline, Lsn(start), Lsn(end))
    except ValueError as error:
        raise _damaged("a WAL range of it holds no LSN") from error
    if found.start > found.end:
        raise _damaged("a WAL range of it ends before it starts")
    return found


def safe_path(path: str) -> bool:
    """Whether a path is relative, in its simplest form, and stays inside the folder that it is joined to."""
    return bool(path) and "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _damaged(what: str) -> BackupError:
    return BackupError(
        f"The backup's manifest is damaged: {what}. This backup can't be proved; take another one.",
        code="BACKUP_MANIFEST_DAMAGED",
    )
