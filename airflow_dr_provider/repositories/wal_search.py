"""Find the record at which recovery has to stop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import RecoveryTarget, StoppingPoint, TargetKind
from airflow_dr_provider.domain.wal import segment_of, segment_start
from airflow_dr_provider.errors import ArchiveError
from airflow_dr_provider.postgresql.waldump import WalDump, WalRecord
from airflow_dr_provider.postgresql.walheader import record_end
from airflow_dr_provider.repositories.wal_files import ArchiveListing, plain_segments

NEAR = 64
"""How many segments back a commit is looked for, to tell a point's time."""

DISORDER = timedelta(minutes=1)
"""How far a transaction's time may lie before or after those of its neighbours in the WAL."""

_WINDOW = 64 << 10

Place = tuple[int, int]


def places_of(path: Sequence[SegmentRange]) -> list[Place]:
    """Every segment of a path in replay order."""
    return [(part.timeline, number) for part in path for number in range(part.first, part.last + 1)]


@dataclass(frozen=True, kw_only=True)
class WalSearch:
    """The records of a contiguous walk of archived segments.

    :param places: in replay order.
    """

    listing: ArchiveListing
    dump: WalDump
    places: Sequence[Place]
    segment_size: int

    async def records(
        self, index: int, manager: str | None = None, *, start: Lsn | None = None
    ) -> AsyncGenerator[WalRecord, None]:
        """The whole records that begin in one segment, one at a time; those that run over its end are read on there.

        One that runs through more than the next segment is left out: no commit and no restore point is as long.
        Use it with :func:`contextlib.aclosing`.

        :param start: a position in the segment; the first record at or after it is the first given.
        """
        number = self.places[index][1]
        seen = False
        async with self._files(index, 2) as paths:
            for files in (paths, paths[:1])[: len(paths)]:
                async with aclosing(self.dump.records(files, manager=manager, start=start)) as records:
                    async for record in records:
                        if segment_of(record.lsn, self.segment_size) > number:
                            return
                        seen = True
                        yield record
                if seen:
                    return
                # Nothing together: what follows may be unreadable, so alone.

    @asynccontextmanager
    async def _files(self, index: int, count: int) -> AsyncIterator[list[Path]]:
        """A segment and those that follow it without a hole, as plain files under one timeline's names."""
        run = [self.places[index]]
        for place in self.places[index + 1 : index + count]:
            if place[1] != run[-1][1] + 1 or self.listing.segment(*place, self.segment_size) is None:
                break
            run.append(place)
        async with AsyncExitStack() as stack:
            try:
                paths = await stack.enter_async_context(
                    plain_segments(self.listing, run, self.segment_size, timeline=run[-1][0])
                )
            except ArchiveError:
                if len(run) == 1:
                    raise
                paths = await stack.enter_async_context(
                    plain_segments(self.listing, run[:1], self.segment_size, timeline=run[0][0])
                )
            yield paths

    async def last(self) -> StoppingPoint | None:
        """The last whole record, and the newest commit at or before it."""
        for index in reversed(range(len(self.places))):
            async with self._files(index, len(self.places)) as paths:
                piece = await self.dump.decode(paths[0])
                if piece.end is None:
                    continue  # a long record runs through it, or it holds nothing that can be read
                record = await self._running_over(index, paths, piece.end)
                if record is None:
                    record = await self._before(index, paths[0], piece.end)
            if record is not None:
                return await self._point(index, record)
        return None

    async def _running_over(self, index: int, paths: list[Path], end: Lsn) -> WalRecord | None:
        """The record behind the last one that lies whole in a segment, when the next segments hold its rest."""
        if segment_of(end, self.segment_size) > self.places[index][1] or len(paths) == 1:
            return None
        timeline = self.places[index + len(paths) - 1][0]
        over = await self.dump.decode_one(paths[0].parent, timeline, end)
        if over.start is None or segment_of(over.start, self.segment_size) > self.places[index][1]:
            return None
        async with aclosing(self.dump.records([paths[0], paths[-1]], start=over.start)) as records:
            async for record in records:
                return record
        return None

    async def _before(self, index: int, path: Path, end: Lsn) -> WalRecord | None:
        """The last record that ends at *end* or before it: looked for from behind, a segment may hold millions."""
        begins = segment_start(self.places[index][1], self.segment_size)
        window = _WINDOW
        while True:
            start = Lsn(max(begins, end - window))
            found: WalRecord | None = None
            async with aclosing(self.dump.records([path], start=start if start > begins else None)) as records:
                async for record in records:
                    if record.lsn >= end:
                        break
                    found = record
            if found is not None or start == begins:
                return found
            window *= 16

    async def find(self, target: RecoveryTarget) -> tuple[StoppingPoint, bool] | None:
        """The record for a target; see :meth:`airflow_dr_provider.repositories.base.Repository.find_target`."""
        if target.kind is TargetKind.TIME:
            return await self._after(datetime.fromisoformat(target.value))
        if target.kind is TargetKind.LSN:
            return await self._at(Lsn(target.value))
        manager = "Transaction" if target.kind is TargetKind.XID else "XLOG"
        for index in reversed(range(len(self.places))):
            found: WalRecord | None = None
            async with aclosing(self.records(index, manager)) as records:
                async for record in records:
                    found = record if _is_wanted(record, target) else found
            if found is not None:
                return await self._point(index, found), True
        return None

    async def _at(self, lsn: Lsn) -> tuple[StoppingPoint, bool] | None:
        number = segment_of(lsn, self.segment_size)
        for index, (_, segment) in enumerate(self.places):
            if segment < number:
                continue
            inside = lsn > segment_start(segment, self.segment_size)
            async with aclosing(self.records(index, start=lsn if inside else None)) as records:
                async for record in records:
                    if record.lsn >= lsn:
                        point = await self._point(index, record)
                        return point.model_copy(update={"lsn": lsn}), True
        return None

    async def _after(self, moment: datetime) -> tuple[StoppingPoint, bool] | None:
        """The first end of a transaction after a time: PostgreSQL stops before it (``recoveryStopsBefore``).

        The first in the WAL's order, and that is not quite the order of their times: a transaction notes its time before it
        gets its place. So the search by halves ends some way before the moment, and from there each one is looked at.
        """
        low, high = 0, len(self.places)
        while high - low > 1:
            middle = (low + high) // 2
            first = await self._first_end(middle)
            low, high = (middle, high) if first is not None and first <= moment - DISORDER else (low, middle)
        newest: datetime | None = None
        for index in range(low, len(self.places)):
            async with aclosing(self.records(index, "Transaction")) as records:
                async for record in records:
                    ended = record.transaction_end
                    if ended is None:
                        continue
                    if ended.time > moment:
                        if newest is None and index:
                            newest = await self._newest_commit(index - 1, record.lsn)
                        return self._made(index, record, newest), False
                    newest = ended.time if ended.committed else newest
        return None

    async def _first_end(self, index: int) -> datetime | None:
        for later in range(index, min(index + NEAR, len(self.places))):
            async with aclosing(self.records(later, "Transaction")) as records:
                async for record in records:
                    if record.transaction_end is not None:
                        return record.transaction_end.time
        return None

    async def _point(self, index: int, record: WalRecord) -> StoppingPoint:
        return self._made(index, record, await self._newest_commit(index, record.lsn))

    async def _newest_commit(self, index: int, limit: Lsn) -> datetime | None:
        for earlier in range(index, max(-1, index - NEAR), -1):
            newest: datetime | None = None
            async with aclosing(self.records(earlier, "Transaction")) as records:
                async for record in records:
                    if record.lsn > limit:
                        break
                    ended = record.transaction_end
                    newest = ended.time if ended is not None and ended.committed else newest
            if newest is not None:
                return newest
        return None

    def _made(self, index: int, record: WalRecord, time: datetime | None) -> StoppingPoint:
        end = record_end(record.lsn, record.length, self.segment_size, fills_segment=record.fills_segment)
        return StoppingPoint(timeline=self.places[index][0], lsn=record.lsn, end_lsn=end, time=time)


def _is_wanted(record: WalRecord, target: RecoveryTarget) -> bool:
    if target.kind is TargetKind.RESTORE_POINT:
        return record.restore_point == target.value
    ended = record.transaction_end
    # A record holds the low 32 bits of a transaction's id.
    return ended is not None and ended.committed and ended.transaction == int(target.value) & 0xFFFFFFFF
