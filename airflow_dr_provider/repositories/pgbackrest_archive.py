"""The WAL archive of a stanza: the same cluster's segments from all of its repositories, as one listing.

A segment is stored as ``<name>-<SHA-1 of its content>`` and the ending of its compression, a ``.partial`` likewise; histories
and backup history files by their plain names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from airflow_dr_provider.domain.wal import history_timeline, is_backup_history
from airflow_dr_provider.repositories.compression import compression_of
from airflow_dr_provider.repositories.pgbackrest_store import Store, Stored
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, sort_in

_NAME = re.compile(r"([0-9A-F]{24}(?:\.partial)?)-([0-9a-f]{40})(\.gz|\.lz4|\.zst|\.bz2)?")
_FOLDER = re.compile(r"[0-9A-F]{16}")
# AES-256-CBC as OpenSSL's ``enc`` writes it: a header of 16 bytes, and content filled up to the next block of 16.
_CIPHER_OVERHEAD = 32


@dataclass
class StanzaArchive:
    """The listing, and what else is known of its files.

    :param stored: each segment's stored file, for what was stored when: repository, path in it, size and stamp.
    :param ambiguous: names of segments of which one repository holds two of different content: pgBackRest gives neither.
    """

    listing: ArchiveListing
    stored: dict[str, tuple[Store, str, Stored]] = field(default_factory=dict)
    ambiguous: set[str] = field(default_factory=set)


async def list_stanza(places: Iterable[tuple[Store, str]]) -> StanzaArchive:
    """Read the names of every place; where two hold the same segment, the first one's is taken.

    :param places: repositories in the order in which they are preferred, each with the folder of the cluster's WAL.
    """
    found = list(places)
    shown = ", ".join(f"{store.name}:{folder}" for store, folder in found)
    archive = StanzaArchive(ArchiveListing(Path(shown)))
    strangers: list[str] = []
    differing: list[str] = []
    for store, folder in found:
        files = await store.files(folder)
        _add(archive, store, folder, files, strangers, differing)
    notes = archive.listing.notes
    if strangers:
        notes.append(
            f"{len(strangers)} things in the WAL archive are no WAL and were passed over: {', '.join(sorted(strangers)[:5])}"
        )
    if differing:
        notes.append(
            f"{len(differing)} WAL segments are archived with different contents in different repositories; the first one's "
            f"are used: {', '.join(sorted(differing)[:5])}"
        )
    return archive


def _add(
    archive: StanzaArchive,
    store: Store,
    folder: str,
    files: Mapping[str, Stored],
    strangers: list[str],
    differing: list[str],
) -> None:
    """Put one repository's files into the listing."""
    own: dict[str, str] = {}
    twice: set[str] = set()
    for path in sorted(files):
        file = _file(store, folder, path, files[path])
        if file is None:
            strangers.append(f"{store.name}:{folder}/{path}")
            continue
        name, entry = file
        if not entry.sha1 or name.endswith(".partial"):
            sort_in(archive.listing, entry, name)
            continue
        if own.setdefault(name, entry.sha1) != entry.sha1:
            twice.add(name)
            continue
        known = archive.listing.segments.get(name)
        if known is not None and name not in archive.ambiguous:
            if known.sha1 != entry.sha1:
                differing.append(name)
                continue
            if known.size or not entry.size:
                archive.listing.segments[name] = _with_spare(known, entry)
                continue
        archive.listing.segments[name] = entry
        archive.stored[name] = (store, f"{folder}/{path}", files[path])
        archive.ambiguous.discard(name)
    for name in twice:
        if archive.stored[name][0] is store:
            archive.ambiguous.add(name)


def _with_spare(file: ArchiveFile, spare: ArchiveFile) -> ArchiveFile:
    return file._replace(spare=spare if file.spare is None else _with_spare(file.spare, spare))


def _file(store: Store, folder: str, path: str, stored: Stored) -> tuple[str, ArchiveFile] | None:
    """What a stored file is to the archive, with the name that PostgreSQL gave it; None when it is nothing."""
    parent, _, base = path.rpartition("/")
    match = _NAME.fullmatch(base)
    if match is not None and parent == base[:16] and _FOLDER.fullmatch(parent):
        name, sha1, compression = match[1], match[2], compression_of(match[3] or "")
    elif (parent == "" and history_timeline(base)) or (parent == base[:16] and is_backup_history(base)):
        name, sha1, compression = base, "", ""
    else:
        return None
    size = stored.size
    if store.encrypted and not compression:
        size = max(0, size - _CIPHER_OVERHEAD)
    where = f"{folder}/{path}"
    if store.root is not None:
        return name, ArchiveFile(store.root / where, size, compression, None, sha1)
    return name, ArchiveFile(Path(f"{store.name}:{where}"), size, compression, opener(store, where), sha1)


def opener(store: Store, path: str) -> Callable[[], BinaryIO]:
    """What opens a file of a repository, when it is wanted."""
    return partial(store.open, path)


def sample_of(listing: ArchiveListing, count: int = 2) -> ArchiveListing:
    """The newest few segments, for what each look at costs a call of the program."""
    names = sorted(listing.segments)[-count:]
    return ArchiveListing(listing.folder, segments={name: listing.segments[name] for name in names})
