"""A folder of ``pg_basebackup`` backups beside a WAL archive.

Plain and tar format (gzip, lz4, zstd), and the incremental chains of PostgreSQL 17 and newer. A backup's id is its folder's
name. The archive is what ``archive_command`` or ``pg_receivewal`` fill.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import BackupFault, FileReport, WalReport
from airflow_dr_provider.domain.target import RecoveryTarget, StoppingPoint
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.domain.wal import segment_name
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.command import run
from airflow_dr_provider.postgresql.manifest import NAME as MANIFEST
from airflow_dr_provider.postgresql.manifest import Manifest, read_manifest
from airflow_dr_provider.postgresql.programs import Programs, find_programs
from airflow_dr_provider.postgresql.verifybackup import verify_backup
from airflow_dr_provider.postgresql.waldump import WalDump
from airflow_dr_provider.repositories.archive import list_archive
from airflow_dr_provider.repositories.archive_judge import find_segment_size, read_archive
from airflow_dr_provider.repositories.basebackup_catalog import KIND, Found, entries, list_backups, read_backup
from airflow_dr_provider.repositories.basebackup_items import backup_items
from airflow_dr_provider.repositories.basebackup_verification import read_basebackup_items
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.materialise import (
    TABLESPACE_MAP,
    copy_plain,
    empty,
    link_tablespace,
    settle,
    tablespaces_of,
    unpack_tars,
)
from airflow_dr_provider.repositories.own_wal import own_wal_faults
from airflow_dr_provider.repositories.verification import structure_faults, verify_tree
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
        reports = []
        for identifier in (*reversed(backup.chain), backup.id):
            found = await in_thread(read_backup, self.backups / identifier)
            with tempfile.TemporaryDirectory(prefix="dr-verify-") as scratch:
                report = await self._member(found, Path(scratch) / "data", backup.server_version, in_place=True)
            reports.append(_inside(report, identifier if backup.chain else ""))
        return _together(reports)

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
        return read_basebackup_items(catalog, items, backups=self.backups, archive=self.archive)

    async def restore(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Write the cluster's files, verified."""
        await in_thread(empty, destination)
        if coordinate.chain:
            return await self._combine(coordinate, destination)
        found = await in_thread(read_backup, self.backups / coordinate.backup_id)
        return await self._member(found, destination, coordinate.server_version)

    async def _member(self, found: Found, destination: Path, major: int | None, *, in_place: bool = False) -> FileReport:
        """One backup, written and compared with its manifest.

        :param in_place: compare a plain backup where it lies; nothing is written.
        """
        path = found.path / MANIFEST
        try:
            manifest = await in_thread(read_manifest, path)
        except BackupError as error:
            return FileReport(faults=(BackupFault(code=error.code, path=MANIFEST, detail=error.message),))
        programs = find_programs(major or found.major or 0)
        root = destination
        try:
            if found.tars:
                await in_thread(unpack_tars, found.tars, destination)
            elif in_place:
                root = found.path
            else:
                # What is missing or of another size shows before anything is copied.
                report = await self._structure(found.path, manifest)
                if report.faults:
                    return report
                await in_thread(copy_plain, found.path, destination)
        except BackupError as error:
            return FileReport(faults=(BackupFault(code=error.code, path="", detail=error.message),))
        left_out = () if root == found.path else (TABLESPACE_MAP,)
        report = await verify_tree(root, manifest, path, programs, left_out=left_out)
        if report.faults:
            return report
        listing = await in_thread(list_archive, self.archive)
        size = await in_thread(find_segment_size, listing)
        faults = await own_wal_faults(WalDump(programs), manifest, root / "pg_wal", listing, size)
        return report.model_copy(update={"faults": faults, "verified": report.verified and not faults})

    async def _structure(self, root: Path, manifest: Manifest) -> FileReport:
        faults = await in_thread(structure_faults, root, manifest)
        return FileReport(files=len(manifest.files), faults=faults)

    async def _combine(self, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Put an incremental chain together: each member is verified, then pg_combinebackup makes one cluster of them."""
        programs = find_programs(coordinate.server_version)
        scratch = destination.with_name(f".{destination.name}.chain")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        try:
            members: list[Path] = []
            reports: list[FileReport] = []
            for number, identifier in enumerate((*reversed(coordinate.chain), coordinate.backup_id)):
                found = await in_thread(read_backup, self.backups / identifier)
                place = scratch / str(number)
                report = await self._member(found, place, coordinate.server_version, in_place=True)
                reports.append(_inside(report, identifier))
                if report.faults:
                    return _together(reports)
                if found.tars:
                    shutil.copy2(found.path / MANIFEST, place / MANIFEST)
                    _absolute_links(place)
                members.append(place if found.tars else found.path)
            reports.append(await self._run_combine(programs, members, destination))
        finally:
            await in_thread(shutil.rmtree, scratch, ignore_errors=True)
        return _together(reports)

    async def _run_combine(self, programs: Programs, members: list[Path], destination: Path) -> FileReport:
        """One cluster of verified members; what was written is compared with the manifest that came with it.

        :param members: plain backups, the full one first.
        """
        mapping: list[str] = []
        tablespaces = members[-1] / "pg_tblspc"
        for entry in sorted(tablespaces.iterdir()) if tablespaces.is_dir() else ():
            if entry.is_symlink():
                place = link_tablespace(destination, entry.name)
                mapping += ["-T", f"{_escaped(entry.readlink())}={_escaped(place.absolute())}"]
        await in_thread(shutil.rmtree, destination)
        destination.mkdir(mode=0o700)
        done = await run([programs.path("pg_combinebackup"), "--no-sync", "-o", str(destination), *mapping, *map(str, members)])
        if done.code != 0:
            raise BackupError(
                f"pg_combinebackup could not put {members[-1].name} and what it builds on together: {done.last_words}.",
                code="BACKUP_COMBINE_FAILED",
            )
        faults = await verify_backup(programs, destination, destination / MANIFEST)
        await in_thread(settle, destination)
        return FileReport(verified=not faults, faults=faults)

    async def fetch_wal(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> WalReport:
        """Write the coordinate's WAL, decoded."""
        listing = await in_thread(list_archive, self.archive)
        return await WalReader(catalog, listing).fetch(coordinate, destination)


def _absolute_links(member: Path) -> None:
    """Tablespaces of an unpacked backup by links that pg_combinebackup takes: it refuses relative ones."""
    beside = tablespaces_of(member)
    for entry in beside.iterdir() if beside.is_dir() else ():
        link = member / "pg_tblspc" / entry.name
        link.unlink(missing_ok=True)
        link.symlink_to(entry.absolute())


def _escaped(path: Path) -> str:
    """A path for ``--tablespace-mapping``, which splits at the first bare equals sign."""
    return str(path).replace("=", "\\=")


def _inside(report: FileReport, identifier: str) -> FileReport:
    """The same report with the backup's name before each path."""
    if not identifier:
        return report
    faults = tuple(fault.model_copy(update={"path": f"{identifier}/{fault.path}".rstrip("/")}) for fault in report.faults)
    return report.model_copy(update={"faults": faults})


def _together(reports: Sequence[FileReport]) -> FileReport:
    return FileReport(
        files=sum(report.files for report in reports),
        bytes_read=sum(report.bytes_read for report in reports),
        verified=all(report.verified for report in reports),
        faults=tuple(fault for report in reports for fault in report.faults),
    )
