"""Read files of base backups and compare them with their manifest, one report a file."""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.errors import BackupError, RepositoryError
from airflow_dr_provider.postgresql.manifest import NAME, Manifest, ManifestFile, read_manifest
from airflow_dr_provider.postgresql.programs import Programs, find_programs
from airflow_dr_provider.postgresql.verifybackup import verify_files
from airflow_dr_provider.repositories.basebackup_items import ABSENT, NO_MANIFEST, KnownManifest, item_path
from airflow_dr_provider.repositories.halting import carried, in_thread
from airflow_dr_provider.repositories.transfer import Hash, copy_content, forget_pages, hash_of

_READERS = 2


async def read_files(
    folder: Path, known: KnownManifest, items: Sequence[RepositoryItem], major: int | None
) -> AsyncIterator[ItemReport]:
    """Reports of files of one plain backup, or of any backup's manifest.

    :param folder: the backup's.
    :param major: PostgreSQL's major version, for pg_verifybackup.
    :raises RepositoryError: when this account may not read one: that says nothing about the backup.
    """
    readings = await in_thread(_read_all, folder, known, items)
    left = [
        reading.entry
        for reading in readings
        if reading.entry is not None and reading.report.fault is None and reading.entry.algorithm == "CRC32C"
    ]
    faults, tool = await compare_by_crc(known.manifest, left, folder, major)
    await in_thread(_forget_all, folder, [reading.item for reading in readings if reading.report.bytes_read])
    compared = set(left)
    for reading in readings:
        yield reading.settled(faults, tool if reading.entry in compared else "")


@dataclass(frozen=True)
class _Reading:
    """A file that was read.

    :param entry: what the manifest says of it.
    """

    item: RepositoryItem
    report: ItemReport
    entry: ManifestFile | None = None

    def settled(self, faults: dict[str, BackupFault], tool: str) -> ItemReport:
        """The report, with what pg_verifybackup found."""
        found = faults.get(self.entry.path) if self.entry is not None else None
        fault = found.model_copy(update={"path": self.item.name}) if found is not None else self.report.fault
        return self.report.model_copy(update={"fault": fault, "tool": tool})


async def compare_by_crc(
    manifest: Manifest, files: Collection[ManifestFile], root: Path, major: int | None
) -> tuple[dict[str, BackupFault], str]:
    """Compare files of a data directory by CRC-32C, which is pg_verifybackup's part; faults by path, and the program's name and version.

    :raises BackupError: when it found something and did not say of which file.
    """
    if not files:
        return {}, ""
    programs: Programs = await in_thread(find_programs, major or 0)
    faults = {fault.path: fault for fault in await verify_files(programs, manifest, files, root)}
    if "" in faults:
        raise BackupError(f"pg_verifybackup could not compare {len(files)} files: {faults[''].detail}.")
    return faults, f"pg_verifybackup {programs.version}"


def _forget_all(folder: Path, items: Sequence[RepositoryItem]) -> None:
    for item in items:
        with contextlib.suppress(OSError):
            forget_pages(folder / item_path(item))


def _read_all(folder: Path, known: KnownManifest, items: Sequence[RepositoryItem]) -> list[_Reading]:
    with ThreadPoolExecutor(_READERS, thread_name_prefix="verify") as pool:
        return list(pool.map(carried(partial(_read_file, folder, known)), items))


def _read_file(folder: Path, known: KnownManifest, item: RepositoryItem) -> _Reading:
    path = item_path(item)
    if path == NAME:
        return _Reading(item, _content(folder / NAME, item, None, fault=_manifest_fault(folder, item), compared=True))
    entry = known.entries.get(path)
    fault = None
    if item.stamp == ABSENT:
        detail = "the manifest lists it; it is not there" if entry is not None else "it is not there any more"
        fault = BackupFault(code="BACKUP_FILE_MISSING", path=item.name, detail=detail)
        return _Reading(item, ItemReport(name=item.name, checksum="", compared=True, fault=fault))
    if entry is None and known is not NO_MANIFEST:
        fault = BackupFault(code="BACKUP_FILE_EXTRA", path=item.name, detail="it is there; the manifest doesn't list it")
    report = _content(folder / path, item, entry, fault=fault, compared=entry is not None and bool(entry.algorithm))
    return _Reading(item, report, entry)


def _manifest_fault(folder: Path, item: RepositoryItem) -> BackupFault | None:
    try:
        read_manifest(folder / NAME)
    except BackupError as error:
        return BackupFault(code=error.code, path=item.name, detail=error.message)
    return None


def _content(
    path: Path, item: RepositoryItem, entry: ManifestFile | None, *, fault: BackupFault | None, compared: bool
) -> ItemReport:
    """Hash a file, and compare it with the manifest as far as Python can."""
    both = Digests(entry)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            fault = BackupFault(code="BACKUP_FILE_MISSING", path=item.name, detail="it is no regular file")
            return ItemReport(name=item.name, checksum="", compared=True, fault=fault)
        with path.open("rb") as stream:
            size = copy_content(stream, None, digest=both)
    except PermissionError as error:
        raise RepositoryError(
            f"{path} can't be read: {error.strerror}. Give this account the right to read the backup."
        ) from error
    except FileNotFoundError:
        fault = BackupFault(code="BACKUP_FILE_MISSING", path=item.name, detail="it is not there any more")
        return ItemReport(name=item.name, checksum="", compared=True, fault=fault)
    except OSError as error:
        fault = BackupFault(code="BACKUP_UNREADABLE", path=item.name, detail=f"it can't be read: {error.strerror}")
        return ItemReport(name=item.name, checksum="", compared=True, fault=fault)
    if entry is not None and fault is None:
        fault = both.fault(item.name, size)
    return ItemReport(name=item.name, checksum=both.checksum, compared=compared, bytes_read=size, fault=fault)


class Digests:
    """The ledger's checksum of a content and its manifest's, in one pass."""

    def __init__(self, entry: ManifestFile | None) -> None:
        self._entry = entry
        self._own = hashlib.sha256()
        other: Hash | None = self._own
        if entry is not None and entry.algorithm != "SHA256":
            other = hash_of(entry.algorithm)
        self._other = other

    def update(self, data: memoryview, /) -> None:
        """Take more content."""
        self._own.update(data)
        if self._other is not None and self._other is not self._own:
            self._other.update(data)

    def hexdigest(self) -> str:
        """The ledger's checksum, bare."""
        return self._own.hexdigest()

    @property
    def checksum(self) -> str:
        """The ledger's checksum."""
        return f"sha256:{self._own.hexdigest()}"

    def fault(self, path: str, size: int) -> BackupFault | None:
        """What is wrong, as far as it can be told without CRC-32C."""
        entry = self._entry
        if entry is None:
            return None
        if size != entry.size:
            detail = f"it has {size} bytes; the manifest says {entry.size}"
            return BackupFault(code="BACKUP_FILE_SIZE", path=path, detail=detail)
        if self._other is not None and self._other.hexdigest() != entry.checksum and entry.algorithm:
            return BackupFault(code="BACKUP_CHECKSUM_MISMATCH", path=path, detail="its checksum is not the manifest's")
        return None
