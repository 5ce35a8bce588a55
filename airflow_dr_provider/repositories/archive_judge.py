"""Judge a WAL archive: which of its segments can be used, by size and header, and which timelines its histories tell of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import nlargest, nsmallest
from itertools import islice
from typing import NamedTuple

from airflow_dr_provider.domain.catalog import SegmentRange, TimelineFork, WalArchive
from airflow_dr_provider.domain.segment_groups import SegmentGroups
from airflow_dr_provider.domain.wal import (
    count_segments,
    parse_history,
    parse_segment,
    ranges_of_names,
    segment_name,
    segment_start,
    subtract_ranges,
    union_ranges,
)
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.postgresql.walheader import WalHeader
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, read_header, read_history

DEFAULT_SEGMENT_SIZE = 16 << 20
_SIZES = frozenset(1 << power for power in range(20, 31))
_READERS = 8
_SAMPLE = 8
_BATCH = 4096


def find_segment_size(listing: ArchiveListing, *, otherwise: int | None = None) -> int:
    """The cluster's segment size, in bytes, as most of a sample of headers tell; else as most files' sizes do.

    :param otherwise: what a backup's own WAL tells, for an archive that tells nothing.
    """
    sample = dict.fromkeys((*nsmallest(_SAMPLE // 2, listing.segments), *sorted(nlargest(_SAMPLE, listing.segments))))
    headers = [header for name in sample if isinstance(header := read_header(listing.segments[name]), WalHeader)]
    votes = Counter(header.segment_size for header in headers)
    if not votes:
        votes = Counter(file.size for file in listing.segments.values() if not file.compression and file.size in _SIZES)
    if votes:
        return max(votes, key=lambda size: (votes[size], size == otherwise, size))
    return otherwise or DEFAULT_SEGMENT_SIZE


def read_archive(
    listing: ArchiveListing, segment_size: int, *, oldest: int | None, identifiers: Collection[int]
) -> tuple[WalArchive, int | None]:
    """Judge the segments by size and header, and read the histories.

    :param oldest: number of the first segment that any usable backup needs; headers before it are not read. None: all are.
    :param identifiers: the system identifiers of the backups.
    :return: the archive, and the system identifier of the cluster that it belongs to, as far as that can be told. What was
        passed over is added to the listing's notes.
    """
    seen = SegmentGroups[_Look]()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="wal-headers") as pool:
        files = _wanted(listing, segment_size, oldest, seen)
        while batch := list(islice(files, _BATCH)):
            headers = pool.map(lambda item: read_header(item[1]), batch)
            for (place, _), header in zip(batch, headers, strict=True):
                seen.add(_look(place, header, segment_size), place)
    looks = seen.ranges()
    identifier = _identifier(looks, identifiers)
    sound: list[SegmentRange] = []
    reasons: dict[str, list[SegmentRange]] = {}
    for look, ranges in looks.items():
        reason = _judge(look, segment_size, identifier)
        (reasons.setdefault(reason, []) if reason else sound).extend(ranges)
    flawed = union_ranges(*reasons.values())
    _note_reasons(listing, reasons, segment_size)
    archive = WalArchive(
        segment_size=segment_size,
        ranges=union_ranges(sound),
        partial=subtract_ranges(ranges_of_names(listing.partial, segment_size), sound),
        flawed=flawed,
        forks=_read_forks(listing),
    )
    return archive, identifier


class _Look(NamedTuple):
    """What one glance at a segment shows; most segments of an archive look the same.

    :param wrong: what is wrong with it whatever cluster it is of, as the end of a sentence.
    :param system_identifier: and the rest, of its header; None where that was not read.
    """

    wrong: str = ""
    system_identifier: int | None = None
    segment_size: int | None = None
    elsewhere: bool = False
    younger: int | None = None


def _wanted(
    listing: ArchiveListing, segment_size: int, oldest: int | None, seen: SegmentGroups[_Look]
) -> Iterator[tuple[tuple[int, int], ArchiveFile]]:
    """The segments whose headers are to be read; the others are seen without."""
    for name, file in listing.segments.items():
        place = parse_segment(name, segment_size)
        if place is None:
            listing.notes.append(f"{file.path} has a name that no segment of {segment_size} bytes has; it was passed over")
        elif not file.size or (not file.compression and file.size != segment_size):
            seen.add(_Look(wrong=f"{_size_words(file.size)} instead of {segment_size} bytes"), place)
        elif oldest is not None and place[1] < oldest:
            seen.add(_Look(), place)
        else:
            yield place, file


def _size_words(size: int) -> str:
    return "is empty" if size == 0 else f"has {size} bytes"


def _look(place: tuple[int, int], header: WalHeader | str, segment_size: int) -> _Look:
    if isinstance(header, str):
        return _Look(wrong=header)
    return _Look(
        system_identifier=header.system_identifier,
        segment_size=header.segment_size,
        elsewhere=header.page_start != segment_start(place[1], segment_size),
        younger=header.timeline if header.timeline > place[0] else None,
    )


def _identifier(looks: Mapping[_Look, Sequence[SegmentRange]], known: Collection[int]) -> int | None:
    """The cluster that the archive is of: of those that the backups are of, the one with most segments."""
    votes: Counter[int] = Counter()
    for look, ranges in looks.items():
        if look.system_identifier is not None:
            votes[look.system_identifier] += count_segments(ranges)
    mine = [identifier for identifier in known if votes[identifier]]
    if mine:
        return max(mine, key=lambda identifier: (votes[identifier], identifier))
    if known:
        return next(iter(known)) if len(set(known)) == 1 else None
    return max(votes, key=lambda identifier: (votes[identifier], identifier)) if votes else None


def judge_header(place: tuple[int, int], header: WalHeader | str, segment_size: int, identifier: int | None) -> str:
    """What is wrong with a segment's header, as the end of a sentence; "" for nothing."""
    return _judge(_look(place, header, segment_size), segment_size, identifier)


