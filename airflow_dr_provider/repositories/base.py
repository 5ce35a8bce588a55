"""What a backup tool's adapter offers, and the registry of adapters.

An adapter reads, verifies and restores; it decides nothing. Adding one is writing one file with a class that satisfies
:class:`Repository` and naming it in :data:`REPOSITORIES`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import FileReport, WalReport
from airflow_dr_provider.domain.target import RecoveryTarget, StoppingPoint
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem


class Repository(Protocol):
    """A backup tool's repository.

    Made by ``Adapter(settings, base=Path)`` where *settings* is the spec's ``source.repository`` model. Every method may
    block for long in threads of its own; none blocks the event loop. All of them leave the repository as it was.
    """

    async def catalog(self) -> Catalog:
        """Read names, sizes and headers: cheap, and nothing is verified but what a header tells.

        :raises RepositoryError: ``REPOSITORY_UNREACHABLE``, ``REPOSITORY_EMPTY`` or ``ARCHIVE_MISSING``.
        """
        ...

    async def last_record(self, catalog: Catalog, path: Sequence[SegmentRange]) -> StoppingPoint | None:
        """The last whole record in a contiguous walk of segments, and the newest commit at or before it.

        :param path: contiguous segments in replay order (the timeline may change on the way).
        :return: None when they hold no whole record.
        """
        ...

    async def find_target(
        self, catalog: Catalog, path: Sequence[SegmentRange], target: RecoveryTarget
    ) -> tuple[StoppingPoint, bool] | None:
        """The record at which recovery has to stop for a time, transaction id or restore point.

        :param path: contiguous segments in replay order.
        :return: the record, and whether it is to be replayed (``recovery_target_inclusive``): for a time the first commit
            after it, not replayed; for a transaction its commit, replayed; for a restore point the newest record of that
            name, replayed. None when the path holds no such record.
        """
        ...

    async def verify(self, backup: Backup) -> FileReport:
        """Read every byte of a backup and compare: sizes, missing, extra, checksums, the manifest's own checksum."""
        ...

    def inventory(self, catalog: Catalog) -> AsyncIterator[RepositoryItem]:
        """Everything that can be verified by itself: each file of each backup, each segment; names and sizes only.

        What can't be verified at all (a tool that keeps no checksums) is given all the same: a later change of it shows.
        """
        ...

    def read_items(self, catalog: Catalog, items: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
        """Read items whole and compare them with what the repository says they are; segments are decoded.

        Each item has exactly one report, in any order. That an item is damaged or gone is a fault in its report, no error.

        :param items: of this repository's :meth:`inventory`.
        """
        ...

    async def restore(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Write the cluster's files to an empty directory, verifying what is written on the way.

        The files end as PostgreSQL's data directory, tablespaces inside it or beside it in ``<destination>.tablespaces``,
        never where production's lie. With faults in the report the directory's content is not to be used.

        :raises BackupError: when the backup can't be read at all.
        """
        ...

    async def fetch_wal(self, catalog: Catalog, coordinate: RestoreCoordinate, destination: Path) -> WalReport:
        """Write the coordinate's WAL and histories, plain and by their names, to a directory, and decode each segment."""
        ...


REPOSITORIES: dict[str, str] = {
    "basebackup": "airflow_dr_provider.repositories.basebackup:BaseBackupRepository",
    "pgbackrest": "airflow_dr_provider.repositories.pgbackrest:PgBackRestRepository",
    "barman": "airflow_dr_provider.repositories.barman:BarmanRepository",
    "walg": "airflow_dr_provider.repositories.walg:WalGRepository",
}


def repository(kind: str, settings: Any, *, base: Path) -> Repository:
    """Make the adapter of a kind.

    :param settings: the spec's ``source.repository``.
    :param base: the folder that relative paths start from.
    :raises KeyError: for an unknown kind; specs are checked for that when they are loaded.
    """
    module, _, name = REPOSITORIES[kind].partition(":")
    adapter: Repository = getattr(import_module(module), name)(settings, base=base)
    return adapter
