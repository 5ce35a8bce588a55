"""A server of Barman, on this machine or in a bucket.

Barman's word is taken for where things lie and when they were made, never for their being whole: files are compared with the
manifest by us, and whether WAL is missing is counted from the files themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import FileReport, WalReport
from airflow_dr_provider.domain.target import RecoveryTarget, StoppingPoint
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.repositories.barman_cloud import CloudBarman
from airflow_dr_provider.repositories.barman_local import LocalBarman
from airflow_dr_provider.repositories.wal_files import ArchiveListing
from airflow_dr_provider.repositories.wal_reader import WalReader


class Store(Protocol):
    """Where Barman's things lie."""

    async def catalog(self) -> Catalog:
        """The inventory."""
        ...

    async def listing(self) -> ArchiveListing:
        """The archive's files, as they are now."""
        ...

    async def verify(self, backup: Backup) -> FileReport:
        """Read every byte of a backup."""
        ...

    async def restore(self, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Write a backup's files, verified."""
        ...

    def inventory(self, catalog: Catalog) -> AsyncIterator[RepositoryItem]:
        """What can be verified by itself."""
        ...

    def read_items(self, catalog: Catalog, items: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
        """Read such items and compare them."""
        ...


class BarmanRepository:
    """See :class:`airflow_dr_provider.repositories.base.Repository`.

    :param settings: the spec's ``source.repository``.
    :param base: the folder that relative paths start from.
    """

    def __init__(self, settings: Any, *, base: Path) -> None:
        self._store: Store = LocalBarman(settings, base) if settings.cloud is None else CloudBarman(settings, base)

    async def catalog(self) -> Catalog:
        """What Barman lists, held against what is there."""
        return await self._store.catalog()

    async def last_record(self, catalog: Catalog, path: Sequence[SegmentRange]) -> StoppingPoint | None:
        """The last whole record of a contiguous walk of segments."""
        return await WalReader(catalog, await self._store.listing()).last_record(path)

    async def find_target(
        self, catalog: Catalog, path: Sequence[SegmentRange], target: RecoveryTarget
    ) -> tuple[StoppingPoint, bool] | None:
        """The record at which recovery has to stop for a target."""
        return await WalReader(catalog, await self._store.listing()).find_target(path, target)

    async def verify(self, backup: Backup) -> FileReport:
        """Read every byte of a backup, and of those that it builds on."""
        return await self._store.verify(backup)

    def inventory(self, catalog: Catalog) -> AsyncIterator[RepositoryItem]:
        """Every segment and every file or object of a backup."""
        return self._store.inventory(catalog)

    def read_items(self, catalog: Catalog, items: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
        """Read items whole and compare them."""
        return self._store.read_items(catalog, items)

    async def restore(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Write the cluster's files, verified as far as the backup allows it."""
        return await self._store.restore(coordinate, destination)

    async def fetch_wal(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> WalReport:
        """Write the coordinate's WAL, decoded."""
        return await WalReader(catalog, await self._store.listing()).fetch(coordinate, destination)
