"""The files and segments of a Barman on this machine, as items of the verification ledger."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

from airflow_dr_provider.domain.catalog import Backup, Catalog
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.repositories.barman_archive import list_wals
from airflow_dr_provider.repositories.barman_server import Folders
from airflow_dr_provider.repositories.barman_tablespaces import LINKS, laid_out
from airflow_dr_provider.repositories.basebackup_items import backup_items, item_name
from airflow_dr_provider.repositories.basebackup_verification import read_basebackup_items
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.wal_items import segment_items


async def list_items(catalog: Catalog, folders: Folders) -> AsyncIterator[RepositoryItem]:
    """Every segment, then every file of every backup whose folder is there."""
    size = catalog.archive.segment_size
    listing = await in_thread(list_wals, folders.wal)
    for item in segment_items(listing, size, prefix="wals"):
        yield item
    for backup in catalog.backups:
        for item in await in_thread(_backup_items, folders, backup, size):
            yield item


def _backup_items(folders: Folders, backup: Backup, segment_size: int) -> list[RepositoryItem]:
    if not folders.data(backup.id).is_dir():
        return []
    with laid_out(folders.data(backup.id)) as data:
        return list(backup_items(data, backup, segment_size))


async def read_local_items(catalog: Catalog, items: Sequence[RepositoryItem], folders: Folders) -> AsyncIterator[ItemReport]:
    """Read items whole and compare them."""
    with contextlib.ExitStack() as views:

        def folder_of(identifier: str) -> Path:
            data = folders.data(identifier)
            return views.enter_context(laid_out(data)) if data.is_dir() else data

        reports = read_basebackup_items(catalog, items, folder_of=folder_of, archive=partial(list_wals, folders.wal))
        async for report in reports:
            yield _without_tablespaces(report, items)


def _without_tablespaces(report: ItemReport, items: Sequence[RepositoryItem]) -> ItemReport:
    """The report of a file that no manifest lists because Barman's own leave tablespaces out: that is no fault of it."""
    if report.fault is None or report.fault.code != "BACKUP_FILE_EXTRA":
        return report
    item = next(item for item in items if item.name == report.name)
    inside = report.name.startswith(item_name(item.backup_id, f"{LINKS}/"))
    return report.model_copy(update={"fault": None, "compared": False}) if inside else report
