"""Tell whether WAL can be replayed from one position to another, by decoding every record between them.

A segment alone shows the records that lie in it whole. Those that run over its end, some through several segments, are
decoded one by one, for a flipped bit in them is as fatal as any. Together the pieces have to cover the way without a gap;
what ``pg_waldump`` says about where it stopped is repeated, never judged: the end of a hand-copied last segment and damage
look alike to it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.wal import segment_name, segment_start
from airflow_dr_provider.postgresql.waldump import Decoded, WalDump
from airflow_dr_provider.postgresql.walheader import LENGTH, PAGE

_DECODERS = 2

Place = tuple[int, int]
"""Timeline and number of a segment."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Segments in which decoding stopped short.

    :param places: the one that holds the record, and those that the record runs on into.
    :param reason: the end of a sentence, with the position.
    """

    places: tuple[Place, ...]
    reason: str


async def undecodable(
    dump: WalDump, segments: Sequence[tuple[Place, Path]], segment_size: int, *, start: Lsn | None, target: Lsn
) -> list[Damage]:
    """What recovery from *start* to *target* could not read.

    :param segments: plain files by their right names, in replay order; holes between them are not reported.
    :param start: a record's position in the first segment; None for its first record.
    :param target: the record that has to be whole; what lies behind it doesn't matter.
    """
    limit = asyncio.Semaphore(_DECODERS)

    async def decode(index: int, place: Place, path: Path) -> Decoded:
        begins = segment_start(place[1], segment_size)
        inside = start is not None and index == 0 and begins < start < begins + segment_size
        async with limit:
            return await dump.decode(path, start=start if inside else None)

    pieces = await asyncio.gather(*(decode(index, *segment) for index, segment in enumerate(segments)))
    # Under names of one timeline, so that a record is read on where a segment is of the next one.
    with tempfile.TemporaryDirectory(prefix="dr-wal-") as folder:
        timeline = max((place[0] for place, _ in segments), default=1)
        for (_, number), path in segments:
            link = Path(folder, segment_name(timeline, number, segment_size))
            if not link.is_symlink():
                link.symlink_to(path)
        places = [place for place, _ in segments]
        return await _walk(dump, places, pieces, segment_size, target, Path(folder), timeline)


async def _walk(
    dump: WalDump, places: list[Place], pieces: list[Decoded], size: int, target: Lsn, folder: Path, timeline: int
) -> list[Damage]:
    found: list[Damage] = []
    # Where the record ends that ran over from an earlier segment; None at the beginning, behind a hole and behind damage.
    reached: Lsn | None = None
    for index, (place, piece) in enumerate(zip(places, pieces, strict=True)):
        begins, ends = segment_start(place[1], size), segment_start(place[1] + 1, size)
        contiguous = index > 0 and places[index - 1][1] + 1 == place[1]
        if not contiguous:
            reached = None
        if reached is not None and reached > target:
            return found
        if reached is not None and reached >= ends:
            continue
        if begins > target:
            return found
        if piece.start is None or piece.end is None or not follows(reached, piece.start, begins):
            found.append(_damage(place, piece, reached or begins))
            reached = None
            continue
        if piece.end > target:
            return found
        if piece.end >= ends:
            reached = piece.end
            continue
        following = index + 1 < len(places) and places[index + 1][1] == place[1] + 1
        over = await dump.decode_one(folder, timeline, piece.end) if following and piece.to_the_end else None
        if over is not None and over.start is not None and over.end is not None and follows(piece.end, over.start):
            reached = over.end
            continue
        run = _run(places, index) if over is not None else (place,)
        found.append(_damage(place, over or piece, piece.end, run))
        reached = None
    return found


def follows(end: Lsn | None, start: Lsn, begins: Lsn | None = None) -> bool:
    """Whether a record starts right behind another: at once, or behind the header of a page that the other just filled.

    :param end: where the other ends; None when that is not known.
    :param begins: where the record's segment begins: an end at or before that says nothing about the start.
    """
    if end is None or (begins is not None and end <= begins):
        return True
    return start == end or (end % PAGE == 0 and end < start <= end + LENGTH)


def _run(places: list[Place], index: int) -> tuple[Place, ...]:
    """The segment in which a record begins, and the next one: the damage lies in either."""
    return tuple(places[index : index + 2])


def _damage(place: Place, piece: Decoded, position: Lsn, places: tuple[Place, ...] | None = None) -> Damage:
    return Damage(
        places=places or (place,), reason=f"nothing at {position} can be decoded ({piece.message or 'its record is cut off'})"
    )
