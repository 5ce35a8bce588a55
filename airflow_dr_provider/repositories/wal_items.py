"""The segments of an archive as items of the verification ledger, and what reading each of them shows.

A segment is judged by its header and by decoding every record that begins in it, the one that runs on over its end too. What
runs into its beginning is part of the segment before. Where the archive ends, a segment that ends early is nothing worse: it may
have been copied by hand, or be on its way. It is unfinished, and read again in the next pass.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airflow_dr_provider.domain.catalog import Catalog, SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.domain.wal import parse_segment, segment_name, segment_start
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.postgresql.programs import Programs, find_programs
from airflow_dr_provider.postgresql.waldump import Decoded, WalDump
from airflow_dr_provider.postgresql.walheader import LENGTH, PAGE, WalHeader, record_end
from airflow_dr_provider.repositories.archive_judge import judge_header
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.transfer import copy_content, forget_pages
from airflow_dr_provider.repositories.wal_decode import follows
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, read_header
from airflow_dr_provider.repositories.wal_reader import WalReader

_DECODERS = 2
_SCRATCH = 256 << 20
"""Bytes of WAL that lie side by side while they are decoded, as copies where they are compressed."""

_SHORT_HEADER = 24
_PAGES_BEHIND = 4
"""How many pages behind a record that can't be decoded are looked at for further ones."""

Place = tuple[int, int]
"""Timeline and number of a segment."""


def segment_items(
    listing: ArchiveListing, segment_size: int, *, prefix: str = "archive", backup_id: str = ""
) -> Iterator[RepositoryItem]:
    """Every segment of an archive."""
    for name in sorted(listing.segments):
        place = parse_segment(name, segment_size)
        if place is None:
            continue
        file = listing.segments[name]
        yield RepositoryItem(
            name=f"{prefix}/{_relative(file, listing)}",
            size=file.size,
            stamp=file.stamp,
            backup_id=backup_id,
            segment=SegmentRange(timeline=place[0], first=place[1], last=place[1]),
        )


def _relative(file: ArchiveFile, listing: ArchiveListing) -> str:
    inside = file.path.is_relative_to(listing.folder)
    return str(file.path.relative_to(listing.folder)) if inside else str(file.path).lstrip("/")


def needed_by_backups(catalog: Catalog) -> dict[int, Lsn]:
    """Where the last backup of each timeline is consistent: what has to be whole even in the last segment."""
    found: dict[int, Lsn] = {}
    for backup in catalog.backups:
        if backup.timeline is not None and backup.stop_lsn is not None and not backup.flaws:
            found[backup.timeline] = max(backup.stop_lsn, found.get(backup.timeline, Lsn(0)))
    return found


async def read_segments(
    reader: WalReader, items: Sequence[RepositoryItem], *, needed: Mapping[int, Lsn]
) -> AsyncIterator[ItemReport]:
    """Read segments whole and decode them.

    :param items: of :func:`segment_items`, of the reader's listing.
    :param needed: up to where the WAL of each timeline has to be whole, also in its last segment.
    """
    size = reader.catalog.archive.segment_size
    last: dict[int, int] = {}
    for name in reader.listing.segments:
        place = parse_segment(name, size)
        if place is not None:
            last[place[0]] = max(place[1], last.get(place[0], 0))
    ordered = sorted(items, key=_place)
    together = max(_DECODERS, _SCRATCH // size)
    for index in range(0, len(ordered), together):
        with tempfile.TemporaryDirectory(prefix="dr-wal-") as folder:
            work = _Work(reader, Path(folder), last, needed)
            limit = asyncio.Semaphore(_DECODERS)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(_limited(limit, work, item)) for item in ordered[index : index + together]]
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None
            for task in tasks:
                yield task.result()


async def _limited(limit: asyncio.Semaphore, work: _Work, item: RepositoryItem) -> ItemReport:
    async with limit:
        return await work.read(item)


def _place(item: RepositoryItem) -> Place:
    return (item.segment.timeline, item.segment.first) if item.segment is not None else (0, 0)


