"""Find the record at which recovery has to stop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import RecoveryTarget, StoppingPoint, TargetKind
from airflow_dr_provider.domain.wal import segment_of
from airflow_dr_provider.postgresql.waldump import WalDump, WalRecord
from airflow_dr_provider.postgresql.walheader import record_end
from airflow_dr_provider.repositories.archive import ArchiveListing, plain_segments

NEAR = 64
"""How many segments back a commit is looked for, to tell a point's time."""

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

    async def records(self, index: int, manager: str | None = None) -> list[WalRecord]:
        """The whole records that begin in one segment; those that run over into the next one are read there."""
        pair = self.places[index : index + 2]
        if len(pair) == 2 and pair[1][1] != pair[0][1] + 1:
            pair = pair[:1]
        number = pair[0][1]
        found: list[WalRecord] = []
        async with plain_segments(self.listing, pair, self.segment_size, timeline=pair[-1][0]) as paths:
            async with aclosing(self.dump.records(paths, manager=manager)) as records:
                async for record in records:
                    if segment_of(record.lsn, self.segment_size) > number:
                        break
                    found.append(record)
            if not found and len(paths) == 2:
                # The pair's first record may lie in the second segment, or the second may be unreadable: alone, then.
                async with aclosing(self.dump.records(paths[:1], manager=manager)) as records:
                    found = [record async for record in records]
        return found

    async def last(self) -> StoppingPoint | None:
        """The last whole record, and the newest commit at or before it."""
        for index in reversed(range(len(self.places))):
            found = await self.records(index)
            if found:
                return await self._point(index, found[-1])
        return None

    async def find(self, target: RecoveryTarget) -> tuple[StoppingPoint, bool] | None:
        """The record for a target; see :meth:`airflow_dr_provider.repositories.base.Repository.find_target`."""
        if target.kind is TargetKind.TIME:
            return await self._after(datetime.fromisoformat(target.value))
        if target.kind is TargetKind.LSN:
            return await self._at(Lsn(target.value))
        for index in reversed(range(len(self.places))):
            manager = "Transaction" if target.kind is TargetKind.XID else "XLOG"
            for record in reversed(await self.records(index, manager)):
                if _is_wanted(record, target):
                    return await self._point(index, record), True
        return None

    async def _at(self, lsn: Lsn) -> tuple[StoppingPoint, bool] | None:
        number = segment_of(lsn, self.segment_size)
        for index, (_, segment) in enumerate(self.places):
            if segment >= number:
                for record in await self.records(index):
                    if record.lsn >= lsn:
                        point = await self._point(index, record)
                        return point.model_copy(update={"lsn": lsn}), True
        return None

    async def _after(self, moment: datetime) -> tuple[StoppingPoint, bool] | None:
        """The first end of a transaction after a time: PostgreSQL stops before it (``recoveryStopsBefore``)."""
        low, high = 0, len(self.places)
        while high - low > 1:
            middle = (low + high) // 2
            first = await self._first_end(middle)
            low, high = (middle, high) if first is not None and first <= moment else (low, middle)
        newest: datetime | None = None
        for index in range(low, len(self.places)):
            for record in await self.records(index, "Transaction"):
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
            for record in await self.records(later, "Transaction"):
                if record.transaction_end is not None:
                    return record.transaction_end.time
        return None

    async def _point(self, index: int, record: WalRecord) -> StoppingPoint:
        return self._made(index, record, await self._newest_commit(index, record.lsn))

    async def _newest_commit(self, index: int, limit: Lsn) -> datetime | None:
        for earlier in range(index, max(-1, index - NEAR), -1):
            for record in reversed(await self.records(earlier, "Transaction")):
                ended = record.transaction_end
                if record.lsn <= limit and ended is not None and ended.committed:
                    return ended.time
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
