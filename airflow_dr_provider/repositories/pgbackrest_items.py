"""What can be verified by itself in a stanza's repositories: each stored object, each manifest, each segment."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.domain.wal import parse_segment, segment_name
from airflow_dr_provider.errors import ArchiveError, BackupError
from airflow_dr_provider.postgresql.waldump import WalDump
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.pgbackrest_archive import StanzaArchive
from airflow_dr_provider.repositories.pgbackrest_catalog import Place
from airflow_dr_provider.repositories.pgbackrest_manifest import NAME, SIZE_LIMIT, BackupManifest, parse_manifest
from airflow_dr_provider.repositories.pgbackrest_objects import StoredObject, objects_of, read_object
from airflow_dr_provider.repositories.pgbackrest_store import MISSING, Store, Stored
from airflow_dr_provider.repositories.wal_files import ArchiveFile, unpack_segment

_READERS = 2
_GONE = Stored(0, "")


@dataclass(frozen=True, kw_only=True)
class BackupFiles:
    """One backup's folder in its repository.

    :param backup_id: its id in the catalog.
    """

    backup_id: str
    label: str
    store: Store
    stanza: str

    @property
    def folder(self) -> str:
        """Its folder."""
        return f"backup/{self.stanza}/{self.label}"

    async def manifest(self) -> BackupManifest:
        """Its manifest.

        :raises BackupError: ``BACKUP_FILE_MISSING`` or ``BACKUP_MANIFEST_DAMAGED``.
        """
        content = await self.store.read(f"{self.folder}/{NAME}", SIZE_LIMIT)
        if content is None:
            raise BackupError(
                f"{self.store.name}: {self.folder}/{NAME} is not there, so nothing in this backup can be proved.",
                code="BACKUP_FILE_MISSING",
            )
        return await in_thread(parse_manifest, content)

    async def items(self) -> list[RepositoryItem]:
        """Its manifest and the objects that it stores itself; of a backup without a manifest that can be used, only that."""
        stored = await self.store.files(self.folder)
        items = [self._item(f"{self.folder}/{NAME}", stored.get(NAME, _GONE))]
        try:
            manifest = await self.manifest()
            objects = await in_thread(objects_of, manifest, self.stanza, (self.label,))
        except BackupError:
            return items
        for entry in objects:
            items.append(self._item(entry.path, stored.get(entry.path.removeprefix(f"{self.folder}/"), _GONE)))
        return items

    def _item(self, path: str, stored: Stored) -> RepositoryItem:
        return RepositoryItem(name=f"{self.store.name}/{path}", size=stored.size, stamp=stored.stamp, backup_id=self.backup_id)


def segment_items(archive: StanzaArchive, segment_size: int) -> Iterator[RepositoryItem]:
    """Every segment that the archive gives."""
    for name in sorted(archive.stored):
        place = parse_segment(name, segment_size)
        if place is None:
            continue
        store, path, stored = archive.stored[name]
        yield RepositoryItem(
            name=f"{store.name}/{path}",
            size=stored.size,
            stamp=stored.stamp,
            segment=SegmentRange(timeline=place[0], first=place[1], last=place[1]),
        )


@dataclass(kw_only=True)
class ItemReader:
    """Reads items, batch after batch of one pass.

    :param backups: by repository and label; of an item of another one, which expired since, nothing is said.
    :param dump: None when no program reads this WAL; segments are then compared with their names' checksums only.
    """

    backups: Mapping[Place, BackupFiles]
    archive: StanzaArchive
    segment_size: int
    dump: WalDump | None
    _kept: tuple[Place, Mapping[str, StoredObject] | BackupError] | None = None

    async def read(self, items: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
        """See :meth:`airflow_dr_provider.repositories.base.Repository.read_items`."""
        for begin in range(0, len(items), _READERS):
            batch = items[begin : begin + _READERS]
            wanted = [await self._object(item) for item in batch]
            for report in await asyncio.gather(*map(self._one, batch, wanted)):
                yield report

    async def _object(self, item: RepositoryItem) -> StoredObject | BackupError | None:
        """What the manifest says of an item; that it can't be used, where it can't; None for what isn't its to say.

        The last manifest is kept: the items of a backup come one after the other.
        """
        place = self._place(item)
        if place is None or item.name.endswith(f"/{NAME}"):
            return None
        if self._kept is None or self._kept[0] != place:
            self._kept = place, await self._objects(self.backups[place])
        known = self._kept[1]
        return known if isinstance(known, BackupError) else known.get(item.name)

    async def _objects(self, backup: BackupFiles) -> Mapping[str, StoredObject] | BackupError:
        try:
            manifest = await backup.manifest()
            objects = await in_thread(objects_of, manifest, backup.stanza, (backup.label,))
        except BackupError as error:
            return error
        return {f"{backup.store.name}/{entry.path}": entry for entry in objects}

    def _place(self, item: RepositoryItem) -> Place | None:
        """The backup that an item is part of."""
        repository, _, path = item.name.partition("/")
        parts = path.split("/")
        if item.segment is not None or len(parts) < 4 or not repository.removeprefix("repo").isdigit():
            return None
        place = (int(repository.removeprefix("repo")), parts[2])
        return place if place in self.backups else None

    async def _one(self, item: RepositoryItem, stored: StoredObject | BackupError | None) -> ItemReport:
        if item.segment is not None:
            return await self._segment(item, item.segment)
        place = self._place(item)
        if place is None:
            return _gone(item)
        backup = self.backups[place]
        if item.name == f"{backup.store.name}/{backup.folder}/{NAME}":
            return await self._manifest(item, backup)
        if stored is None:
            return _fault(item, "BACKUP_FILE_EXTRA", "its backup's manifest doesn't tell of it")
        if isinstance(stored, BackupError):
            return _fault(item, "BACKUP_MANIFEST_DAMAGED", stored.message)
        report = await in_thread(read_object, backup.store, stored)
        fault = report.faults[0] if report.faults else None
        if fault is not None:
            detail = fault.detail if fault.path in item.name else f"{fault.path}: {fault.detail}"
            fault = BackupFault(code=fault.code, path=item.name, detail=detail)
        return ItemReport(
            name=item.name, checksum=report.checksum, compared=report.compared, bytes_read=report.bytes_read, fault=fault
        )

    async def _manifest(self, item: RepositoryItem, backup: BackupFiles) -> ItemReport:
        try:
            content = await backup.store.read(f"{backup.folder}/{NAME}", SIZE_LIMIT)
        except BackupError as error:
            return _fault(item, "BACKUP_UNREADABLE", error.message)
        if content is None:
            return _fault(item, "BACKUP_FILE_MISSING", "the backup's manifest is not there")
        checksum = f"sha1:{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"
        fault = None
        try:
            manifest = await in_thread(parse_manifest, content)
            _ = await in_thread(lambda: manifest.files)
        except BackupError as error:
            fault = BackupFault(code=error.code, path=item.name, detail=error.message)
        return ItemReport(name=item.name, checksum=checksum, compared=True, bytes_read=len(content), fault=fault)

    async def _segment(self, item: RepositoryItem, segment: SegmentRange) -> ItemReport:
        """Compare a segment with the SHA-1 in its name, and decode it.

        Every complete segment that PostgreSQL archives can be decoded from its first record to its end; a segment in which no
        record begins lies whole inside one, and is only compared.
        """
        name = segment_name(segment.timeline, segment.first, self.segment_size)
        file = self.archive.listing.segments.get(name)
        if file is None or f"{self._stored_as(name)}" != item.name:
            return _gone(item)
        with tempfile.TemporaryDirectory(prefix="dr-wal-") as folder:
            target = Path(folder, name)
            try:
                size = await in_thread(unpack_segment, file._replace(spare=None), target, self.segment_size)
            except FileNotFoundError:
                return _gone(item)
            except (ArchiveError, OSError) as error:
                if isinstance(error, ArchiveError) and error.facts.get("exit_code") == MISSING:
                    return _gone(item)
                return _fault(item, "WAL_SEGMENT_DAMAGED", str(error))
            fault = await self._decode(item, target)
        return ItemReport(name=item.name, checksum=_checksum(file), compared=True, bytes_read=size, fault=fault)

    async def _decode(self, item: RepositoryItem, path: Path) -> BackupFault | None:
        if self.dump is None:
            return None
        decoded = await self.dump.decode(path)
        if decoded.to_the_end or decoded.start is None:
            return None
        detail = f"nothing at {decoded.end} can be decoded ({decoded.message or 'its record is cut off'})"
        return BackupFault(code="WAL_SEGMENT_DAMAGED", path=item.name, detail=detail)

    def _stored_as(self, name: str) -> str:
        store, path, _ = self.archive.stored[name]
        return f"{store.name}/{path}"


def _checksum(file: ArchiveFile) -> str:
    """The content's, which was just found to be the one in the file's name."""
    return f"sha1:{file.sha1}"


def _gone(item: RepositoryItem) -> ItemReport:
    """The report of what expired since it was listed: a hole that it leaves shows in the archive's continuity."""
    return ItemReport(name=item.name, checksum="", compared=False)


def _fault(item: RepositoryItem, code: str, detail: str) -> ItemReport:
    return ItemReport(name=item.name, checksum="", compared=True, fault=BackupFault(code=code, path=item.name, detail=detail))
