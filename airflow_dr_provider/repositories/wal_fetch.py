"""Fetch the WAL of a restore, and decode every segment of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import WalReport
from airflow_dr_provider.domain.wal import merge_ranges, segment_name, segment_start
from airflow_dr_provider.errors import ArchiveError
from airflow_dr_provider.postgresql.waldump import WalDump
from airflow_dr_provider.repositories.archive import ArchiveListing, copy_history, unpack_segment
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.wal_search import Place, places_of

_DECODERS = 2


async def fetch(listing: ArchiveListing, dump: WalDump, coordinate: RestoreCoordinate, destination: Path) -> WalReport:
    """Write the coordinate's segments and histories to a directory and decode them; whole files are kept from an earlier try."""
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
    if not missing and not damaged:
        damaged, notes = await _decode(dump, coordinate, places, destination)
    if missing:
        notes.insert(0, f"{segment_name(*missing[0], size)} is not in {listing.folder}")
    return WalReport(
        segments=len(places),
        bytes_read=written,
        missing=merge_ranges(missing),
        damaged=merge_ranges(damaged),
        detail="; ".join(notes[:5]),
    )


async def _decode(
    dump: WalDump, coordinate: RestoreCoordinate, places: Sequence[Place], folder: Path
) -> tuple[list[Place], list[str]]:
    """The segments that hold WAL which can't be decoded before the target, and what is said about them."""
    size, timeline = coordinate.segment_size, coordinate.target.timeline
    limit = asyncio.Semaphore(_DECODERS)
    # Under names of one timeline, so that a record is read on over a change of timeline.
    with tempfile.TemporaryDirectory(prefix="dr-wal-") as name:
        links = Path(name)
        for place in places:
            link = links / segment_name(timeline, place[1], size)
            if not link.exists():
                link.symlink_to(folder / segment_name(*place, size))

        async def judge(place: Place) -> str:
            async with limit:
                return await _judge(dump, coordinate, place, links)

        verdicts = await asyncio.gather(*(judge(place) for place in places))
    bad = [(place, verdict) for place, verdict in zip(places, verdicts, strict=True) if verdict]
    return [place for place, _ in bad], [f"{segment_name(*place, size)}: {verdict}" for place, verdict in bad]


async def _judge(dump: WalDump, coordinate: RestoreCoordinate, place: Place, links: Path) -> str:
    """What is wrong with a segment, "" for nothing that recovery to the target would meet."""
    size, target = coordinate.segment_size, coordinate.target
    segment = links / segment_name(target.timeline, place[1], size)
    decoded = await dump.decode(segment)
    if decoded.to_the_end:
        return ""
    end = decoded.end
    if end is None:
        # No record begins in it: one long record runs through it, or what begins in it can't be read.
        if decoded.start is None and segment_start(place[1], size) > target.lsn:
            return ""
        return decoded.message or "no record in it can be decoded"
    if end > target.lsn:
        return ""
    # What begins here may go on in the next segment, where this one alone couldn't follow it.
    over = await dump.decode_one(links, target.timeline, end)
    if over.end is not None and over.end > end:
        return ""
    return over.message or decoded.message or f"nothing after {end} can be decoded"


def clear(destination: Path) -> None:
    """Remove what an earlier try fetched."""
    for entry in destination.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
