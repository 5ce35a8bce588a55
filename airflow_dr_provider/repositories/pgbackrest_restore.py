"""Write a backup's files with ``pgbackrest restore``, and compare all of them with the repository's own manifest.

The program's success proves nothing here: what counts is that every file of the manifest is there with its size and SHA-1, and
that nothing else is.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from airflow_dr_provider.domain.reports import BackupFault, FileReport
from airflow_dr_provider.errors import BackupError, DrillError, RepositoryError
from airflow_dr_provider.postgresql.command import Finished
from airflow_dr_provider.postgresql.controlfile import PATH as CONTROL_FILE
from airflow_dr_provider.postgresql.manifest import PASSED_OVER, Manifest, ManifestFile
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.materialise import TABLESPACE_MAP, empty, settle, tablespaces_of
from airflow_dr_provider.repositories.pgbackrest_manifest import BackupManifest
from airflow_dr_provider.repositories.pgbackrest_objects import content_of_file, objects_of, read_object
from airflow_dr_provider.repositories.pgbackrest_store import CRYPTO, FORMAT, MISSING, Store
from airflow_dr_provider.repositories.verification import checksum_faults, structure_faults

_TIMEOUT = 7 * 86400.0
"""A restore may take long; what it may take is the tier's to say, and its end ends the program."""
_WORKERS = 4
_CHECKSUM, _OTHER_SET = 26, 75
_DAMAGE = {
    _CHECKSUM: "BACKUP_CHECKSUM_MISMATCH",
    FORMAT: "BACKUP_UNREADABLE",
    MISSING: "BACKUP_FILE_MISSING",
    CRYPTO: "BACKUP_UNREADABLE",
}
_NO_SPACE = re.compile(r"\[28\] No space left|No space left on device")
# What a configuration may say for restores of production itself, and must not be obeyed here.
_RESET = (
    "--reset-db-exclude",
    "--reset-db-include",
    "--reset-link-all",
    "--reset-link-map",
    "--reset-pg1-host",
    "--reset-recovery-option",
    "--reset-tablespace-map-all",
    "--no-delta",
)


async def restore_files(store: Store, stanza: str, manifest: BackupManifest, destination: Path) -> FileReport:
    """Restore into an empty directory and compare.

    :param destination: tablespaces go beside it.
    :raises RepositoryError: when the program failed for a reason that is not this backup's.
    """
    await in_thread(empty, destination)
    fault = await _run(store, manifest, destination)
    if fault is not None:
        fault = await in_thread(_first_damage, store, stanza, manifest) or fault
        return FileReport(files=len(manifest.files), faults=(fault,))
    await in_thread(_put_control_file_back, store, stanza, manifest, destination)
    report = await in_thread(compare, destination, manifest)
    await in_thread(settle, destination)
    return report


async def _run(store: Store, manifest: BackupManifest, destination: Path) -> BackupFault | None:
    """Call the program; what it says is wrong with the backup."""
    with tempfile.TemporaryDirectory(prefix="dr-pgbackrest-") as scratch:
        tablespaces = [f"--tablespace-map={oid}={tablespaces_of(destination) / oid}" for oid in manifest.tablespaces]
        done = await replace(store.tool, timeout=_TIMEOUT).call(
            f"--repo={store.key}",
            f"--set={manifest.label}",
            "--type=none",
            f"--pg1-path={destination}",
            f"--lock-path={scratch}/lock",
            f"--spool-path={scratch}/spool",
            f"--log-path={scratch}/log",
            f"--process-max={min(_WORKERS, os.cpu_count() or 1)}",
            # Twice in a row, not after 15 seconds again: the stage is tried again where that may help.
            "--job-retry=1",
            "--job-retry-interval=0",
            *_RESET,
            *tablespaces,
            "restore",
            codes=range(256),
        )
    return _judge(done, manifest.label, destination)


def _judge(done: Finished, label: str, destination: Path) -> BackupFault | None:
    if done.code == 0:
        return None
    said = done.last_words or "it said nothing"
    if _NO_SPACE.search(done.err):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(destination))
    if done.code == _OTHER_SET:
        raise BackupError(f"pgbackrest has no backup {label} any more: {said}. It was expired since the catalog was read.")
    if done.code in _DAMAGE:
        file = re.search(re.escape(f"{destination}/") + r"([^']+)'", done.err)
        return BackupFault(
            code=_DAMAGE[done.code], path=file[1] if file else "", detail=f"pgbackrest could not restore it: {said}"
        )
    raise RepositoryError(f"pgbackrest could not restore {label} (exit code {done.code}): {said}.")


def _first_damage(store: Store, stanza: str, manifest: BackupManifest) -> BackupFault | None:
    """The first object of the backup that is not what it should be: the program seldom names the file."""
    holders = {file.holder for file in manifest.files}
    for stored in objects_of(manifest, stanza, holders):
        report = read_object(store, stored)
        if report.faults:
            return report.faults[0]
    return None


def _put_control_file_back(store: Store, stanza: str, manifest: BackupManifest, destination: Path) -> None:
    """Undo what pgBackRest does to ``pg_control`` from 2.51 on: it makes the checkpoint's position invalid.

    So that nobody starts the server without its ``backup_label``; nobody does here, and every byte is to be the backup's.
    """
    entry = next((file for file in manifest.files if file.path == CONTROL_FILE), None)
    path = destination / CONTROL_FILE
    if (
        entry is None
        or not path.is_file()
        or not checksum_faults(destination, [_listed(entry.path, entry.size, entry.checksum)])
    ):
        return
    try:
        content = content_of_file(store, stanza, manifest, entry)
    except (DrillError, OSError):
        return  # the comparison that follows says so
    if content is not None:
        path.write_bytes(content)


def compare(root: Path, manifest: BackupManifest) -> FileReport:
    """Read every byte of a restored data directory and compare it with the backup's manifest."""
    listed = tuple(_listed(file.path, file.size, file.checksum) for file in manifest.files if file.path != TABLESPACE_MAP)
    faults = structure_faults(root, Manifest(version=1, system_identifier=None, files=listed, wal_ranges=()))
    # WAL that was copied into the backup is listed here, unlike in PostgreSQL's own manifests.
    wal = [file for file in listed if file.path.startswith("pg_wal/")]
    faults += tuple(
        BackupFault(code="BACKUP_FILE_MISSING", path=file.path, detail="the manifest lists it; it is not there")
        for file in wal
        if not (root / file.path).is_file()
    )
    if faults:
        return FileReport(files=len(listed), faults=faults)
    wanted = [file for file in listed if file.path not in PASSED_OVER]
    faults = checksum_faults(root, [file for file in wanted if file.algorithm])
    return FileReport(
        files=len(wanted),
        bytes_read=sum(file.size for file in wanted),
        verified=not faults and all(file.algorithm for file in wanted),
        faults=faults,
    )


def _listed(path: str, size: int, checksum: str) -> ManifestFile:
    return ManifestFile(path, size, "", "SHA1" if checksum else "", checksum)
