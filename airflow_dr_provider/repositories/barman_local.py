"""The repository of a Barman on this machine, its files read directly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.catalog import Backup, Catalog
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import FileReport
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.errors import BackupError, RepositoryError
from airflow_dr_provider.repositories.barman_archive import list_wals
from airflow_dr_provider.repositories.barman_backup import BarmanBackup
from airflow_dr_provider.repositories.barman_catalog import KIND, POSTGRES, Entry, judge_folder, judge_told, make_catalog
from airflow_dr_provider.repositories.barman_copy import CopiedBackup
from airflow_dr_provider.repositories.barman_documents import TOOL
from airflow_dr_provider.repositories.barman_items import list_items, read_local_items
from airflow_dr_provider.repositories.barman_server import BarmanServer, Folders, Shelf
from airflow_dr_provider.repositories.barman_tablespaces import moved_tablespaces
from airflow_dr_provider.repositories.basebackup_files import BaseBackupFiles
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.tool import Tool, find_program
from airflow_dr_provider.repositories.wal_files import ArchiveListing


class LocalBarman:
    """See :class:`airflow_dr_provider.repositories.barman.Store`."""

    def __init__(self, settings: Any, base: Path) -> None:
        self._server: str = settings.server
        self._config: Path | None = base / settings.config if settings.config is not None else None
        self._bin: Path | None = base / settings.bin if settings.bin is not None else None
        self._folders: Folders | None = None

    async def catalog(self) -> Catalog:
        """What Barman lists, held against what is there."""
        shelf = await self._read()
        return await in_thread(self._catalog, shelf)

    def _catalog(self, shelf: Shelf) -> Catalog:
        if not shelf.backups:
            raise RepositoryError(
                f"Barman's server {self._server} has no backup. Take one with `barman backup {self._server}`.",
                code="REPOSITORY_EMPTY",
            )
        entries: list[Entry] = []
        for told in shelf.backups:
            entry = judge_told(told)
            judge_folder(entry, shelf.folders.data(told.id))
            entries.append(entry)
        listing = list_wals(shelf.folders.wal)
        return make_catalog(entries, listing, identity=f"{KIND}:{self._server}:{shelf.folders.base}", notes=shelf.notes)

    async def listing(self) -> ArchiveListing:
        """The archive's files, as they are now."""
        return await in_thread(list_wals, (await self._known_folders()).wal)

    # -- files ---------------------------------------------------------------------------------------------------------
    async def verify(self, backup: Backup) -> FileReport:
        """Read every byte of a backup, and of those that it builds on."""
        told = await self._told(backup.id)
        if told.mode == POSTGRES:
            return await (await self._files()).verify(backup)
        return await (await self._copied(told)).verify()

    async def inventory(self, catalog: Catalog) -> AsyncIterator[RepositoryItem]:
        """Every segment and every file."""
        async for item in list_items(catalog, await self._known_folders()):
            yield item

    async def read_items(self, catalog: Catalog, items: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
        """Read items whole and compare them."""
        async for report in read_local_items(catalog, items, await self._known_folders()):
            yield report

    async def restore(self, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Write a backup's files, verified as far as the backup allows it."""
        told = await self._told(coordinate.backup_id)
        if told.mode == POSTGRES:
            return await (await self._files()).restore(coordinate, destination)
        return await (await self._copied(told)).restore(destination)

    async def _told(self, backup_id: str) -> BarmanBackup:
        told = next((backup for backup in (await self._read()).backups if backup.id == backup_id), None)
        if told is None:
            raise BackupError(f"Barman no longer lists backup {backup_id} of {self._server}. Choose another one.")
        return told

    async def _files(self) -> BaseBackupFiles:
        folders = await self._known_folders()
        return BaseBackupFiles(folders.data, partial(list_wals, folders.wal), moved_tablespaces)

    async def _copied(self, told: BarmanBackup) -> CopiedBackup:
        return CopiedBackup(told, (await self._known_folders()).base / told.id)

    # -- Barman --------------------------------------------------------------------------------------------------------
    def _asked(self) -> BarmanServer:
        program = find_program("barman", self._bin, kind=KIND)
        config = ("-c", str(self._config)) if self._config is not None else ()
        return BarmanServer(Tool(name=TOOL, command=(str(program), *config), passed=("BARMAN_",)), self._server)

    async def _read(self) -> Shelf:
        shelf = await self._asked().read()
        self._folders = shelf.folders
        return shelf

    async def _known_folders(self) -> Folders:
        return self._folders or (await self._read()).folders
