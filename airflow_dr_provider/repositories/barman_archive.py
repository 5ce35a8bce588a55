"""The WAL that a local Barman keeps: ``wals/<timeline and log>/<segment>``, its compression told by nothing but its content."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.compression import compression_of_content
from airflow_dr_provider.repositories.halting import check_halt
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, sort_in

_FOLDER = re.compile(r"[0-9A-F]{16}")
_LOG = re.compile(r"[0-9A-F]{24}")
# What lies beside the folders: Barman's own list of the WAL, locks and marks of its own.
_ITS_OWN = re.compile(r"(?:.*-)?xlog\.db|\..*|sync-wals\.info|lost\+found")
_PLAIN_SIZES = frozenset(1 << power for power in range(20, 31))
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class WalFolders:
    """Where a server's WAL lies.

    :param wals: the archive.
    :param streaming: what ``barman receive-wal`` is writing; its last segment is a ``.partial`` one.
    :param lists: where Barman's own list of the archive may be, ``xlog.db``; the first that is there counts.
    """

    wals: Path
    streaming: Path | None
    lists: tuple[Path, ...]


def list_wals(folders: WalFolders) -> ArchiveListing:
    """Read the archive's names and sizes, and compare them with what Barman itself believes to have.

    :raises RepositoryError: ``ARCHIVE_MISSING``, or ``REPOSITORY_UNREACHABLE`` when it may not be read.
    """
    # Read first: a segment is moved to its place before it is written down.
    believed = _believed(folders.lists)
    listing = ArchiveListing(folders.wals)
    strangers: list[str] = []
    try:
        for entry in _files(folders.wals, strangers):
            check_halt()
            file = _archive_file(entry)
            if file is not None and not sort_in(listing, file, entry.name):
                strangers.append(entry.name)
        _add_streaming(listing, folders.streaming)
    except FileNotFoundError as error:
        raise RepositoryError(
            f"Barman's WAL folder {error.filename} is not there. Mount Barman's home at the same place on this worker, or run "
            f"the drill where Barman runs.",
            code="ARCHIVE_MISSING",
        ) from error
    except OSError as error:
        raise RepositoryError(
            f"Barman's WAL folder {error.filename or folders.wals} can't be read: {error.strerror}. Give this account the right "
            f"to list and read it; Barman's own account is the one named barman_user in its configuration."
        ) from error
    if strangers:
        shown = ", ".join(sorted(strangers)[:5])
        listing.notes.append(f"{len(strangers)} things in Barman's WAL folder are no WAL and were passed over: {shown}")
    listing.notes.extend(_disagreements(believed, listing))
    return listing


def _files(wals: Path, strangers: list[str]) -> Iterator[os.DirEntry[str]]:
    with os.scandir(wals) as entries:
        for entry in entries:
            if entry.is_dir() and _FOLDER.fullmatch(entry.name):
                with os.scandir(entry.path) as files:
                    yield from files
            elif entry.is_file() and entry.name.endswith(".history"):
                yield entry
            elif _ITS_OWN.fullmatch(entry.name) is None:
                strangers.append(entry.name)


def _archive_file(entry: os.DirEntry[str]) -> ArchiveFile | None:
    """The file; None for one that was removed just now."""
    try:
        status = entry.stat()
        compression = _compression(entry, status.st_size)
        return ArchiveFile(Path(entry.path), status.st_size, compression)
    except FileNotFoundError:
        return None


def _compression(entry: os.DirEntry[str], size: int) -> str:
    # As long as a segment is: not compressed. Nobody opens a million files to learn what their sizes tell.
    if size in _PLAIN_SIZES or size == 0:
        return ""
    with open(entry.path, "rb") as file:
        return compression_of_content(file.read(8))


def _add_streaming(listing: ArchiveListing, folder: Path | None) -> None:
    if folder is None or not folder.is_dir():
        return
    for path in folder.glob("*.partial"):
        sort_in(listing, ArchiveFile(path, path.stat().st_size, ""), path.name)


# -- what Barman believes ----------------------------------------------------------------------------------------------
def _believed(lists: tuple[Path, ...]) -> set[str] | str:
    """The segments of Barman's own list, or what is wrong with it."""
    for path in lists:
        try:
            with path.open(encoding="ascii", errors="replace") as file:
                return {name for line in file if _LOG.fullmatch(name := line.partition("\t")[0].strip())}
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"Barman's list of its WAL, {path}, can't be read: {error.strerror}"
    return f"Barman has no list of its WAL ({lists[0].name})" if lists else ""


def _disagreements(believed: set[str] | str, listing: ArchiveListing) -> Iterator[str]:
    if isinstance(believed, str):
        if believed:
            yield believed
        return
    gone, unlisted = sorted(believed - listing.segments.keys()), sorted(listing.segments.keys() - believed)
    if gone:
        yield f"Barman believes to have {_some(gone)}, which {'is' if len(gone) == 1 else 'are'} not there"
    if unlisted:
        yield f"Barman's own list does not know {_some(unlisted)}, which {'is' if len(unlisted) == 1 else 'are'} there"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"WAL segment{'s' if len(names) > 1 else ''} {', '.join(names[:_SHOWN])}{more}"
