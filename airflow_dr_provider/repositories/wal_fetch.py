"""Fetch the WAL of a restore, and decode every segment of it."""

from __future__ import annotations

from pathlib import Path

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import WalReport
from airflow_dr_provider.domain.wal import merge_ranges, segment_name
from airflow_dr_provider.errors import ArchiveError
from airflow_dr_provider.postgresql.waldump import WalDump
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.wal_decode import Place, undecodable
from airflow_dr_provider.repositories.wal_files import ArchiveListing, copy_history, unpack_segment
from airflow_dr_provider.repositories.wal_search import places_of


async def fetch(
    listing: ArchiveListing, dump: WalDump, coordinate: RestoreCoordinate, destination: Path, *, start: Lsn | None = None
) -> WalReport:
    """Write the coordinate's segments and histories to a directory and decode them; whole files of an earlier try are kept.

    :param start: where the backup's WAL begins; nothing before it matters.
    """
    size, places = coordinate.segment_size, places_of(coordinate.wal)
    missing: list[Place] = []
    damaged: list[Place] = []
    notes: list[str] = []
    written = 0
    for timeline in coordinate.histories:
        # Only the target's own history is indispensable: it names every ancestor (``tliOfPointInHistory``).
        if timeline in listing.histories or timeline == coordinate.target.timeline:
            written += await in_thread(copy_history, listing, timeline, destination)
    for place in places:
        file, target = listing.segment(*place, size), destination / segment_name(*place, size)
        if file is None:
            missing.append(place)
            continue
        if target.exists() and target.stat().st_size == size:
            continue
        try:
            written += await in_thread(unpack_segment, file, target, size)
        except (ArchiveError, OSError) as error:
            damaged.append(place)
            notes.append(str(error))
    whole = [(place, destination / segment_name(*place, size)) for place in places if place not in {*missing, *damaged}]
    for damage in await undecodable(dump, whole, size, start=start, target=coordinate.target.lsn):
        damaged += damage.places
        notes.append(f"{segment_name(*damage.places[0], size)}: {damage.reason}")
    if missing:
        notes.insert(0, f"{segment_name(*missing[0], size)} is not in {listing.folder}")
    return WalReport(
        segments=len(places),
        bytes_read=written,
        missing=merge_ranges(missing),
        damaged=merge_ranges(damaged),
        detail="; ".join(notes[:5]),
    )
