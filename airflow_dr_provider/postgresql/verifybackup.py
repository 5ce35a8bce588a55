"""Compare a data directory with a manifest by ``pg_verifybackup``.

Python has no fast CRC-32C, which is what ``pg_basebackup`` writes by default; this program compares 3 GB/s.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.command import run
from airflow_dr_provider.postgresql.manifest import NAME, Manifest, ManifestFile, write_manifest
from airflow_dr_provider.postgresql.programs import Programs

# Its messages, the same from 13 to 18 (pg_verifybackup.c).
_MESSAGES = (
    (re.compile(r'checksum mismatch for file "(?P<path>.*)"'), "BACKUP_CHECKSUM_MISMATCH"),
    (re.compile(r'file "(?P<path>.*)" has checksum of length \d+, but expected \d+'), "BACKUP_CHECKSUM_MISMATCH"),
    (re.compile(r'"(?P<path>.*)" has size \d+ on disk but size \d+ in the manifest'), "BACKUP_FILE_SIZE"),
    (re.compile(r'file "(?P<path>.*)" should contain \d+ bytes, but (?:read )?\d+.*'), "BACKUP_FILE_SIZE"),
    (re.compile(r'"(?P<path>.*)" is present on disk but not in the manifest'), "BACKUP_FILE_EXTRA"),
    (re.compile(r'"(?P<path>.*)" is present in the manifest but not on disk'), "BACKUP_FILE_MISSING"),
)
_STRANGERS = 4
"""How many files may lie in a folder for each one of it that is compared, before they are linked one by one."""

_SPOKEN = re.compile(r"pg_verifybackup: (?:fatal: |error: )?(.*)")


def parse_faults(text: str) -> tuple[BackupFault, ...]:
    """The faults that its messages tell; a message that is none of the known ones is ``BACKUP_UNREADABLE``."""
    faults = []
    for line in text.splitlines():
        spoken = _SPOKEN.fullmatch(line.strip())
        if spoken is None or spoken[1].startswith(("warning:", "detail:", "hint:")):
            continue
        for pattern, code in _MESSAGES:
            if match := pattern.fullmatch(spoken[1]):
                faults.append(BackupFault(code=code, path=match["path"], detail=spoken[1]))
                break
        else:
            faults.append(BackupFault(code="BACKUP_UNREADABLE", path="", detail=spoken[1]))
    return tuple(faults)


async def verify_backup(
    programs: Programs, directory: Path, manifest: Path, *, left_out: Iterable[str] = ()
) -> tuple[BackupFault, ...]:
    """Compare sizes and checksums of every file in *directory*; WAL is left to :mod:`~.waldump`.

    :param left_out: paths that the manifest lists and that were not restored on purpose.
    :return: what is wrong; empty only when the program ended with success.
    :raises BackupError: when it failed and did not say why.
    """
    done = await run(
        [
            programs.path("pg_verifybackup"),
            "-n",
            # From 18 on it takes a folder without PG_VERSION for one of tar files.
            *(("-F", "plain") if programs.major >= 18 else ()),
            *(f"--ignore={path}" for path in left_out),
            "-m",
            str(manifest),
            str(directory),
        ]
    )
    if done.code == 0:
        return ()
    faults = parse_faults(done.err)
    if not faults:
        raise BackupError(f"pg_verifybackup ended with {done.code} on {directory}: {done.last_words or 'it said nothing'}.")
    return faults


async def verify_files(
    programs: Programs, manifest: Manifest, files: Collection[ManifestFile], root: Path
) -> tuple[BackupFault, ...]:
    """Compare some files of a data directory with its manifest; the cost is about theirs alone.

    :param files: their entries in the manifest.
    :return: what is wrong with them.
    :raises BackupError: when the program failed and did not say why.
    """
    with tempfile.TemporaryDirectory(prefix="dr-verify-") as folder:
        data, own = Path(folder, "data"), Path(folder, NAME)
        data.mkdir()
        _link_all(data, root.absolute(), files)
        write_manifest(own, manifest, files)
        faults = await verify_backup(programs, data, own)
    wanted = {file.path for file in files}
    return tuple(fault for fault in faults if fault.path in wanted or fault.code != "BACKUP_FILE_EXTRA")


def _link_all(data: Path, root: Path, files: Iterable[ManifestFile]) -> None:
    """Make files appear in another folder: a link to theirs where not much else is in it, else one to each file."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folder, _, name = file.path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    parents = {folder[:end] for folder in folders for end, letter in enumerate(folder) if letter == "/"} | {""}
    for folder, names in folders.items():
        if folder not in parents and len(os.listdir(root / folder)) <= _STRANGERS * len(names):
            (data / folder).parent.mkdir(parents=True, exist_ok=True)
            (data / folder).symlink_to(root / folder)
            continue
        (data / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (data / folder / name).symlink_to(root / folder / name)
