"""The files of base backups as items of the verification ledger: names, sizes and times of modification; nothing is read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw
from airflow_dr_provider.domain.verification import RepositoryItem
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.manifest import NAME, PASSED_OVER, Manifest, ManifestFile, read_unchanged
from airflow_dr_provider.repositories.archive import list_archive
from airflow_dr_provider.repositories.compression import without_suffix
from airflow_dr_provider.repositories.halting import check_halt
from airflow_dr_provider.repositories.wal_items import segment_items

ABSENT = "absent"
"""The stamp of a file that the manifest lists and that isn't there."""

_ESCAPED = re.compile(r"\\udc([89a-f][0-9a-f])")


def item_name(backup_id: str, path: str) -> str:
    """The name of a backup's file; bytes that are no UTF-8, which no database takes, are written out."""
    return f"backups/{backup_id}/{path}".encode("utf-8", "backslashreplace").decode()


def item_path(item: RepositoryItem) -> str:
    """The path of an item inside its backup."""
    inside = item.name[len(item_name(item.backup_id, "")) :]
    return _ESCAPED.sub(lambda match: chr(0xDC00 + int(match[1], 16)), inside)


@dataclass(frozen=True, eq=False)
class KnownManifest:
    """A backup's manifest, its entries at hand.

    :param entries: those that count, by path: WAL is decoded, and some files are passed over.
    """

    manifest: Manifest
    entries: dict[str, ManifestFile]


NO_MANIFEST = KnownManifest(Manifest(version=1, system_identifier=None, files=(), wal_ranges=()), {})
"""For a backup that has none, or a damaged one."""


def known_manifest(folder: Path) -> KnownManifest:
    """A backup's manifest; kept, for a pass asks for it again and again."""
    path = folder / NAME
    try:
        return _known(read_unchanged(path))
    except BackupError:
        return NO_MANIFEST


@lru_cache(maxsize=2)
def _known(manifest: Manifest) -> KnownManifest:
    counted = (file for file in manifest.files if file.path not in PASSED_OVER and not file.path.startswith("pg_wal/"))
    return KnownManifest(manifest, {file.path: file for file in counted})


def tar_files(folder: Path) -> dict[str, Path]:
    """The tar files of a backup by the name of what they hold, without ``.tar``; empty for a plain backup."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem = without_suffix(entry.name)
            if stem.endswith(".tar") and entry.is_file():
                found[stem.removesuffix(".tar")] = Path(entry.path)
    return found if "base" in found else {}


def tar_of(path: str) -> str:
    """The name of the tar file that holds a path of the manifest: a tablespace has its own."""
    parts = path.split("/", 2)
    return parts[1] if parts[0] == "pg_tblspc" and len(parts) == 3 else "base"


def backup_items(folder: Path, backup: Backup, segment_size: int) -> Iterator[RepositoryItem]:
    """Every file of a backup, those that its manifest lists and that aren't there included.

    A backup that was never finished has none: what comes to it is no change.
    """
    if BackupFlaw.INCOMPLETE in backup.flaws:
        return
    entries = known_manifest(folder).entries
    tars = tar_files(folder)
    if tars:
        for tar in tars.values():
            yield _item(backup.id, tar.name, tar.stat())
        expected = {f"{tar_of(path)}.tar" for path in entries if tar_of(path) not in tars}
    else:
        expected = set(entries)
        for relative, entry in _files(folder):
            expected.discard(relative)
            yield _item(backup.id, relative, entry.stat())
        wal = folder / "pg_wal"
        if wal.is_dir():
            yield from segment_items(
                list_archive(wal), segment_size, prefix=item_name(backup.id, "pg_wal"), backup_id=backup.id
            )
    own = folder / NAME
    if own.exists():
        yield _item(backup.id, NAME, own.stat())
    for path in sorted(expected):
        yield RepositoryItem(name=item_name(backup.id, path), size=0, stamp=ABSENT, backup_id=backup.id)


def _item(backup_id: str, path: str, status: os.stat_result) -> RepositoryItem:
    return RepositoryItem(
        name=item_name(backup_id, path), size=status.st_size, stamp=str(status.st_mtime_ns), backup_id=backup_id
    )


def _files(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file under a data directory, relative, tablespaces' links followed, WAL and what is passed over left out."""
    waiting = [""]
    while waiting:
        check_halt()
        inside = waiting.pop()
        prefix = f"{inside}/" if inside else ""
        with os.scandir(folder / inside) as found:
            for entry in found:
                if not inside and entry.name in PASSED_OVER:
                    continue
                if entry.is_dir():
                    waiting.append(f"{prefix}{entry.name}")
                elif entry.is_file() or not entry.is_symlink():
                    yield f"{prefix}{entry.name}", entry
