"""Compare a data directory with its manifest."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from airflow_dr_provider.domain.reports import BackupFault, FileReport
from airflow_dr_provider.postgresql.manifest import PASSED_OVER, Manifest, ManifestFile
from airflow_dr_provider.postgresql.programs import Programs
from airflow_dr_provider.postgresql.verifybackup import verify_backup
from airflow_dr_provider.repositories.halting import carried, check_halt, in_thread
from airflow_dr_provider.repositories.transfer import copy_content, hash_of

_READERS = 2


def tree_files(root: Path) -> Iterator[str]:
    """Every file under a data directory, relative, tablespaces' links followed, WAL left out."""
    for folder, folders, files in os.walk(root, followlinks=True):
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == "." else f"{relative}/"
        if not prefix:
            folders[:] = [name for name in folders if name != "pg_wal"]
        for name in files:
            # A tablespace's link that leads nowhere is no file; what it should lead to is missing.
            if prefix != "pg_tblspc/" or not os.path.islink(os.path.join(folder, name)):
                yield prefix + name


def structure_faults(root: Path, manifest: Manifest) -> tuple[BackupFault, ...]:
    """What is missing, extra, or of another size; nothing is read."""
    faults: list[BackupFault] = []
    listed = {file.path for file in manifest.files}
    for file in manifest.files:
        if file.path in PASSED_OVER or file.path.startswith("pg_wal/"):
            continue
        check_halt()
        try:
            status = (root / file.path).stat()
        except OSError:
            faults.append(
                BackupFault(code="BACKUP_FILE_MISSING", path=file.path, detail="the manifest lists it; it is not there")
            )
            continue
        if not stat.S_ISREG(status.st_mode):
            faults.append(BackupFault(code="BACKUP_FILE_MISSING", path=file.path, detail="it is no regular file"))
        elif status.st_size != file.size:
            detail = f"it has {status.st_size} bytes; the manifest says {file.size}"
            faults.append(BackupFault(code="BACKUP_FILE_SIZE", path=file.path, detail=detail))
    for path in tree_files(root):
        if path not in listed and path not in PASSED_OVER:
            faults.append(BackupFault(code="BACKUP_FILE_EXTRA", path=path, detail="it is there; the manifest doesn't list it"))
    return tuple(sorted(faults, key=lambda fault: (fault.code, fault.path)))


async def verify_tree(
    root: Path, manifest: Manifest, manifest_path: Path, programs: Programs, *, left_out: Collection[str] = ()
) -> FileReport:
    """Read every byte of a data directory and compare it with its manifest.

    :param manifest_path: the manifest's file, for ``pg_verifybackup``.
    :param left_out: paths that it lists and that were not restored on purpose.
    """
    manifest = replace(manifest, files=tuple(file for file in manifest.files if file.path not in left_out))
    faults = await in_thread(structure_faults, root, manifest)
    wanted = [file for file in manifest.files if file.path not in PASSED_OVER and not file.path.startswith("pg_wal/")]
    size = sum(file.size for file in wanted)
    if faults:
        return FileReport(files=len(wanted), faults=faults)
    hashed = [file for file in wanted if file.algorithm.startswith("SHA")]
    faults = await in_thread(checksum_faults, root, hashed)
    if not faults and any(file.algorithm == "CRC32C" for file in wanted):
        faults = await verify_backup(programs, root, manifest_path, left_out=left_out)
    verified = all(file.algorithm for file in wanted)
    return FileReport(files=len(wanted), bytes_read=size, verified=verified and not faults, faults=faults)


def checksum_faults(root: Path, files: Sequence[ManifestFile]) -> tuple[BackupFault, ...]:
    """Which files don't hold what a SHA checksum of theirs says."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="verify") as pool:
        found = pool.map(carried(partial(_hash_one, root)), files)
        return tuple(fault for fault in found if fault is not None)


def _hash_one(root: Path, file: ManifestFile) -> BackupFault | None:
    digest = hash_of(file.algorithm)
    if digest is None:
        return None
    try:
        with (root / file.path).open("rb") as stream:
            copy_content(stream, None, digest=digest)
    except OSError as error:
        return BackupFault(code="BACKUP_UNREADABLE", path=file.path, detail=f"it can't be read: {error.strerror}")
    if digest.hexdigest() != file.checksum:
        return BackupFault(code="BACKUP_CHECKSUM_MISMATCH", path=file.path, detail="its checksum is not the manifest's")
    return None
