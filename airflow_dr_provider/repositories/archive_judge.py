"""Judge a WAL archive: which of its segments can be used, by size and header, and which timelines its histories tell of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor

from airflow_dr_provider.domain.catalog import TimelineFork, WalArchive
from airflow_dr_provider.domain.wal import merge_ranges, parse_history, parse_segment, segment_name, segment_start
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.postgresql.walheader import WalHeader
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, read_header, read_history

DEFAULT_SEGMENT_SIZE = 16 << 20
_SIZES = frozenset(1 << power for power in range(20, 31))
_READERS = 8
_SAMPLE = 8


def find_segment_size(listing: ArchiveListing, *, otherwise: int | None = None) -> int:
    """The cluster's segment size, in bytes, as most of a sample of headers tell; else as most files' sizes do.

    :param otherwise: what a backup's own WAL tells, for an archive that tells nothing.
    """
    names = sorted(listing.segments)
    sample = dict.fromkeys((*names[: _SAMPLE // 2], *names[-_SAMPLE:]))
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
    wanted: list[tuple[tuple[int, int], ArchiveFile]] = []
    sound: list[tuple[int, int]] = []
    reasons: dict[tuple[int, int], str] = {}
    for name, file in listing.segments.items():
        place = parse_segment(name, segment_size)
        if place is None:
            listing.notes.append(f"{file.path} has a name that no segment of {segment_size} bytes has; it was passed over")
        elif not file.size or (not file.compression and file.size != segment_size):
            reasons[place] = f"{_size_words(file.size)} instead of {segment_size} bytes"
        elif oldest is not None and place[1] < oldest:
            sound.append(place)
        else:
            wanted.append((place, file))
    with ThreadPoolExecutor(_READERS, thread_name_prefix="wal-headers") as pool:
        headers = list(pool.map(lambda item: read_header(item[1]), wanted))
    identifier = _identifier(headers, identifiers)
    for (place, _), header in zip(wanted, headers, strict=True):
        reason = judge_header(place, header, segment_size, identifier)
        if reason:
            reasons[place] = reason
        else:
            sound.append(place)
    _note_reasons(listing, reasons, segment_size)
    partial = {place for name in listing.partial if (place := parse_segment(name, segment_size)) is not None}
    archive = WalArchive(
        segment_size=segment_size,
        ranges=merge_ranges(sound),
        partial=merge_ranges(partial - set(sound)),
        flawed=merge_ranges(reasons),
        forks=_read_forks(listing),
    )
    return archive, identifier


def _size_words(size: int) -> str:
    return "is empty" if size == 0 else f"has {size} bytes"


def _identifier(headers: Iterable[WalHeader | str], known: Collection[int]) -> int | None:
    """The cluster that the archive is of: of those that the backups are of, the one with most segments."""
    votes = Counter(header.system_identifier for header in headers if isinstance(header, WalHeader))
    mine = [identifier for identifier in known if votes[identifier]]
    if mine:
        return max(mine, key=lambda identifier: (votes[identifier], identifier))
    if known:
        return next(iter(known)) if len(set(known)) == 1 else None
    return max(votes, key=lambda identifier: (votes[identifier], identifier)) if votes else None


def judge_header(place: tuple[int, int], header: WalHeader | str, segment_size: int, identifier: int | None) -> str:
    """What is wrong with a segment's header, as the end of a sentence; "" for nothing."""
    if isinstance(header, str):
        return header
    timeline, number = place
    if identifier is not None and header.system_identifier != identifier:
        return f"is of another cluster (system identifier {header.system_identifier})"
    if header.segment_size != segment_size:
        return f"is of a cluster with segments of {header.segment_size} bytes"
    if header.page_start != segment_start(number, segment_size):
        return "holds another segment's WAL than its name says"
    if header.timeline > timeline:
        return f"holds WAL of timeline {header.timeline}"
    return ""


def _note_reasons(listing: ArchiveListing, reasons: dict[tuple[int, int], str], segment_size: int) -> None:
    grouped: dict[str, list[tuple[int, int]]] = {}
    for place, reason in sorted(reasons.items()):
        grouped.setdefault(reason, []).append(place)
    for reason, places in grouped.items():
        first = segment_name(*places[0], segment_size)
        others = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
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
