"""What WAL-G 3 wrote, on any storage that it knows.

Everything goes through the program ``wal-g`` with the settings of the spec's ``env_file``: what lies in the storage
(``st ls``), what an object holds (``st cat``), the list of backups, and the restore (``backup-fetch``). Its verdicts
(``wal-verify``, ``wal-show``) are not asked for.

No package of WAL-G could be had where this was made: the documents and listings are those that its source describes, and the
tests run a stand-in that plays them over real backups. Failover storages are not read.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import BackupFault, FileReport, WalReport
from airflow_dr_provider.domain.target import RecoveryTarget, StoppingPoint
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.errors import BackupError, RepositoryError
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.materialise import empty
from airflow_dr_provider.repositories.tool import parse
from airflow_dr_provider.repositories.wal_reader import WalReader
from airflow_dr_provider.repositories.walg_archive import judge, list_wal, sort_objects
from airflow_dr_provider.repositories.walg_catalog import KIND, SENTINEL_ENDING, read_backups
from airflow_dr_provider.repositories.walg_documents import FILES_METADATA, SENTINEL, FilesMetadata, Sentinel
from airflow_dr_provider.repositories.walg_items import read_objects, read_segments, storage_items
from airflow_dr_provider.repositories.walg_objects import TARS, read_backup
from airflow_dr_provider.repositories.walg_program import BACKUPS, WAL, WalG
from airflow_dr_provider.repositories.walg_restore import look_over, restore, tidy

_FILES = "files_metadata.json"
_WITH_FILES = 2
"""The version of sentinels whose backups have one."""
_DAMAGED = "BACKUP_MANIFEST_DAMAGED"


class WalGRepository:
    """See :class:`airflow_dr_provider.repositories.base.Repository`.

    :param settings: ``env_file`` and, where it isn't on PATH, ``program``.
    :param base: the folder that relative paths start from.
    """

    def __init__(self, settings: Any, *, base: Path) -> None:
        program = base / settings.program if settings.program is not None else None
        self.walg = WalG(base / settings.env_file, program)

    # -- reading -------------------------------------------------------------------------------------------------------
    async def catalog(self) -> Catalog:
        """The list of backups, the sentinels of deltas, the listing of WAL, and headers of its newest segments."""
        note = await self.walg.check_version()
        await self.walg.folders()
        backups, notes = await read_backups(self.walg)
        listing = await list_wal(self.walg)
        sound = [backup for backup in backups if not backup.flaws]
        oldest = min((backup.start_lsn for backup in sound if backup.start_lsn is not None), default=None)
        identifiers = [backup.system_identifier for backup in backups if backup.system_identifier is not None]
        archive, identifier = await in_thread(judge, listing, oldest=oldest, identifiers=identifiers)
        await self._confirm(bool(archive.flawed))
        return Catalog(
            identity=f"{KIND}:{self.walg.settings_file}",
            backups=backups,
            archive=archive,
            system_identifier=identifier,
            notes=(*([note] if note else []), *notes, *listing.notes),
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
        return WalReader(catalog, await list_wal(self.walg))

    # -- verifying -----------------------------------------------------------------------------------------------------
    async def verify(self, backup: Backup) -> FileReport:
        """Read every tar file of a backup, and of those that it builds on, to its end; no checksum of them is kept."""
        reports = []
        for name in (*reversed(backup.chain), backup.id):
            report = await self._verify_one(name)
            prefix = f"{name}/" if backup.chain else ""
            faults = tuple(fault.model_copy(update={"path": f"{prefix}{fault.path}"}) for fault in report.faults)
            reports.append(report.model_copy(update={"faults": faults}))
        await self._confirm(any(report.faults for report in reports))
        return FileReport(
            files=sum(report.files for report in reports),
            bytes_read=sum(report.bytes_read for report in reports),
            faults=tuple(fault for report in reports for fault in report.faults),
        )

    async def _verify_one(self, name: str) -> FileReport:
        stored = await self._stored()
        prefix = f"{name}/{TARS}/"
        tars = [path.removeprefix(prefix) for path in stored if path.startswith(prefix)]
        try:
            metadata = await self._files_metadata(name, await self._sentinel(name), stored)
        except BackupError as error:
            return FileReport(faults=(BackupFault(code=error.code, path="", detail=error.message),))
        return await in_thread(read_backup, self.walg, name, tars, metadata)

    async def inventory(self, catalog: Catalog) -> AsyncIterator[RepositoryItem]:
        """Every object of each backup, and each segment, as WAL-G lists them."""
        backups, _ = await self.walg.list(BACKUPS, recursive=True)
        wal, odd = await self.walg.list(WAL)
        for item in storage_items(catalog, backups, wal, sort_objects(self.walg, wal, odd)):
            yield item

    async def read_items(self, catalog: Catalog, items: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
        """Read objects whole; segments are decoded."""
        async for report in read_objects(self.walg, [item for item in items if item.segment is None]):
            await self._confirm(report.fault is not None)
            yield report
        wanted = {(item.segment.timeline, item.segment.first): item for item in items if item.segment is not None}
        if wanted:
            async for report in read_segments(await self._reader(catalog), wanted):
                await self._confirm(report.fault is not None)
                yield report

    async def _confirm(self, failed: bool) -> None:
        """Make sure that a failure is the content's: WAL-G fails alike for that and for a storage out of reach.

        :raises RepositoryError: when the storage can't be read.
        """
        if failed:
            await self.walg.list()

    # -- restoring -----------------------------------------------------------------------------------------------------
    async def restore(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Let WAL-G write the cluster's files, and look at what it wrote; never verified, for it keeps no checksums."""
        await in_thread(empty, destination)
        backup = catalog.backup(coordinate.backup_id)
        sentinels = [await self._sentinel(name) for name in (backup.id, *backup.chain)]
        metadata = await self._files_metadata(backup.id, sentinels[0], await self._stored())
        try:
            await restore(self.walg, backup.id, sentinels, destination.resolve())
        except RepositoryError as error:
            if "no space left on device" in error.message:
                raise OSError(errno.ENOSPC, f"WAL-G found no room to restore to: {error.message}") from error
            # Its words don't tell a damaged backup from a storage out of reach; reading the tar files does.
            report = await self.verify(backup)
            if not report.faults:
                raise
            return report
        report = await in_thread(look_over, backup, metadata, destination)
        await in_thread(tidy, destination)
        return report

    async def _sentinel(self, name: str) -> Sentinel:
        text = await self.walg.text(f"{BACKUPS}/{name}{SENTINEL_ENDING}")
        try:
            return parse(SENTINEL, text, tool="WAL-G", what="a sentinel")
        except RepositoryError as error:
            raise BackupError(f"{name}: {error.message}", code=_DAMAGED) from error

    async def _stored(self) -> frozenset[str]:
        """The paths of everything below the backups' folder: to look into a folder that is gone would make it anew."""
        rows, _ = await self.walg.list(BACKUPS, recursive=True)
        return frozenset(row.name for row in rows)

    async def _files_metadata(self, name: str, sentinel: Sentinel, stored: frozenset[str]) -> FilesMetadata:
        """What a backup lists of its files; nothing where it was pushed without that, or by an old version."""
        if sentinel.files_metadata_disabled:
            return FilesMetadata()
        if f"{name}/{_FILES}" not in stored:
            if sentinel.version < _WITH_FILES:
                return FilesMetadata()
            raise BackupError(f"{name} has lost its {_FILES}, and WAL-G can't restore it without that.", code=_DAMAGED)
        text = await self.walg.text(f"{BACKUPS}/{name}/{_FILES}")
        try:
            return parse(FILES_METADATA, text, tool="WAL-G", what=f"a {_FILES}")
        except RepositoryError as error:
            raise BackupError(f"{name}: {error.message}", code=_DAMAGED) from error

    async def fetch_wal(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> WalReport:
        """Write the coordinate's WAL, decoded."""
        report = await (await self._reader(catalog)).fetch(coordinate, destination)
        await self._confirm(bool(report.damaged))
        return report
