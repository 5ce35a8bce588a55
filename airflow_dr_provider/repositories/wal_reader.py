"""The half of a repository that is about WAL, the same whichever tool filled the archive: given its listing, search and fetch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.domain.catalog import Catalog, SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import WalReport
from airflow_dr_provider.domain.target import RecoveryTarget, StoppingPoint
from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.postgresql.programs import Programs, find_programs
from airflow_dr_provider.postgresql.waldump import WalDump
from airflow_dr_provider.postgresql.walheader import WalHeader
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.wal_fetch import fetch
from airflow_dr_provider.repositories.wal_files import ArchiveListing, read_header
from airflow_dr_provider.repositories.wal_search import Place, WalSearch, places_of


@dataclass(frozen=True)
class WalReader:
    """Reads an archive's WAL.

    :param listing: the archive, as it is now.
    """

    catalog: Catalog
    listing: ArchiveListing

    async def last_record(self, path: Sequence[SegmentRange]) -> StoppingPoint | None:
        """See :meth:`airflow_dr_provider.repositories.base.Repository.last_record`."""
        return await (await self._search(path)).last()

    async def find_target(self, path: Sequence[SegmentRange], target: RecoveryTarget) -> tuple[StoppingPoint, bool] | None:
        """See :meth:`airflow_dr_provider.repositories.base.Repository.find_target`."""
        return await (await self._search(path)).find(target)

    async def fetch(self, coordinate: RestoreCoordinate, destination: Path) -> WalReport:
        """See :meth:`airflow_dr_provider.repositories.base.Repository.fetch_wal`."""
        start = next((backup.start_lsn for backup in self.catalog.backups if backup.id == coordinate.backup_id), None)
        dump = WalDump(find_programs(coordinate.server_version))
        return await fetch(self.listing, dump, coordinate, destination, start=start)

    async def programs(self, places: Sequence[Place]) -> Programs:
        """The programs that read this WAL: of the version that its header tells, else of the one that most backups have."""
        return await in_thread(self._programs, places)

    async def _search(self, path: Sequence[SegmentRange]) -> WalSearch:
        places = places_of(path)
        dump = WalDump(await self.programs(places))
        return WalSearch(listing=self.listing, dump=dump, places=places, segment_size=self.catalog.archive.segment_size)

    def _programs(self, places: Sequence[Place]) -> Programs:
        for place in places[-1:]:
            file = self.listing.segment(*place, self.catalog.archive.segment_size)
            header = read_header(file) if file is not None else None
            if isinstance(header, WalHeader) and header.major is not None:
                return find_programs(header.major)
        sound = (backup.server_version for backup in self.catalog.backups if not backup.flaws)
        versions = Counter(version for version in sound if version)
        if not versions:
            raise RepositoryError(
                f"No sound backup in {self.catalog.identity} tells PostgreSQL's version. Take a new base backup.",
                code="REPOSITORY_EMPTY",
            )
        return find_programs(max(versions, key=lambda version: (versions[version], version)))
