"""Base backups as pg_basebackup writes them: verified where they lie, restored verified, alone or with what they build on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.domain.catalog import Backup
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import BackupFault, FileReport
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.command import run
from airflow_dr_provider.postgresql.manifest import NAME as MANIFEST
from airflow_dr_provider.postgresql.manifest import Manifest, read_manifest
from airflow_dr_provider.postgresql.programs import Programs, find_programs
from airflow_dr_provider.postgresql.verifybackup import verify_backup
from airflow_dr_provider.postgresql.waldump import WalDump
from airflow_dr_provider.repositories.archive_judge import find_segment_size
from airflow_dr_provider.repositories.basebackup_catalog import Found, read_backup
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
from airflow_dr_provider.repositories.wal_files import ArchiveListing


@dataclass(frozen=True)
class BaseBackupFiles:
    """The backups of a repository, each a folder that pg_basebackup filled.

    :param folder_of: where a backup lies, by its id.
    :param archive: lists the WAL archive as it is now.
    :param tablespaces: of a plain backup's folder, where its tablespaces lie, by oid; None for where the links in it lead.
    """

    folder_of: Callable[[str], Path]
    archive: Callable[[], ArchiveListing]
    tablespaces: Callable[[Path], Mapping[str, Path] | None] = lambda folder: None

    async def verify(self, backup: Backup) -> FileReport:
        """Read every byte of a backup, and of those that it builds on, and compare them with their manifests."""
        reports = []
        for identifier in (*reversed(backup.chain), backup.id):
            found = await in_thread(read_backup, self.folder_of(identifier))
            with tempfile.TemporaryDirectory(prefix="dr-verify-") as scratch:
                report = await self._member(found, Path(scratch) / "data", backup.server_version, in_place=True)
            reports.append(_inside(report, identifier if backup.chain else ""))
        return _together(reports)

    async def restore(self, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Write the cluster's files, verified."""
        await in_thread(empty, destination)
        if coordinate.chain:
            return await self._combine(coordinate, destination)
        found = await in_thread(read_backup, self.folder_of(coordinate.backup_id))
        return await self._member(found, destination, coordinate.server_version)

    async def _member(self, found: Found, destination: Path, major: int | None, *, in_place: bool = False) -> FileReport:
        """One backup, written and compared with its manifest.

        :param in_place: compare a plain backup where it lies, when its links lead to its tablespaces; nothing is written then.
        """
        path = found.path / MANIFEST
        try:
            manifest = await in_thread(read_manifest, path)
        except BackupError as error:
            return FileReport(faults=(BackupFault(code=error.code, path=MANIFEST, detail=error.message),))
        programs = find_programs(major or found.major or 0)
        root = destination
        beside = await in_thread(self._moved, found)
        try:
            if found.tars:
                await in_thread(unpack_tars, found.tars, destination)
            elif beside is not None:
                await in_thread(copy_plain, found.path, destination, beside=beside)
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
        listing = await in_thread(self.archive)
        size = await in_thread(find_segment_size, listing)
        faults = await own_wal_faults(WalDump(programs), manifest, root / "pg_wal", listing, size)
        return report.model_copy(update={"faults": faults, "verified": report.verified and not faults})

    def _moved(self, found: Found) -> Mapping[str, Path] | None:
        return None if found.tars else self.tablespaces(found.path)

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
                found = await in_thread(read_backup, self.folder_of(identifier))
                place = scratch / str(number)
                report = await self._member(found, place, coordinate.server_version, in_place=True)
                reports.append(_inside(report, identifier))
                if report.faults:
                    return _together(reports)
                written = bool(found.tars) or self._moved(found) is not None
                if written:
                    shutil.copy2(found.path / MANIFEST, place / MANIFEST)
                    _absolute_links(place)
                members.append(place if written else found.path)
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
