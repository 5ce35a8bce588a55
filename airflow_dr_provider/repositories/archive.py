"""What lies in a WAL archive: a folder of segments, flat or one level deep, plain or compressed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from airflow_dr_provider.domain.catalog import TimelineFork, WalArchive
from airflow_dr_provider.domain.wal import (
    history_name,
    history_timeline,
    is_backup_history,
    merge_ranges,
    parse_history,
    parse_segment,
    segment_name,
    segment_start,
)
from airflow_dr_provider.errors import ArchiveError, DrillError, RepositoryError
from airflow_dr_provider.postgresql.backup_label import SIZE_LIMIT as LABEL_LIMIT
from airflow_dr_provider.postgresql.backup_label import BackupLabel, parse_label
from airflow_dr_provider.postgresql.walheader import LENGTH, WalHeader, parse_header
from airflow_dr_provider.repositories.compression import compression_of, open_file, without_suffix
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.transfer import copy_content

DEFAULT_SEGMENT_SIZE = 16 << 20
_SIZES = frozenset(1 << power for power in range(20, 31))
_HISTORY_LIMIT = 1 << 20
_READERS = 8
_SAMPLE = 8


class ArchiveFile(NamedTuple):
    """One file of the archive.

    :param size: bytes on disk.
    :param compression: "" for a plain file.
    """

    path: Path
    size: int
    compression: str


@dataclass
class ArchiveListing:
    """The names in an archive, nothing opened yet.

    :param segments: by segment name; where one is there twice the plain file, else the one in the folder itself.
    :param partial: names of segments of which only the beginning is there.
    :param histories: by timeline.
    :param labels: backup history files.
    """

    folder: Path
    segments: dict[str, ArchiveFile] = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)
    histories: dict[int, ArchiveFile] = field(default_factory=dict)
    labels: list[ArchiveFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def segment(self, timeline: int, number: int, segment_size: int) -> ArchiveFile | None:
        """The file of a segment, None when it isn't there."""
        return self.segments.get(segment_name(timeline, number, segment_size))


# -- listing -----------------------------------------------------------------------------------------------------------
def list_archive(folder: Path) -> ArchiveListing:
    """Read an archive's names and sizes.

    Sub-folders are looked into when their names are a timeline or a timeline and a log number, as tools make them.

    :raises RepositoryError: ``ARCHIVE_MISSING``, or ``REPOSITORY_UNREACHABLE`` when it may not be read.
    """
    listing = ArchiveListing(folder)
    strangers: list[str] = []
    folders: list[str] = []
    try:
        _list_folder(listing, folder, strangers, folders)
        for name in sorted(folders):
            if len(name) in (8, 16) and set(name) <= set("0123456789ABCDEF"):
                _list_folder(listing, folder / name, strangers, [])
            else:
                strangers.append(f"{name}/")
    except FileNotFoundError as error:
        raise RepositoryError(
            f"The WAL archive {error.filename} is not there. Name the folder that archive_command writes to in "
            f"source.repository.archive.",
            code="ARCHIVE_MISSING",
        ) from error
    except NotADirectoryError as error:
        raise RepositoryError(
            f"The WAL archive {error.filename} is not a folder. Name the folder that archive_command writes to in "
            f"source.repository.archive.",
            code="ARCHIVE_MISSING",
        ) from error
    except OSError as error:
        raise RepositoryError(
            f"The WAL archive {error.filename or folder} can't be read: {error.strerror}. Give this account the right to list "
            f"and enter it (r-x), or name another folder in source.repository.archive."
        ) from error
    if strangers:
        shown = ", ".join(sorted(strangers)[:5])
        listing.notes.append(f"{len(strangers)} things in the WAL archive {folder} are no WAL and were passed over: {shown}")
    return listing