@dataclass(frozen=True)
class _Reading:
    """A segment that lies in the scratch folder.

    :param length: bytes of its content.
    """

    path: Path
    checksum: str
    length: int


@dataclass(frozen=True)
class _Judgement:
    """What decoding showed.

    :param wrong: why it stopped, "" when it didn't.
    :param unfinished: whether that may be so at the end of an archive.
    """

    wrong: str
    unfinished: bool = False


_SOUND = _Judgement("")


@dataclass
class _Work:
    """One batch.

    :param folder: where the segments lie side by side as plain files, one folder for each timeline: links, or copies.
    :param last: the last segment of each timeline.
    """

    reader: WalReader
    folder: Path
    last: Mapping[int, int]
    needed: Mapping[int, Lsn]
    locks: defaultdict[Place, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def size(self) -> int:
        """Bytes of a segment."""
        return self.reader.catalog.archive.segment_size

    async def read(self, item: RepositoryItem) -> ItemReport:
        """One segment's report."""
        timeline, number = _place(item)
        file = self.reader.listing.segment(timeline, number, self.size)
        if file is None:
            return _gone(item)
        try:
            reading = await self._lay_out(file, (timeline, number))
        except FileNotFoundError:
            return _gone(item)
        except (OSError, DrillError) as error:
            wrong = error.message if isinstance(error, DrillError) else f"it can't be read: {error.strerror}"
            return ItemReport(name=item.name, checksum="", compared=True, fault=_fault(item, wrong))
        header = await in_thread(read_header, ArchiveFile(reading.path, reading.length, ""))
        # A segment of another cluster, from before an upgrade, say, is of no use here; that makes it no damage.
        wrong = judge_header((timeline, number), header, self.size, None)
        if not wrong and reading.length != self.size:
            wrong = f"holds {reading.length} bytes of WAL; a segment has {self.size}"
        if wrong or not isinstance(header, WalHeader):
            cut = reading.length < self.size and (reading.length < LENGTH or isinstance(header, WalHeader))
            unfinished = cut and self._may_end_early(timeline, number, None)
            return self._report(item, reading, _Judgement(f"it {wrong}", unfinished))
        programs = await self._programs(header, (timeline, number))
        dump = WalDump(programs)
        piece = await dump.decode(reading.path)
        judgement = await self._judge(dump, (timeline, number), header, piece)
        if file.plain:
            await in_thread(forget_pages, file.path)
        return self._report(item, reading, judgement, tool=f"pg_waldump {programs.version}")

    async def _judge(self, dump: WalDump, place: Place, header: WalHeader, piece: Decoded) -> _Judgement:
        """What is to be said of a segment's records."""
        if piece.start is not None and piece.end is not None and piece.to_the_end:
            if piece.end >= segment_start(place[1] + 1, self.size):
                return _SOUND
            return await self._judge_crossing(dump, place, piece.end)
        if piece.start is None and not header.has_record:
            return _SOUND  # one record fills it, and is decoded where it begins
        position = piece.end or header.page_start
        may_end = self._may_end_early(*place, piece.end) and not await self._goes_on(dump, place, position)
        return _Judgement(f"nothing at {position} can be decoded ({piece.message})", may_end)

    async def _judge_crossing(self, dump: WalDump, place: Place, start: Lsn) -> _Judgement:
        """What is to be said of the record that runs on over a segment's end."""
        timeline, number = place
        length = await in_thread(_record_length, self._path(place), start, self.size)
        through = (record_end(start, length, self.size) - 1) // self.size if length is not None else number + 1
        for following in range(number + 1, through + 1):
            file = self.reader.listing.segment(timeline, following, self.size)
            if file is None:
                return _Judgement("", unfinished=True)
            try:
                await self._lay_out(file, (timeline, following), hashed=False)
            except (OSError, DrillError):
                return _Judgement("", unfinished=True)  # that is the other segment's fault, and said of it
        next_header = await in_thread(read_header, ArchiveFile(self._path((timeline, number + 1)), self.size, ""))
        if isinstance(next_header, WalHeader) and next_header.overwrites:
            return _SOUND
        over = await dump.decode_one(self._path(place).parent, timeline, start)
        if over.start is not None and over.end is not None and follows(start, over.start):
            return _SOUND
        why = over.message or "it is cut off"
        wrong = f"the record at {start}, which runs on into the next segment, can't be decoded ({why})"
        if not self._may_end_early(timeline, through, start):
            return _Judgement(wrong)
        behind = await dump.decode(self._path((timeline, through)))
        return _Judgement(wrong, unfinished=behind.start is None)

    async def _goes_on(self, dump: WalDump, place: Place, position: Lsn) -> bool:
        """Whether there are records behind one that can't be decoded: then it is damaged, and not the end."""
        pages = range(position // PAGE + 1, position // PAGE + 1 + _PAGES_BEHIND)
        starts = [Lsn(page * PAGE) for page in pages if page * PAGE // self.size == place[1]]
        found = [await dump.decode(self._path(place), start=start) for start in starts]
        return any(piece.start is not None for piece in found)

    def _may_end_early(self, timeline: int, number: int, reached: Lsn | None) -> bool:
        """Whether a segment is its timeline's last, and what comes before its end is all that is needed.

        :param reached: the position after the last whole record.
        """
        needed = self.needed.get(timeline, Lsn(0))
        return number >= self.last.get(timeline, 0) and needed <= max(reached or 0, segment_start(number, self.size))

    def _path(self, place: Place) -> Path:
        return self.folder / str(place[0]) / segment_name(*place, self.size)

    async def _lay_out(self, file: ArchiveFile, place: Place, *, hashed: bool = True) -> _Reading:
        """Put a segment into the folder, unless a neighbour did, and hash its content.

        :raises DrillError: when it can't be decompressed.
        """
        async with self.locks[place]:
            return await in_thread(_lay_out, file, self._path(place), self.size + 1, hashed=hashed)

    async def _programs(self, header: WalHeader, place: Place) -> Programs:
        if header.major is not None:
            return await in_thread(find_programs, header.major)
        return await self.reader.programs([place])

    def _report(self, item: RepositoryItem, reading: _Reading, judgement: _Judgement, *, tool: str = "") -> ItemReport:
        wrong = judgement.wrong if not judgement.unfinished else ""
        return ItemReport(
            name=item.name,
            checksum=reading.checksum,
            compared=True,
            bytes_read=item.size,
            fault=_fault(item, wrong) if wrong else None,
            tool=tool,
            unfinished=judgement.unfinished,
        )


def _fault(item: RepositoryItem, wrong: str) -> BackupFault:
    return BackupFault(code="WAL_SEGMENT_DAMAGED", path=item.name, detail=wrong)


def _gone(item: RepositoryItem) -> ItemReport:
    """The report of a segment that expired since it was listed: what is missing shows in the archive's continuity."""
    return ItemReport(name=item.name, checksum="", compared=False)


def _lay_out(file: ArchiveFile, path: Path, limit: int, *, hashed: bool) -> _Reading:
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        if file.plain:
            path.symlink_to(file.path.absolute())
        else:
            temporary = path.with_suffix(".tmp")
            with file.open() as source, temporary.open("wb") as sink:
                copy_content(source, sink, limit=limit)
            temporary.rename(path)
    digest = hashlib.sha256()
    with path.open("rb") as source:
        length = copy_content(source, None, digest=digest, limit=limit) if hashed else 0
    return _Reading(path, f"sha256:{digest.hexdigest()}", length)


def _record_length(segment: Path, start: Lsn, segment_size: int) -> int | None:
    """The length that a record tells of itself; None when there is none.

    :param start: its position, or that of the header of the page that it begins on.
    """
    offset = start % segment_size
    if offset % PAGE == 0:
        offset += _SHORT_HEADER if offset else LENGTH
    with segment.open("rb") as file:
        file.seek(offset)
        content = file.read(4)
    return int.from_bytes(content, "little") or None if len(content) == 4 else None
