"""The files of a WAL archive, wherever they lie: by what they are called, and how their content is read."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from airflow_dr_provider.domain.wal import history_name, history_timeline, is_backup_history, parse_segment, segment_name
from airflow_dr_provider.errors import ArchiveError, DrillError, RepositoryError
from airflow_dr_provider.postgresql.backup_label import SIZE_LIMIT as LABEL_LIMIT
from airflow_dr_provider.postgresql.backup_label import BackupLabel, parse_label
from airflow_dr_provider.postgresql.walheader import LENGTH, WalHeader, parse_header
from airflow_dr_provider.repositories.archive_file import ArchiveFile as ArchiveFile
from airflow_dr_provider.repositories.compression import without_suffix
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.segment_files import SegmentFiles
from airflow_dr_provider.repositories.transfer import copy_content

_HISTORY_LIMIT = 1 << 20


@dataclass
class ArchiveListing:
    """The names in an archive, nothing opened yet.

    :param segments: by segment name; where one is there twice the plain file, else the one that was listed first.
    :param partial: names of segments of which only the beginning is there.
    :param histories: by timeline.
    :param labels: backup history files.
    """

    folder: Path
    segments: MutableMapping[str, ArchiveFile] = field(default_factory=SegmentFiles)
    partial: set[str] = field(default_factory=set)
    histories: dict[int, ArchiveFile] = field(default_factory=dict)
    labels: list[ArchiveFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def segment(self, timeline: int, number: int, segment_size: int) -> ArchiveFile | None:
        """The file of a segment, None when it isn't there."""
        return self.segments.get(segment_name(timeline, number, segment_size))


def sort_in(listing: ArchiveListing, file: ArchiveFile, name: str) -> bool:
    """Put a file into a listing by its name.

    :param name: as PostgreSQL's tools would have written it, the ending of its compression included.
    :return: False for what doesn't belong into an archive.
    """
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
        with file.open() as stream:
            found = parse_header(stream.read(LENGTH))
    except OSError as error:
        found = f"can't be read: {error.strerror}"
    except DrillError as error:
        found = f"can't be read: {error.message}"
    if isinstance(found, str) and file.spare is not None and isinstance(spare := read_header(file.spare), WalHeader):
        return spare
    return found


def read_history(file: ArchiveFile) -> str:
    """The text of a history file.

    :raises ArchiveError: when it can't be read or is too large to be one.
    """
    try:
        with file.open() as stream:
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
            with file.open() as stream:
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
            if not file.plain:
                await in_thread(unpack_segment, file, target, segment_size)
            else:
                target.symlink_to(file.path)
            paths.append(target)
        yield paths
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack_segment(file: ArchiveFile, target: Path, segment_size: int) -> int:
    """Write a segment's content, from its spare where it can't be had otherwise; all or nothing.

    :return: bytes written.
    :raises ArchiveError: ``WAL_SEGMENT_DAMAGED`` when it can't be decompressed or isn't as long as a segment.
    :raises RepositoryError: when the repository can't be reached, which says nothing of the segment.
    """
    try:
        return _unpack(file, target, segment_size)
    except (ArchiveError, OSError):
        if file.spare is None:
            raise
    return unpack_segment(file.spare, target, segment_size)


def _unpack(file: ArchiveFile, target: Path, segment_size: int) -> int:
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        digest = hashlib.sha1(usedforsecurity=False)
        with file.open() as source, temporary.open("wb") as sink:
            written = copy_content(source, sink, digest=digest if file.sha1 else None, limit=segment_size + 1)
        if written != segment_size:
            raise ArchiveError(
                f"{file.path} holds {'more than ' if written > segment_size else ''}{min(written, segment_size)} bytes of WAL; "
                f"a segment has {segment_size}.",
                code="WAL_SEGMENT_DAMAGED",
            )
        if file.sha1 and digest.hexdigest() != file.sha1:
            raise ArchiveError(f"{file.path} doesn't hold what its name says it does.", code="WAL_SEGMENT_DAMAGED")
        temporary.rename(target)
    except RepositoryError:
        raise
    except DrillError as error:
        raise ArchiveError(error.message, code="WAL_SEGMENT_DAMAGED", facts=error.facts) from error
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
