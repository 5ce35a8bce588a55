"""What of WAL-G's storage can be verified by itself, and doing so: objects of backups read whole, segments decoded."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

from airflow_dr_provider.domain.catalog import Catalog, SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.domain.wal import parse_segment, segment_name, segment_start
from airflow_dr_provider.errors import ArchiveError
from airflow_dr_provider.postgresql.waldump import WalDump
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.wal_decode import Place, undecodable
from airflow_dr_provider.repositories.wal_files import ArchiveListing, unpack_segment
from airflow_dr_provider.repositories.wal_reader import WalReader
from airflow_dr_provider.repositories.walg_catalog import SENTINEL_ENDING
from airflow_dr_provider.repositories.walg_documents import BACKUP_NAME, StoredObject
from airflow_dr_provider.repositories.walg_objects import read_object
from airflow_dr_provider.repositories.walg_program import BACKUPS, WAL, WalG

_READERS = 4
_RUN = 16
"""How many segments are decoded together."""
_REWRITTEN = (SENTINEL_ENDING, "/metadata.json")


def storage_items(
    catalog: Catalog, backups: Sequence[StoredObject], wal: Sequence[StoredObject], listing: ArchiveListing
) -> Iterator[RepositoryItem]:
    """Every object of a backup, and every segment.

    A backup's sentinel and ``metadata.json`` are left out: ``backup-mark`` rewrites them, and each catalog reads them anyway.

    :param backups: what lies below the backups' folder.
    :param wal: what lies in the WAL folder, as in the listing.
    """
    known = {backup.id for backup in catalog.backups}
    for row in backups:
        match = BACKUP_NAME.match(row.name)
        if match is not None and match[0] in known and not row.name.endswith(_REWRITTEN):
            yield RepositoryItem(name=f"{BACKUPS}/{row.name}", size=row.size, stamp=row.modified, backup_id=match[0])
    stamps = {row.name: row.modified for row in wal}
    for name, file in listing.segments.items():
        place = parse_segment(name, catalog.archive.segment_size)
        if place is not None:
            segment = SegmentRange(timeline=place[0], first=place[1], last=place[1])
            yield RepositoryItem(name=f"{WAL}/{file.path.name}", size=file.size, stamp=stamps[file.path.name], segment=segment)


async def read_objects(walg: WalG, wanted: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
    """Read objects of backups. Nothing is there to compare them with: their own form is all that they can fail by."""
    for first in range(0, len(wanted), _READERS):
        part = wanted[first : first + _READERS]
        read = await asyncio.gather(*(in_thread(read_object, walg, item.name) for item in part))
        for item, content in zip(part, read, strict=True):
            fault = BackupFault(code="BACKUP_UNREADABLE", path=item.name, detail=content.fault) if content.fault else None
            yield ItemReport(
                name=item.name, checksum=content.checksum, compared=False, bytes_read=content.bytes_read, fault=fault
            )


async def read_segments(reader: WalReader, wanted: Mapping[Place, RepositoryItem]) -> AsyncIterator[ItemReport]:
    """Decode segments, neighbours together: a record may run from one into the next."""
    places = sorted(wanted)
    dump = WalDump(await reader.programs(places[-1:])) if places else None
    while places and dump is not None:
        run = [places.pop(0)]
        while places and len(run) < _RUN and places[0] == (run[-1][0], run[-1][1] + 1):
            run.append(places.pop(0))
        for report in await _decode(reader, dump, run, wanted):
            yield report


async def _decode(
    reader: WalReader, dump: WalDump, run: list[Place], wanted: Mapping[Place, RepositoryItem]
) -> list[ItemReport]:
    size = reader.catalog.archive.segment_size
    behind = _behind(reader.listing, run[-1], size)
    with tempfile.TemporaryDirectory(prefix="dr-wal-") as folder:
        whole: list[tuple[Place, Path]] = []
        reports: dict[Place, ItemReport] = {}
        for place in (*run, *([behind] if behind is not None else [])):
            name = segment_name(*place, size)
            file, target = reader.listing.segments.get(name), Path(folder, name)
            try:
                if file is None:
                    raise ArchiveError(f"{name} is no longer in {reader.listing.folder}.")
                await in_thread(unpack_segment, file, target, size)
            except ArchiveError as error:
                if place in run:
                    reports[place] = _failed(wanted[place], error.message)
                continue
            whole.append((place, target))
            if place in run:
                checksum = await in_thread(_sha256, target)
                reports[place] = ItemReport(name=wanted[place].name, checksum=checksum, compared=True, bytes_read=size)
        last = Lsn(segment_start(run[-1][1] + 1, size) - 1)
        damages = await undecodable(dump, whole, size, start=None, target=last)
    for damage in damages:
        for place in damage.places:
            if place not in reports or reports[place].fault is not None:
                continue
            if place == run[-1] and behind is None and damage.places == (place,):
                # The newest segment: its last record may run on into one that isn't archived yet.
                reports[place] = reports[place].model_copy(update={"compared": False})
                continue
            fault = BackupFault(code="WAL_SEGMENT_DAMAGED", path=wanted[place].name, detail=damage.reason)
            reports[place] = reports[place].model_copy(update={"fault": fault})
    return [reports[place] for place in run]


def _behind(listing: ArchiveListing, place: Place, size: int) -> Place | None:
    """The segment that follows one: of the same timeline, else of the next that has it."""
    numbers = sorted(
        found for name in listing.segments if (found := parse_segment(name, size)) is not None and found[1] == place[1] + 1
    )
    return next((found for found in numbers if found[0] >= place[0]), None)


def _failed(item: RepositoryItem, why: str) -> ItemReport:
    fault = BackupFault(code="WAL_SEGMENT_DAMAGED", path=item.name, detail=why)
    return ItemReport(name=item.name, checksum="", compared=True, fault=fault)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
