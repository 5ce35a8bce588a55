"""A backup that Barman's rsync made: a copy of the data directory, and of each tablespace beside it.

Nothing in it tells what its bytes should be, unless Barman was asked for a manifest afterwards, and that one leaves the
tablespaces out. What shows without one is whether files are there: Barman noted how many bytes it had copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.domain.reports import BackupFault, FileReport
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.manifest import NAME as MANIFEST
from airflow_dr_provider.postgresql.manifest import read_manifest
from airflow_dr_provider.postgresql.programs import find_programs
from airflow_dr_provider.repositories.barman_backup import BarmanBackup
from airflow_dr_provider.repositories.barman_catalog import stored_size
from airflow_dr_provider.repositories.barman_tablespaces import LINKS
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.materialise import TABLESPACE_MAP, copy_plain, copy_tablespaces
from airflow_dr_provider.repositories.transfer import copy_content
from airflow_dr_provider.repositories.verification import tree_files, verify_tree


@dataclass(frozen=True)
class CopiedBackup:
    """One such backup.

    :param told: what Barman says of it.
    :param folder: holds ``data`` and, by oid, the tablespaces.
    """

    told: BarmanBackup
    folder: Path

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def tablespaces(self) -> dict[str, Path]:
        """Where each tablespace lies, by oid."""
        return {str(space.oid): self.folder / str(space.oid) for space in self.told.tablespaces}

    async def verify(self) -> FileReport:
        """Read every byte where it lies, and compare what can be compared."""
        faults = await in_thread(self._structure)
        if faults:
            return FileReport(faults=faults)
        files, size, faults = await in_thread(self._read)
        return await self._compared(FileReport(files=files, bytes_read=size, faults=faults), self.data)

    async def restore(self, destination: Path) -> FileReport:
        """Write it to an empty directory, and compare what was written."""
        faults = await in_thread(self._structure)
        if faults:
            return FileReport(faults=faults)
        size = await in_thread(copy_plain, self.data, destination, beside={})
        report = await self._compared(FileReport(bytes_read=size), destination)
        size += await in_thread(copy_tablespaces, self.tablespaces, destination)
        files = await in_thread(lambda: sum(1 for _ in tree_files(destination)))
        return report.model_copy(update={"files": files, "bytes_read": size})

    # -- what shows without a manifest ---------------------------------------------------------------------------------
    def _structure(self) -> tuple[BackupFault, ...]:
        faults = [
            BackupFault(code="BACKUP_FILE_MISSING", path=f"{LINKS}/{oid}", detail="its tablespace is not there")
            for oid, place in self.tablespaces.items()
            if not place.is_dir()
        ]
        expected = self._expected_bytes()
        if not faults and expected is not None:
            found = stored_size(self.folder)
            # A manifest that was asked for later is not among what was counted.
            manifest = self.data / MANIFEST
            if found != expected and found - (manifest.stat().st_size if manifest.is_file() else 0) != expected:
                detail = f"its files have {found} bytes together; Barman had copied {expected}"
                faults.append(BackupFault(code="BACKUP_FILE_SIZE", path="", detail=detail))
        return tuple(faults)

    def _expected_bytes(self) -> int | None:
        # Before 3.13 Barman counted its own notes, too, and has changed them since.
        return None if (self.folder / "backup.info").exists() else self.told.stored_bytes

    def _read(self) -> tuple[int, int, tuple[BackupFault, ...]]:
        files = total = 0
        for root in (self.data, *self.tablespaces.values()):
            for name in tree_files(root):
                files += 1
                try:
                    with (root / name).open("rb") as stream:
                        total += copy_content(stream, None)
                except OSError as error:
                    path = name if root == self.data else f"{LINKS}/{root.name}/{name}"
                    fault = BackupFault(code="BACKUP_UNREADABLE", path=path, detail=f"it can't be read: {error.strerror}")
                    return files, total, (fault,)
        return files, total, ()

    # -- what a manifest adds ------------------------------------------------------------------------------------------
    async def _compared(self, report: FileReport, root: Path) -> FileReport:
        path = self.data / MANIFEST
        if report.faults or not path.is_file():
            return report
        try:
            manifest = await in_thread(read_manifest, path)
        except BackupError as error:
            return report.model_copy(update={"faults": (BackupFault(code=error.code, path=MANIFEST, detail=error.message),)})
        # No link in it leads to a tablespace yet, as in the folder that Barman's manifest lists.
        checked = await verify_tree(root, manifest, path, find_programs(self.told.major or 0), left_out=(TABLESPACE_MAP,))
        return report.model_copy(update={"faults": checked.faults, "verified": checked.verified and not self.tablespaces})