def _judge(look: _Look, segment_size: int, identifier: int | None) -> str:
    """What is wrong with segments that look like this, "" for nothing."""
    if look.wrong or look.system_identifier is None:
        return look.wrong
    if identifier is not None and look.system_identifier != identifier:
        return f"is of another cluster (system identifier {look.system_identifier})"
    if look.segment_size != segment_size:
        return f"is of a cluster with segments of {look.segment_size} bytes"
    if look.elsewhere:
        return "holds another segment's WAL than its name says"
    if look.younger is not None:
        return f"holds WAL of timeline {look.younger}"
    return ""


def _note_reasons(listing: ArchiveListing, reasons: Mapping[str, Sequence[SegmentRange]], segment_size: int) -> None:
    merged = {reason: union_ranges(ranges) for reason, ranges in reasons.items()}
    for reason, ranges in sorted(merged.items(), key=lambda item: (item[1][0].timeline, item[1][0].first)):
        first, count = segment_name(ranges[0].timeline, ranges[0].first, segment_size), count_segments(ranges)
        others = f" (and {count - 1} more)" if count > 1 else ""
        listing.notes.append(f"WAL segment {first}{others} can't be used: it {reason.removeprefix('it ')}")


def _read_forks(listing: ArchiveListing) -> tuple[TimelineFork, ...]:
    forks: dict[tuple[int, int, int], TimelineFork] = {}
    for timeline in sorted(listing.histories):
        file = listing.histories[timeline]
        try:
            for fork in parse_history(timeline, read_history(file)):
                forks.setdefault((fork.timeline, fork.parent, fork.switch_lsn), fork)
        except (ValueError, DrillError) as error:
            listing.notes.append(f"the timeline history {file.path} can't be used: {error}")
    return tuple(forks.values())
