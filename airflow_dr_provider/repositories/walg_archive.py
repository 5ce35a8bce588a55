"""WAL-G's WAL folder as an archive: what lies there by name, each file opened through the program."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from airflow_dr_provider.domain.catalog import WalArchive
from airflow_dr_provider.domain.wal import parse_segment
from airflow_dr_provider.repositories.archive_judge import find_segment_size, read_archive
from airflow_dr_provider.repositories.compression import BY_SOURCE
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, sort_in
from airflow_dr_provider.repositories.walg_documents import StoredObject, without_extension
from airflow_dr_provider.repositories.walg_program import WAL, WalG

HEADERS = 64
"""How many of the newest segments' headers are read: each costs a start of the program and a request to the storage."""

_OWN = re.compile(r"[0-9A-F]{24}(_delta|\.json)|[0-9A-F]{16,24}.*\.json")


async def list_wal(walg: WalG) -> ArchiveListing:
    """Names and sizes in the WAL folder; nothing is opened.

    The listing itself is what counts, not ``wal-show`` or ``wal-verify``, which judge the same names: they know neither sizes
    nor headers, take one segment size from their settings, and end with 0 whatever they find.
    """
    found, odd = await walg.list(WAL)
    return sort_objects(walg, found, odd)


def sort_objects(walg: WalG, found: list[StoredObject], odd: list[str]) -> ArchiveListing:
    """The archive that a listing of the WAL folder shows.

    :param odd: names that can't be WAL-G's.
    """
    listing = ArchiveListing(Path(WAL))
    strangers, empty = list(odd), []
    for row in sorted(found):
        stem = without_extension(row.name)
        if row.is_folder:
            strangers.append(f"{row.name}/")
            continue
        if row.size == 0:
            empty.append(row.name)
            continue
        file = ArchiveFile(Path(WAL, row.name), row.size, BY_SOURCE, partial(walg.open, f"{WAL}/{row.name}"))
        if not sort_in(listing, file, stem) and _OWN.fullmatch(stem) is None:
            strangers.append(row.name)
    if strangers:
        shown = ", ".join(sorted(strangers)[:5])
        listing.notes.append(f"{len(strangers)} things in {WAL} are no WAL and were passed over: {shown}")
    if empty:
        listing.notes.append(f"{len(empty)} files in {WAL} are empty and count as missing: {', '.join(empty[:5])}")
    return listing


def judge(listing: ArchiveListing, *, oldest: int | None, identifiers: list[int]) -> tuple[WalArchive, int | None]:
    """The archive, and whose it is; the headers of the newest segments are read.

    What is wrong with an older one shows when it is fetched, or verified by the ledger.

    :param oldest: the position that the oldest usable backup starts at.
    """
    size = find_segment_size(listing)
    numbers = sorted(place[1] for name in listing.segments if (place := parse_segment(name, size)) is not None)
    newest = numbers[-HEADERS] if len(numbers) >= HEADERS else 0
    first = max(newest, oldest // size) if oldest is not None else newest
    return read_archive(listing, size, oldest=first, identifiers=identifiers)
