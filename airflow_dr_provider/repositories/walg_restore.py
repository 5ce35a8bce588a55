"""Restore a WAL-G backup with WAL-G, its tablespaces beside the data directory, and look at what that wrote.

WAL-G keeps neither checksums nor sizes of a backup's files: that each file it lists is there, and that label and control file
are the chosen backup's, is all that can be compared. What the bytes hold is for the gates: page checksums, amcheck, rows.
Pages that ``backup-push --verify`` found damaged are not taken as faults: most are torn ones, which replay repairs.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from airflow_dr_provider.domain.catalog import Backup
from airflow_dr_provider.domain.reports import BackupFault, FileReport
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql import backup_label
from airflow_dr_provider.postgresql.backup_label import parse_label
from airflow_dr_provider.postgresql.controlfile import PATH as CONTROL_FILE
from airflow_dr_provider.postgresql.controlfile import read_system_identifier
from airflow_dr_provider.postgresql.manifest import safe_path
from airflow_dr_provider.repositories.halting import check_halt
from airflow_dr_provider.repositories.materialise import TABLESPACE_MAP, settle, tablespaces_of
from airflow_dr_provider.repositories.walg_documents import FilesMetadata, Sentinel
from airflow_dr_provider.repositories.walg_objects import plain_path
from airflow_dr_provider.repositories.walg_program import WalG


async def restore(walg: WalG, backup: str, sentinels: Iterable[Sentinel], destination: Path) -> None:
    """Let WAL-G write the files.

    It is always told where tablespaces go. Left to itself it follows the sentinel: to where production's lie.

    :param sentinels: of the backup and of all that it builds on.
    :raises RepositoryError: when WAL-G fails.
    """
    names = sorted({name for sentinel in sentinels if sentinel.tablespaces is not None for name in sentinel.tablespaces.names})
    with tempfile.TemporaryDirectory(prefix="dr-walg-") as folder:
        spec = Path(folder, "restore-spec.json")
        spec.write_text(json.dumps(restore_spec(names, destination)))
        await walg.fetch(backup, destination, spec)


def restore_spec(tablespaces: Iterable[str], destination: Path) -> dict[str, object]:
    """WAL-G's restore specification: the data directory, and each tablespace in a folder beside it."""
    names = list(tablespaces)
    places = {name: {"loc": str(tablespaces_of(destination) / name), "link": f"pg_tblspc/{name}"} for name in names}
    return {"base_prefix": str(destination), "tablespaces": names, **places}


def look_over(backup: Backup, metadata: FilesMetadata, destination: Path) -> FileReport:
    """Whether what lies in the directory is this backup: every file that it lists, its label, its cluster.

    :param backup: its start and its cluster are compared where they are known.
    """
    count, size = _counted(destination)
    faults = [
        BackupFault(code="BACKUP_FILE_MISSING", path=path, detail="WAL-G's metadata lists it; it was not restored")
        for path in listed_files(metadata)
        if not os.path.lexists(destination / path)
    ]
    faults += _label_faults(backup, destination)
    identifier = read_system_identifier(destination)
    if identifier is None:
        faults.append(BackupFault(code="BACKUP_FILE_MISSING", path=CONTROL_FILE, detail="there is no control file"))
    elif backup.system_identifier not in (None, identifier):
        detail = f"it is of cluster {identifier}; the catalog says {backup.system_identifier}"
        faults.append(BackupFault(code="BACKUP_CHECKSUM_MISMATCH", path=CONTROL_FILE, detail=detail))
    return FileReport(files=count, bytes_read=size, faults=tuple(faults))


def listed_files(metadata: FilesMetadata) -> list[str]:
    """The paths that a restore has to bring, relative to the data directory; folders are listed, too.

    :raises BackupError: ``BACKUP_MANIFEST_DAMAGED`` when one leads out of it.
    """
    paths = sorted({plain_path(path) for path in metadata.files or {}} - {"", TABLESPACE_MAP})
    unsafe = next((path for path in paths if not safe_path(path)), None)
    if unsafe is not None:
        raise BackupError(f"WAL-G's metadata lists {unsafe!r}, which lies outside of a backup.", code="BACKUP_MANIFEST_DAMAGED")
    return paths


def tidy(destination: Path) -> None:
    """Make a data directory of what WAL-G wrote.

    Of a link in production's it makes one to a place at this machine's root; of a ``pg_wal`` that was one it makes nothing.
    """
    for folder, folders, files in os.walk(destination):
        check_halt()
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and path.parent != destination / "pg_tblspc":
                path.unlink()
    (destination / "pg_wal").mkdir(mode=0o700, exist_ok=True)
    settle(destination)


def _label_faults(backup: Backup, destination: Path) -> list[BackupFault]:
    name = backup_label.NAME
    try:
        with (destination / name).open("rb") as file:
            label = parse_label(file.read(backup_label.SIZE_LIMIT).decode("utf-8", "replace"))
    except FileNotFoundError:
        return [
            BackupFault(code="BACKUP_FILE_MISSING", path=name, detail="without it the server would start from the wrong place")
        ]
    except ValueError as error:
        return [BackupFault(code="BACKUP_CHECKSUM_MISMATCH", path=name, detail=f"it can't be used: {error}")]
    if backup.start_lsn is not None and (label.start_lsn, label.timeline) != (backup.start_lsn, backup.timeline):
        detail = f"it starts at {label.start_lsn} on timeline {label.timeline}; the catalog says {backup.start_lsn} on {backup.timeline}"
        return [BackupFault(code="BACKUP_CHECKSUM_MISMATCH", path=name, detail=detail)]
    return []


def _counted(destination: Path) -> tuple[int, int]:
    """Files and bytes below a data directory, tablespaces followed."""
    count = size = 0
    for folder, _, files in os.walk(destination, followlinks=True):
        check_halt()
        for name in files:
            count += 1
            size += os.lstat(os.path.join(folder, name)).st_size
    return count, size
