"""A stanza of pgBackRest: full, differential and incremental backups in one or more repositories, and their WAL.

Made for pgBackRest 2.45 to 2.60. Repositories are read where their files lie when they lie on this machine unencrypted, else
through the program (``repo-ls``, ``repo-get``), which reaches S3, Azure, GCS, SFTP and repository hosts and decrypts. Restores
are the program's, too; but neither its exit codes nor its ``verify`` and ``info`` are believed: manifests, checksums and
continuity are looked at here.

The headers of segments are read where reading one is opening a file. Through the program it is a process, perhaps a download,
for each: there the newest two tell the segment size, and the rest is left to the fetch. That loses little: pgBackRest takes
no segment of another cluster into its archive, and the SHA-1 in each name is compared before a byte is replayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, Catalog, SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import BackupFault, FileReport, WalReport
from airflow_dr_provider.domain.target import RecoveryTarget, StoppingPoint
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.domain.wal import merge_ranges, parse_segment, subtract_ranges, union_ranges
from airflow_dr_provider.errors import BackupError, DrillError, RepositoryError
from airflow_dr_provider.postgresql.programs import find_programs
from airflow_dr_provider.postgresql.waldump import WalDump
from airflow_dr_provider.repositories.archive_judge import find_segment_size, read_archive
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.pgbackrest_archive import StanzaArchive, list_stanza, sample_of
from airflow_dr_provider.repositories.pgbackrest_catalog import (
    Judged,
    Place,
    archive_places,
    cluster_of,
    entries,
    judge_manifest,
)
from airflow_dr_provider.repositories.pgbackrest_info import Database, InfoBackup, Stanza, parse_info, usable_repositories
from airflow_dr_provider.repositories.pgbackrest_items import BackupFiles, ItemReader, segment_items
from airflow_dr_provider.repositories.pgbackrest_manifest import NAME, SIZE_LIMIT
from airflow_dr_provider.repositories.pgbackrest_objects import objects_of, read_object
from airflow_dr_provider.repositories.pgbackrest_restore import restore_files
from airflow_dr_provider.repositories.pgbackrest_store import KIND, Store, check_version, make_tool, open_store
from airflow_dr_provider.repositories.tool import Tool
from airflow_dr_provider.repositories.wal_reader import WalReader

_CALLS = 4
"""Calls of the program side by side."""
_NO_HEADERS = 1 << 62


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """What a look at the stanza gave.

    :param stores: the usable repositories by key, in order.
    """

    tool: Tool
    stanza: Stanza
    stores: Mapping[int, Store]
    cluster: Database
    notes: tuple[str, ...]

    @property
    def local(self) -> bool:
        """Whether every file can be opened in place."""
        return all(store.root is not None for store in self.stores.values())

    async def archive(self) -> StanzaArchive:
        """The names of the cluster's WAL.

        :raises RepositoryError: ``ARCHIVE_MISSING`` when no repository has any place for it.
        """
        places = archive_places(self.stanza, self.cluster, tuple(self.stores))
        found = await list_stanza([(self.stores[key], folder) for key, folder in places])
        if not found.listing.segments and not found.listing.partial:
            raise RepositoryError(
                f"No repository of stanza {self.stanza.name} has an archive of the cluster that its newest backup is of "
                f"({', '.join(folder for _, folder in places) or 'none is known'}). Check archive_command on production, and "
                f"`pgbackrest check`.",
                code="ARCHIVE_MISSING",
            )
        return found


class PgBackRestRepository:
    """See :class:`airflow_dr_provider.repositories.base.Repository`.

    :param settings: ``stanza``, ``config``, ``repo`` and ``program``.
    :param base: the folder that relative paths start from.
    """

    def __init__(self, settings: Any, *, base: Path) -> None:
        self.stanza: str = settings.stanza
        self.config: Path | None = base / settings.config if settings.config is not None else None
        self.repo: int | None = settings.repo
        self.program: Path | None = base / settings.program if settings.program is not None else None
        self._pass: tuple[Catalog, _Opened, ItemReader] | None = None

    # -- reading -------------------------------------------------------------------------------------------------------
    async def catalog(self) -> Catalog:
        """The inventory, each manifest, the archive's names and, where the files lie here, headers."""
        opened = await self._open()
        archive = await opened.archive()
        listing = archive.listing
        size = await in_thread(find_segment_size, listing if opened.local else sample_of(listing))
        backups = entries(opened.stanza, tuple(opened.stores), await self._judge(opened), size)
        mine = [backup for backup in backups if backup.system_identifier == opened.cluster.system_identifier]
        starts = [backup.start_lsn // size for backup in mine if not backup.flaws and backup.start_lsn is not None]
        oldest = min(starts, default=None) if opened.local else _NO_HEADERS
        judged, identifier = await in_thread(
            read_archive, listing, size, oldest=oldest, identifiers=[opened.cluster.system_identifier]
        )
        ambiguous = merge_ranges(place for name in archive.ambiguous if (place := parse_segment(name, size)) is not None)
        notes = [*opened.notes, *listing.notes]
        if ambiguous:
            shown = ", ".join(sorted(archive.ambiguous)[:5])
            notes.append(f"{len(archive.ambiguous)} WAL segments are archived twice with different contents: {shown}")
        return Catalog(
            identity=self._identity,
            backups=backups,
            archive=judged.model_copy(
                update={
                    "ranges": subtract_ranges(judged.ranges, ambiguous),
                    "flawed": union_ranges(judged.flawed, ambiguous),
                }
            ),
            system_identifier=identifier,
            notes=tuple(notes),
        )

    @property
    def _identity(self) -> str:
        where = f":{self.config}" if self.config is not None else ""
        return f"{KIND}:{self.stanza}{where}" + (f":repo{self.repo}" if self.repo is not None else "")

    async def _open(self) -> _Opened:
        tool = make_tool(self.stanza, self.config, self.program)
        note = await check_version(tool)
        only = (f"--repo={self.repo}",) if self.repo is not None else ()
        done = await tool.call(*only, "--output=json", "info")
        stanza = await in_thread(parse_info, done.out, self.stanza)
        usable, notes = usable_repositories(stanza)
        stores = await asyncio.gather(*(open_store(tool, found.key, found.cipher, self.stanza) for found in usable))
        by_key = {store.key: store for store in sorted(stores, key=lambda store: store.key)}
        cluster = cluster_of(stanza, tuple(by_key))
        if cluster is None:
            raise RepositoryError(
                f"The stanza {self.stanza} holds no backup. Take one with `pgbackrest backup`.", code="REPOSITORY_EMPTY"
            )
        return _Opened(tool=tool, stanza=stanza, stores=by_key, cluster=cluster, notes=(*notes, *((note,) if note else ())))

    async def _judge(self, opened: _Opened) -> dict[Place, Judged]:
        """Read every manifest: ``info`` lists a backup whatever became of its files."""
        limit = asyncio.Semaphore(_CALLS)

        async def judge(backup: InfoBackup) -> tuple[Place, Judged]:
            store = opened.stores[backup.database.key]
            path = f"backup/{self.stanza}/{backup.label}/{NAME}"
            async with limit:
                try:
                    content = await store.read(path, SIZE_LIMIT)
                except BackupError as error:
                    return (store.key, backup.label), Judged(flaw=BackupFlaw.UNREADABLE, note=error.message)
                return (store.key, backup.label), await in_thread(
                    judge_manifest, backup, opened.stanza.database(backup.database), content
                )

        wanted = [backup for backup in opened.stanza.backup if backup.database.key in opened.stores]
        return dict(await asyncio.gather(*map(judge, wanted)))

    async def last_record(self, catalog: Catalog, path: Sequence[SegmentRange]) -> StoppingPoint | None:
        """The last whole record of a contiguous walk of segments."""
        return await (await self._reader(catalog)).last_record(path)

    async def find_target(
        self, catalog: Catalog, path: Sequence[SegmentRange], target: RecoveryTarget
    ) -> tuple[StoppingPoint, bool] | None:
        """The record at which recovery has to stop for a target."""
        return await (await self._reader(catalog)).find_target(path, target)

    async def fetch_wal(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> WalReport:
        """Write the coordinate's WAL, compared with the checksums in its names, and decoded."""
        return await (await self._reader(catalog)).fetch(coordinate, destination)

    async def _reader(self, catalog: Catalog) -> WalReader:
        opened = await self._open()
        return WalReader(catalog, (await opened.archive()).listing)

    # -- verifying and restoring ---------------------------------------------------------------------------------------
    async def verify(self, backup: Backup) -> FileReport:
        """Read every object that a backup needs, its own and those of the backups that it builds on."""
        opened = await self._open()
        files = self._files(opened, backup)
        try:
            manifest = await files.manifest()
            objects = await in_thread(objects_of, manifest, self.stanza, {file.holder for file in manifest.files})
            if any(file.blocks for file in manifest.files):
                # An increment of blocks needs the same file's blocks in any backup of its chain.
                names = {file.path for file in manifest.files if file.blocks}
                for label in _labels(backup.chain):
                    base = await replace(files, label=label).manifest()
                    objects += [
                        replace(entry, parts=parts)
                        for entry in await in_thread(objects_of, base, self.stanza, (label,))
                        if (parts := tuple(part for part in entry.parts if part.blocks and part.path in names))
                    ]
        except BackupError as error:
            return FileReport(faults=(BackupFault(code=error.code, path=NAME, detail=error.message),))
        reports = []
        for begin in range(0, len(objects), 2):
            batch = objects[begin : begin + 2]
            reports += await asyncio.gather(*(in_thread(read_object, files.store, entry) for entry in batch))
        faults = tuple(dict.fromkeys(fault for report in reports for fault in report.faults))
        return FileReport(
            files=len(manifest.files),
            bytes_read=sum(report.bytes_read for report in reports),
            verified=not faults and all(report.compared for report in reports),
            faults=faults,
        )

    async def restore(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Write the cluster's files, verified."""
        opened = await self._open()
        try:
            files = self._files(opened, catalog.backup(coordinate.backup_id))
        except KeyError as error:
            raise BackupError(f"{coordinate.backup_id} expired since it was chosen; it is no longer in the stanza.") from error
        try:
            manifest = await files.manifest()
            _ = await in_thread(lambda: manifest.files)
        except BackupError as error:
            return FileReport(faults=(BackupFault(code=error.code, path=NAME, detail=error.message),))
        return await restore_files(files.store, self.stanza, manifest, destination)

    def _files(self, opened: _Opened, backup: Backup) -> BackupFiles:
        key = int(backup.repository.removeprefix("repo"))
        if key not in opened.stores:
            raise RepositoryError(f"{backup.repository} of stanza {self.stanza} can't be used any more: {opened.notes}.")
        return BackupFiles(backup_id=backup.id, label=_labels((backup.id,))[0], store=opened.stores[key], stanza=self.stanza)

    # -- item by item --------------------------------------------------------------------------------------------------
    async def inventory(self, catalog: Catalog) -> AsyncIterator[RepositoryItem]:
        """Every manifest, object and segment."""
        opened, reader = await self._begun(catalog, anew=True)
        for backup in catalog.backups:
            for item in await self._files(opened, backup).items():
                yield item
        for item in segment_items(reader.archive, catalog.archive.segment_size):
            yield item

    async def read_items(self, catalog: Catalog, items: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
        """Read items and compare them with manifests and names."""
        _, reader = await self._begun(catalog)
        async for report in reader.read(items):
            yield report

    async def _begun(self, catalog: Catalog, *, anew: bool = False) -> tuple[_Opened, ItemReader]:
        """What a pass over the catalog reads with: items come in batches, and the stanza is not listed for each."""
        if self._pass is not None and self._pass[0] is catalog and not anew:
            return self._pass[1:]
        opened = await self._open()
        now = {(backup.database.key, backup.label) for backup in opened.stanza.backup}
        files = [self._files(opened, backup) for backup in catalog.backups]
        try:
            dump = WalDump(await in_thread(find_programs, opened.cluster.major))
        except DrillError:
            dump = None
        reader = ItemReader(
            backups={place: entry for entry in files if (place := (entry.store.key, entry.label)) in now},
            archive=await opened.archive(),
            segment_size=catalog.archive.segment_size,
            dump=dump,
        )
        self._pass = catalog, opened, reader
        return opened, reader


def _labels(identifiers: Sequence[str]) -> list[str]:
    """The labels in backups' ids."""
    return [identifier.partition("@")[0] for identifier in identifiers]