def _list_folder(listing: ArchiveListing, folder: Path, strangers: list[str], folders: list[str]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "lost+found":
                continue
            if entry.is_dir():
                folders.append(entry.name)
                continue
            try:
                size = entry.stat().st_size
            except FileNotFoundError:
                continue  # a link to nowhere, or archived and removed just now
            if not _sort_in(listing, ArchiveFile(Path(entry.path), size, compression_of(entry.name)), entry.name):
                strangers.append(entry.name)


def _sort_in(listing: ArchiveListing, file: ArchiveFile, name: str) -> bool:
    # pg_receivewal puts .partial after the compression's ending.
    partial = name.removesuffix(".partial")
    stem = without_suffix(partial) if file.compression or partial != name else name
    if len(stem) == 24 and parse_segment(stem, 1 << 20) is not None:
        if partial != name:
            listing.partial.add(stem)
        elif (known := listing.segments.get(stem)) is None or (known.compression and not file.compression):
            listing.segments[stem] = file
        return True
    if stem.endswith(".partial") and parse_segment(stem.removesuffix(".partial"), 1 << 20) is not None:
        listing.partial.add(stem.removesuffix(".partial"))
        return True
    if is_backup_history(stem):
        listing.labels.append(file)
        return True
    timeline = history_timeline(stem)
    if timeline is not None:
        listing.histories.setdefault(timeline, file)
        return True
    return False


# -- content -----------------------------------------------------------------------------------------------------------
def read_header(file: ArchiveFile) -> WalHeader | str:
    """The header of a segment's first page, or what is wrong with it as the end of a sentence."""
    try:
        with open_file(file.path) as stream:
            return parse_header(stream.read(LENGTH))
    except OSError as error:
        return f"can't be read: {error.strerror}"
    except DrillError as error:
        return f"can't be read: {error.message}"


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
        elif not file.compression and file.size != segment_size:
            reasons[place] = f"{_size_words(file.size)} instead of {segment_size} bytes"
        elif oldest is not None and place[1] < oldest:
            sound.append(place)
        else:
            wanted.append((place, file))
    with ThreadPoolExecutor(_READERS, thread_name_prefix="wal-headers") as pool:
        headers = list(pool.map(lambda item: read_header(item[1]), wanted))
    identifier = _identifier(headers, identifiers)
    for (place, _), header in zip(wanted, headers, strict=True):
        reason = _judge(place, header, segment_size, identifier)
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


def _judge(place: tuple[int, int], header: WalHeader | str, segment_size: int, identifier: int | None) -> str:
    """What is wrong with a segment's header, "" for nothing."""
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


def read_history(file: ArchiveFile) -> str:
    """The text of a history file.

    :raises ArchiveError: when it can't be read or is too large to be one.
    """
    try:
        with open_file(file.path) as stream:
            content = stream.read(_HISTORY_LIMIT + 1)
    except OSError as error:
        raise ArchiveError(f"{file.path} can't be read: {error.strerror}.") from error
    if len(content) > _HISTORY_LIMIT:
        raise ArchiveError(f"{file.path} is too large for a timeline history. Put the right file there.")
    return content.decode("utf-8", "replace")


def read_labels(listing: ArchiveListing) -> list[BackupLabel]:
    """Every backup history file that can be read; the others are noted."""
    labels = []
    for file in listing.labels:
        try:
            with open_file(file.path) as stream:
                labels.append(parse_label(stream.read(LABEL_LIMIT).decode("utf-8", "replace")))
        except (OSError, ValueError, DrillError) as error:
            listing.notes.append(f"the backup history file {file.path} can't be used: {error}")
    return labels


# -- segments as plain files -------------------------------------------------------------------------------------------
@contextlib.asynccontextmanager
async def plain_segments(
    listing: ArchiveListing, places: Iterable[tuple[int, int]], segment_size: int, *, timeline: int
) -> AsyncIterator[list[Path]]:
    """Segments side by side in a folder that ends with the block, all under names of one timeline.

    Plain ones are links, compressed ones copies. ``pg_waldump`` then reads through a change of timeline.

    :raises ArchiveError: when one isn't there or can't be decompressed.
    """
    folder = Path(tempfile.mkdtemp(prefix="dr-wal-"))
    try:
        paths = []
        for place in places:
            file = listing.segment(*place, segment_size)
            if file is None:
                raise ArchiveError(f"WAL segment {segment_name(*place, segment_size)} is no longer in {listing.folder}.")
            target = folder / segment_name(timeline, place[1], segment_size)
            if file.compression:
                await in_thread(unpack_segment, file, target, segment_size)
            else:
                target.symlink_to(file.path)
            paths.append(target)
        yield paths
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack_segment(file: ArchiveFile, target: Path, segment_size: int) -> int:
    """Write a segment's content; all or nothing.

    :return: bytes written.
    :raises ArchiveError: ``WAL_SEGMENT_DAMAGED`` when it can't be decompressed or isn't as long as a segment.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with open_file(file.path) as source, temporary.open("wb") as sink:
            written = copy_content(source, sink, limit=segment_size + 1)
        if written != segment_size:
            raise ArchiveError(
                f"{file.path} holds {'more than ' if written > segment_size else ''}{min(written, segment_size)} bytes of WAL; "
                f"a segment has {segment_size}.",
                code="WAL_SEGMENT_DAMAGED",
            )
        temporary.rename(target)
    except DrillError as error:
        raise ArchiveError(error.message, code="WAL_SEGMENT_DAMAGED") from error
    finally:
        temporary.unlink(missing_ok=True)
    return written


def copy_history(listing: ArchiveListing, timeline: int, destination: Path) -> int:
    """Write a timeline's history.

    :return: bytes written.
    :raises ArchiveError: when it isn't there or can't be read.
    """
    file = listing.histories.get(timeline)
    if file is None:
        raise ArchiveError(
            f"The history of timeline {timeline}, {history_name(timeline)}, is not in {listing.folder}, and recovery needs it. "
            f"Put it back from the server's pg_wal."
        )
    content = read_history(file).encode()
    (destination / history_name(timeline)).write_bytes(content)
    return len(content)
