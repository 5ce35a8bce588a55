"""A folder of ``pg_basebackup`` backups beside a WAL archive.

Plain and tar format (gzip, lz4, zstd), and the incremental chains of PostgreSQL 17 and newer. A backup's id is its folder's
name. The archive is what ``archive_command`` or ``pg_receivewal`` fill.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import FileReport, WalReport
from airflow_dr_provider.domain.target import RecoveryTarget, StoppingPoint
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.domain.wal import segment_name
from airflow_dr_provider.repositories.archive import list_archive
from airflow_dr_provider.repositories.archive_judge import find_segment_size, read_archive
from airflow_dr_provider.repositories.basebackup_catalog import KIND, entries, list_backups
from airflow_dr_provider.repositories.basebackup_files import BaseBackupFiles
from airflow_dr_provider.repositories.basebackup_items import backup_items
from airflow_dr_provider.repositories.basebackup_verification import read_basebackup_items
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, read_labels
from airflow_dr_provider.repositories.wal_items import segment_items
from airflow_dr_provider.repositories.wal_reader import WalReader
from airflow_dr_provider.repositories.wal_search import places_of


class BaseBackupRepository:
    """See :class:`airflow_dr_provider.repositories.base.Repository`.

    :param settings: ``backups`` and ``archive``, folders.
    :param base: the folder that relative paths start from.
    """

    def __init__(self, settings: Any, *, base: Path) -> None:
        self.backups: Path = base / settings.backups
        self.archive: Path = base / settings.archive
        self._files = BaseBackupFiles(self.backups.joinpath, partial(list_archive, self.archive))

    # -- reading -------------------------------------------------------------------------------------------------------
    async def catalog(self) -> Catalog:
        """Names, sizes, manifests, labels and headers."""
        return await in_thread(self._catalog)

    def _catalog(self) -> Catalog:
        found, notes = list_backups(self.backups)
        listing = list_archive(self.archive)
        size = find_segment_size(listing)
        backups = entries(found, read_labels(listing), size)
        sound = [backup for backup in backups if not backup.flaws and backup.start_lsn is not None]
        identifiers = [backup.system_identifier for backup in backups if backup.system_identifier is not None]
        oldest = min((backup.start_lsn // size for backup in sound if backup.start_lsn is not None), default=None)
        archive, identifier = read_archive(listing, size, oldest=oldest, identifiers=identifiers)
        return Catalog(
            identity=f"{KIND}:{self.backups}",
            backups=backups,
            archive=archive,
            system_identifier=identifier,
            notes=(*notes, *listing.notes),
        )

    async def last_record(self, catalog: Catalog, path: Sequence[SegmentRange]) -> StoppingPoint | None:
        """The last whole record of a contiguous walk of segments."""
        return await (await self._reader(catalog)).last_record(path)

    async def find_target(
        self, catalog: Catalog, path: Sequence[SegmentRange], target: RecoveryTarget
    ) -> tuple[StoppingPoint, bool] | None:
        """The record at which recovery has to stop for a target."""
        return await (await self._reader(catalog)).find_target(path, target)

    async def _reader(self, catalog: Catalog) -> WalReader:
        listing = await in_thread(list_archive, self.archive)
        await in_thread(self._add_own_wal, catalog, listing)
        return WalReader(catalog, listing)

    def _add_own_wal(self, catalog: Catalog, listing: ArchiveListing) -> None:
        """Let segments that only a plain backup itself holds be found, too."""
        size = catalog.archive.segment_size
        for backup in catalog.backups:
            for timeline, number in places_of(backup.own_wal):
                name = segment_name(timeline, number, size)
                path = self.backups / backup.id / "pg_wal" / name
                if name not in listing.segments and path.is_file():
                    listing.segments[name] = ArchiveFile(path, path.stat().st_size, "")

    # -- verifying and restoring ---------------------------------------------------------------------------------------
    async def verify(self, backup: Backup) -> FileReport:
        """Read every byte of a backup, and of those that it builds on, and compare them with their manifests."""
        return await self._files.verify(backup)

    async def inventory(self, catalog: Catalog) -> AsyncIterator[RepositoryItem]:
        """Every segment, then every file of every backup."""
        size = catalog.archive.segment_size
        listing = await in_thread(list_archive, self.archive)
        for item in segment_items(listing, size):
            yield item
        for backup in catalog.backups:
            for item in await in_thread(lambda b: list(backup_items(self.backups / b.id, b, size)), backup):
                yield item

    def read_items(self, catalog: Catalog, items: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
        """Read items whole and compare them."""
        return read_basebackup_items(
            catalog, items, folder_of=self.backups.joinpath, archive=partial(list_archive, self.archive)
        )

    async def restore(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Write the cluster's files, verified."""
        return await self._files.restore(coordinate, destination)

    async def fetch_wal(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> WalReport:
        """Write the coordinate's WAL, decoded."""
        listing = await in_thread(list_archive, self.archive)
        return await WalReader(catalog, listing).fetch(coordinate, destination)
