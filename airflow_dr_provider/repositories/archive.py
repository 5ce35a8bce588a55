"""A WAL archive that is a folder: segments flat or one level deep, plain or compressed."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.compression import compression_of
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, sort_in


def list_archive(folder: Path) -> ArchiveListing:
    """Read an archive's names and sizes.

    Sub-folders are looked into when their names are a timeline or a timeline and a log number, as tools make them.

    :raises RepositoryError: ``ARCHIVE_MISSING``, or ``REPOSITORY_UNREACHABLE`` when it may not be read.
    """
    listing = ArchiveListing(folder)
    strangers: list[str] = []
    folders: list[str] = []
    try:
        _list_folder(listing, folder, strangers, folders)
        for name in sorted(folders):
            if len(name) in (8, 16) and set(name) <= set("0123456789ABCDEF"):
                _list_folder(listing, folder / name, strangers, [])
            else:
                strangers.append(f"{name}/")
    except FileNotFoundError as error:
        raise RepositoryError(
            f"The WAL archive {error.filename} is not there. Name the folder that archive_command writes to in "
            f"source.repository.archive.",
            code="ARCHIVE_MISSING",
        ) from error
    except NotADirectoryError as error:
        raise RepositoryError(
            f"The WAL archive {error.filename} is not a folder. Name the folder that archive_command writes to in "
            f"source.repository.archive.",
            code="ARCHIVE_MISSING",
        ) from error
    except OSError as error:
        raise RepositoryError(
            f"The WAL archive {error.filename or folder} can't be read: {error.strerror}. Give this account the right to list "
            f"and enter it (r-x), or name another folder in source.repository.archive."
        ) from error
    if strangers:
        shown = ", ".join(sorted(strangers)[:5])
        listing.notes.append(f"{len(strangers)} things in the WAL archive {folder} are no WAL and were passed over: {shown}")
    return listing


def _list_folder(listing: ArchiveListing, folder: Path, strangers: list[str], folders: list[str]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "lost+found":
                continue
            if entry.is_dir():
                folders.append(entry.name)
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue  # a link to nowhere, or archived and removed just now
            file = ArchiveFile(Path(entry.path), status.st_size, compression_of(entry.name))
            if not sort_in(listing, file, entry.name):
                strangers.append(entry.name)
