"""The objects that a repository stores a backup in, read and compared with the backup's manifest.

An object is a file's, or a bundle of many. Content is compared where it can be had: decompressed, with the SHA-1 that the file
had in the cluster. Of encrypted objects and of increments of blocks the bytes as stored are compared with the SHA-1 that
pgBackRest took of them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.errors import ArchiveError, BackupError
from airflow_dr_provider.repositories.compression import content_of
from airflow_dr_provider.repositories.pgbackrest_cipher import decrypt
from airflow_dr_provider.repositories.pgbackrest_manifest import BackupManifest, StoredFile
from airflow_dr_provider.repositories.pgbackrest_store import MISSING, Store
from airflow_dr_provider.repositories.transfer import copy_content


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One object of a repository.

    :param path: in the repository.
    :param parts: the files in it that are looked at, by their offsets.
    """

    path: str
    parts: tuple[StoredFile, ...]


@dataclass(frozen=True, kw_only=True)
class ObjectReport:
    """What reading an object showed.

    :param checksum: SHA-1 of the bytes read; "" when they could not be.
    :param compared: whether every part had a checksum to be compared with.
    """

    checksum: str = ""
    bytes_read: int = 0
    compared: bool = False
    faults: tuple[BackupFault, ...] = ()


def objects_of(manifest: BackupManifest, stanza: str, holders: Collection[str]) -> list[StoredObject]:
    """The objects of which a backup's manifest tells.

    :param holders: labels of the backups whose objects are wanted.
    """
    found: dict[str, list[StoredFile]] = {}
    for file in manifest.files:
        if file.place and file.holder in holders:
            found.setdefault(f"backup/{stanza}/{file.holder}/{file.place}", []).append(file)
    return [
        StoredObject(path=path, parts=tuple(sorted(parts, key=lambda part: part.offset)))
        for path, parts in sorted(found.items())
    ]


def read_object(store: Store, stored: StoredObject) -> ObjectReport:
    """Read an object and compare each part; faults are named after the cluster's files.

    :raises RepositoryError: when the repository can't be reached.
    """
    raw = store.encrypted
    try:
        with store.open(stored.path, raw=raw) as stream:
            return _compare(stream, stored.parts, opaque=raw)
    except FileNotFoundError:
        return _lost(stored, "BACKUP_FILE_MISSING", f"{store.name}: {stored.path} is not there")
    except OSError as error:
        return _lost(stored, "BACKUP_UNREADABLE", f"{store.name}: {stored.path} can't be read: {error.strerror}")
    except ArchiveError as error:
        missing = error.facts.get("exit_code") == MISSING
        return _lost(stored, "BACKUP_FILE_MISSING" if missing else "BACKUP_UNREADABLE", error.message)


def content_of_file(store: Store, stanza: str, manifest: BackupManifest, file: StoredFile) -> bytes | None:
    """The content of one small file; None when it is not what the manifest says, or stored as increments of blocks.

    :raises OSError: when it can't be opened.
    :raises DrillError: when it can't be read.
    """
    if not file.place or file.blocks:
        return None
    # The program decrypts a whole object; the parts of a bundle are encrypted each by itself.
    parts = store.encrypted and file.bundled
    with store.open(f"backup/{stanza}/{file.holder}/{file.place}", raw=parts) as stream:
        _skip(stream, file.offset)
        stored = stream.read(file.stored_size) if file.bundled else stream.read()
    if parts:
        decrypted = decrypt(stored, manifest.passphrase, header=not manifest.raw_bundles)
        if decrypted is None:
            return None
        stored = decrypted
    with content_of(io.BytesIO(stored), file.compression, Path(file.path)) as content:
        data = content.read(file.size + 1)
    return data if hashlib.sha1(data, usedforsecurity=False).hexdigest() == file.checksum else None


def _lost(stored: StoredObject, code: str, detail: str) -> ObjectReport:
    return ObjectReport(faults=tuple(BackupFault(code=code, path=part.path, detail=detail) for part in stored.parts[:1]))


def _compare(stream: BinaryIO, parts: Iterable[StoredFile], *, opaque: bool) -> ObjectReport:
    """Compare the parts of one object, in the order of their offsets; the rest of it is read, too."""
    whole = _Window(stream, None)
    faults: list[BackupFault] = []
    compared = True
    for part in parts:
        if part.offset < whole.position:
            faults.append(
                BackupFault(code="BACKUP_MANIFEST_DAMAGED", path=part.path, detail="it overlaps another file's bytes")
            )
            continue
        _skip(cast("BinaryIO", whole), part.offset - whole.position)
        window = _Window(whole, part.stored_size if part.bundled else None)
        fault = _stored_fault(window, part) if opaque or part.blocks else _content_fault(window, part)
        compared = compared and bool(part.stored_checksum if opaque or part.blocks else part.checksum)
        if fault is not None:
            faults.append(fault)
        _skip(cast("BinaryIO", window), None)
    _skip(cast("BinaryIO", whole), None)
    return ObjectReport(
        checksum=f"sha1:{whole.digest.hexdigest()}", bytes_read=whole.position, compared=compared, faults=tuple(faults)
    )


def _stored_fault(window: _Window, part: StoredFile) -> BackupFault | None:
    _skip(cast("BinaryIO", window), None)
    if window.position != part.stored_size:
        detail = f"{window.position} bytes of it are stored; the manifest says {part.stored_size}"
        return BackupFault(code="BACKUP_FILE_SIZE", path=part.path, detail=detail)
    if part.stored_checksum and window.digest.hexdigest() != part.stored_checksum:
        return BackupFault(code="BACKUP_CHECKSUM_MISMATCH", path=part.path, detail="its stored checksum is not the manifest's")
    return None


def _content_fault(window: _Window, part: StoredFile) -> BackupFault | None:
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        # Not closed: that would close what the other parts are read from.
        stored = cast("BinaryIO", io.BufferedReader(window, 1 << 18))
        size = copy_content(content_of(stored, part.compression, Path(part.path)), None, digest=digest, limit=part.size + 1)
    except BackupError as error:
        return BackupFault(code="BACKUP_UNREADABLE", path=part.path, detail=error.message)
    if size != part.size:
        more = "more than " if size > part.size else ""
        detail = f"it has {more}{min(size, part.size)} bytes; the manifest says {part.size}"
        return BackupFault(code="BACKUP_FILE_SIZE", path=part.path, detail=detail)
    if part.checksum and digest.hexdigest() != part.checksum:
        return BackupFault(code="BACKUP_CHECKSUM_MISMATCH", path=part.path, detail="its checksum is not the manifest's")
    return None


class _Window(io.RawIOBase):
    """The next bytes of a stream, hashed as they pass; it never closes the stream.

    :param limit: how many; None for all.
    """

    def __init__(self, stream: Any, limit: int | None) -> None:
        self._stream = stream
        self._limit = limit
        self.position = 0
        self.digest = hashlib.sha1(usedforsecurity=False)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._limit is not None:
            view = view[: self._limit - self.position]
        size = int(self._stream.readinto(view) or 0) if view else 0
        self.digest.update(view[:size])
        self.position += size
        return size


def _skip(stream: BinaryIO, count: int | None) -> None:
    """Read on and drop it.

    :param count: bytes; None for all there are.
    """
    copy_content(stream, None, limit=count)
