"""Send each item of a repository of base backups to what reads it: segments, plain files, tar files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.domain.wal import segment_name
from airflow_dr_provider.postgresql.manifest import NAME
from airflow_dr_provider.repositories.archive import list_archive
from airflow_dr_provider.repositories.basebackup_items import item_path, known_manifest, tar_files
from airflow_dr_provider.repositories.basebackup_reading import read_files
from airflow_dr_provider.repositories.basebackup_tars import read_tar
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.wal_files import ArchiveListing
from airflow_dr_provider.repositories.wal_items import needed_by_backups, read_segments
from airflow_dr_provider.repositories.wal_reader import WalReader


async def read_basebackup_items(
    catalog: Catalog,
    items: Sequence[RepositoryItem],
    *,
    folder_of: Callable[[str], Path],
    archive: Callable[[], ArchiveListing],
) -> AsyncIterator[ItemReport]:
    """See :meth:`airflow_dr_provider.repositories.base.Repository.read_items`.

    :param folder_of: where a backup lies, by its id.
    :param archive: lists the WAL archive as it is now.
    """
    groups: dict[str, list[RepositoryItem]] = {}
    for item in items:
        groups.setdefault(item.backup_id, []).append(item)
    listing = await in_thread(archive) if any(item.segment is not None for item in items) else None
    if listing is not None:
        reader = WalReader(catalog, listing)
        async for report in read_segments(reader, groups.pop("", []), needed=needed_by_backups(catalog)):
            yield report
    for identifier, group in groups.items():
        async for report in _read_backup(catalog, identifier, await in_thread(folder_of, identifier), group, listing):
            yield report


async def _read_backup(
    catalog: Catalog, identifier: str, folder: Path, items: Sequence[RepositoryItem], archive: ArchiveListing | None
) -> AsyncIterator[ItemReport]:
    if not folder.exists():
        # Expired since it was listed; the next inventory doesn't have it.
        for item in items:
            yield ItemReport(name=item.name, checksum="", compared=False)
        return
    known = await in_thread(known_manifest, folder)
    major = next((backup.server_version for backup in catalog.backups if backup.id == identifier), None)
    own_wal = [item for item in items if item.segment is not None]
    files = [item for item in items if item.segment is None]
    if await in_thread(tar_files, folder):
        for item in [item for item in files if item_path(item) != NAME]:
            yield await read_tar(folder, known, item, major, catalog)
        files = [item for item in files if item_path(item) == NAME]
    async for report in read_files(folder, known, files, major):
        yield report
    if own_wal and archive is not None:
        reader = WalReader(catalog, await in_thread(list_archive, folder / "pg_wal"))
        needed = {part.timeline: part.end for part in known.manifest.wal_ranges}
        async for report in read_segments(reader, own_wal, needed=needed):
            yield _weighed(report, own_wal, archive, catalog.archive.segment_size)


def _weighed(report: ItemReport, items: Sequence[RepositoryItem], archive: ArchiveListing, segment_size: int) -> ItemReport:
    """The report of a backup's own segment: nothing follows it any more, and damage in it costs the backup only where the archive
    doesn't have the segment.
    """
    report = report.model_copy(update={"unfinished": False})
    segment = next((item.segment for item in items if item.name == report.name), None)
    if report.fault is None or segment is None:
        return report
    if segment_name(segment.timeline, segment.first, segment_size) in archive.segments:
        return report
    return report.model_copy(update={"fault": report.fault.model_copy(update={"code": "BACKUP_WAL_MISSING"})})
