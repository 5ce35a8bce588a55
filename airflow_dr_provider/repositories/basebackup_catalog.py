"""What lies in a folder of pg_basebackup backups: one entry a folder, from manifests, labels and headers."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, BackupKind, SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.wal import merge_ranges, parse_segment
from airflow_dr_provider.errors import BackupError, DrillError, RepositoryError
from airflow_dr_provider.postgresql import backup_label, manifest
from airflow_dr_provider.postgresql.backup_label import BackupLabel, parse_label
from airflow_dr_provider.postgresql.controlfile import PATH, read_system_identifier
from airflow_dr_provider.postgresql.manifest import Manifest, WalRange, read_unchanged
from airflow_dr_provider.postgresql.walheader import LENGTH, WalHeader, parse_header
from airflow_dr_provider.repositories.compression import compression_of, open_file, without_suffix

KIND = "basebackup"
_TABLESPACE = re.compile(r"PG_\d+_\d+")
_SCANNED = 64 << 20
"""Bytes of a tar file that are searched for the label and the version; both stand near its beginning."""


@dataclass
class Found:
    """A backup's folder, read.

    :param tars: tar files by the name of what they hold: ``base``, a tablespace's oid, ``pg_wal``; empty for a plain backup.
    :param own_wal: sizes of the segments inside it, by name.
    :param wal_header: of one of them.
    """

    path: Path
    tars: dict[str, Path] = field(default_factory=dict)
    label: BackupLabel | None = None
    manifest: Manifest | None = None
    major: int | None = None
    own_wal: dict[str, int] = field(default_factory=dict)
    wal_header: WalHeader | None = None
    flaws: list[BackupFlaw] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def flaw(self, flaw: BackupFlaw, note: str) -> None:
        """Note why it can't be a candidate."""
        self.flaws.append(flaw)
        self.notes.append(note)


def list_backups(folder: Path) -> tuple[list[Found], list[str]]:
    """Read every backup of a folder; what isn't one is noted.

    :raises RepositoryError: ``REPOSITORY_UNREACHABLE`` or ``REPOSITORY_EMPTY``.
    """
    notes: list[str] = []
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError as error:
        raise RepositoryError(
            f"The backup folder {folder} is not there. Name the folder that holds the backups in source.repository.backups."
        ) from error
    except NotADirectoryError as error:
        raise RepositoryError(
            f"{folder} is not a folder. Name the folder that holds the backups in source.repository.backups."
        ) from error
    except OSError as error:
        raise RepositoryError(
            f"The backup folder {folder} can't be read: {error.strerror}. Give this account the right to list and enter it."
        ) from error
    if any((folder / name).exists() for name in (backup_label.NAME, manifest.NAME, "PG_VERSION", "base.tar", "base.tar.gz")):
        raise RepositoryError(
            f"{folder} is itself a backup or a data directory. source.repository.backups names the folder that holds one "
            f"folder for each backup.",
            code="REPOSITORY_EMPTY",
        )
    found = []
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "lost+found":
            continue
        if not entry.is_dir():
            notes.append(f"{entry} is no folder and was passed over")
            continue
        if _is_tablespace(entry):
            continue  # a plain backup's, beside it
        found.append(read_backup(entry))
    if not found:
        raise RepositoryError(
            f"The backup folder {folder} holds no backup. Take one with pg_basebackup, or name another folder in "
            f"source.repository.backups.",
            code="REPOSITORY_EMPTY",
        )
    return found, notes


def read_backup(path: Path) -> Found:
    """Read one backup's names, manifest and label; whatever is wrong becomes a flaw."""
    found = Found(path)
    try:
        for entry in path.iterdir():
            stem = without_suffix(entry.name)
            if stem.endswith(".tar") and entry.is_file():
                found.tars[stem.removesuffix(".tar")] = entry
        _read_manifest(found)
        if "base" in found.tars:
            _read_tar(found)
        else:
            _read_plain(found)
    except (OSError, DrillError, tarfile.TarError, EOFError) as error:
        found.flaw(BackupFlaw.UNREADABLE, str(getattr(error, "strerror", None) or error))
    if found.label is None and not found.flaws:
        found.flaw(BackupFlaw.NO_LABEL, "there is no backup_label")
    return found


def _read_manifest(found: Found) -> None:
    path = found.path / manifest.NAME
    if not path.exists():
        unfinished = _unfinished(found)
        if unfinished:
            found.flaw(BackupFlaw.INCOMPLETE, unfinished)
        else:
            found.flaw(BackupFlaw.NO_MANIFEST, "there is no backup_manifest, so nothing tells whether its files are right")
        return
    try:
        found.manifest = read_unchanged(path)
    except BackupError as error:
        flaw = BackupFlaw.MANIFEST_DAMAGED if error.code == "BACKUP_MANIFEST_DAMAGED" else BackupFlaw.UNREADABLE
        found.flaw(flaw, error.message)


def _read_plain(found: Found) -> None:
    label = found.path / backup_label.NAME
    if label.exists():
        found.label = _label(found, label.read_bytes()[: backup_label.SIZE_LIMIT])
    version = found.path / "PG_VERSION"
    found.major = _major(version.read_bytes()[:16]) if version.exists() else None
    wal = found.path / "pg_wal"
    if wal.is_dir():
        found.own_wal = {
            entry.name: entry.stat().st_size for entry in wal.iterdir() if _is_segment(entry.name) and entry.is_file()
        }
        for name in sorted(found.own_wal)[:1]:
            with (wal / name).open("rb") as file:
                found.wal_header = _header(file.read(LENGTH))


def _read_tar(found: Found) -> None:
    wanted = {backup_label.NAME, "PG_VERSION"}
    with open_file(found.tars["base"]) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name in wanted:
                content = archive.extractfile(member)
                data = content.read(backup_label.SIZE_LIMIT) if content is not None else b""
                if name == backup_label.NAME:
                    found.label = _label(found, data)
                else:
                    found.major = _major(data)
                wanted.discard(name)
            if not wanted or member.offset > _SCANNED:
                break
    if "pg_wal" in found.tars:
        with open_file(found.tars["pg_wal"]) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isfile() and _is_segment(member.name):
                    found.own_wal[member.name] = member.size
                    content = archive.extractfile(member) if found.wal_header is None else None
                    found.wal_header = _header(content.read(LENGTH)) if content is not None else found.wal_header


def _is_segment(name: str) -> bool:
    return parse_segment(name, 1 << 20) is not None


def _header(content: bytes) -> WalHeader | None:
    header = parse_header(content)
    return header if isinstance(header, WalHeader) else None


def _is_tablespace(folder: Path) -> bool:
    """Whether a folder holds a tablespace's files and nothing else: folders named after version and catalog version."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    return bool(names) and all(_TABLESPACE.fullmatch(name) for name in names)


def _unfinished(found: Found) -> str:
    """Why a backup without a manifest was never finished; "" when it may well have been."""
    if (found.path / manifest.TEMPORARY_NAME).exists():
        return "its manifest was never finished"
    base = found.tars.get("base")
    if base is None:
        # The server sends the control file last of all (``perform_base_backup`` in ``basebackup.c``).
        begun = (found.path / backup_label.NAME).exists()
        return "it was never finished: its control file is not there" if begun and not (found.path / PATH).exists() else ""
    if compression_of(base.name):
        return ""
    with base.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - 1024))
        # A tar file is made of blocks of 512 bytes, the last two of them zeros.
        whole = length >= 1024 and length % 512 == 0 and not any(file.read())
    return "" if whole else f"it was never finished: {base.name} is cut off"


def _label(found: Found, content: bytes) -> BackupLabel | None:
    try:
        return parse_label(content.decode("utf-8", "replace"))
    except ValueError as error:
        found.flaw(BackupFlaw.NO_LABEL, f"its backup_label can't be used: {error}")
        return None


def _major(content: bytes) -> int | None:
    text = content.decode("ascii", "replace").strip().partition(".")[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else None


# -- entries -----------------------------------------------------------------------------------------------------------
def entries(found: Iterable[Found], histories: Iterable[BackupLabel], segment_size: int) -> tuple[Backup, ...]:
    """The catalog's entries, incremental chains resolved.

    :param histories: backup history files of the archive, which tell when each backup stopped.
    """
    backups = list(found)
    stops = {(entry.start_lsn, entry.label): entry for entry in histories}
    return tuple(_entry(backup, backups, stops, segment_size) for backup in backups)


def _entry(found: Found, everyone: list[Found], stops: dict[tuple[Lsn, str], BackupLabel], segment_size: int) -> Backup:
    label, read = found.label, found.manifest
    flaws, notes = list(found.flaws), list(found.notes)
    chain: tuple[str, ...] = ()
    bases: list[Found] = []
    if label is not None and label.incremental_from is not None:
        bases, complete = _chain(found, everyone)
        chain = tuple(base.path.name for base in bases)
        if not complete:
            flaws.append(BackupFlaw.BASE_MISSING)
            notes.append("a backup that it builds on is not there")
    history = stops.get((label.start_lsn, label.label)) if label is not None else None
    last = max(read.wal_ranges, key=lambda part: part.end) if read is not None and read.wal_ranges else None
    if read is not None and read.wal_ranges and label is not None and label.start_lsn != min(read.wal_ranges, key=_start).start:
        flaws.append(BackupFlaw.MANIFEST_DAMAGED)
        notes.append("its manifest and its backup_label name different starts")
    stop_lsn = last.end if last is not None else history.stop_lsn if history is not None else None
    if read is not None and stop_lsn is None and not flaws:
        flaws.append(BackupFlaw.INCOMPLETE)
        notes.append("nothing tells where its WAL stops")
    return Backup(
        id=found.path.name,
        repository=KIND,
        kind=BackupKind.INCREMENTAL if label is not None and label.incremental_from is not None else BackupKind.FULL,
        chain=chain,
        system_identifier=_identifier(found),
        server_version=found.major,
        timeline=label.timeline if label is not None else None,
        start_lsn=label.start_lsn if label is not None else None,
        stop_lsn=stop_lsn,
        start_time=_start_time(found),
        stop_time=_stop_time(found, history),
        size_bytes=sum(member.manifest.size_bytes for member in (found, *bases) if member.manifest is not None),
        own_wal=_own_wal(found, segment_size),
        flaws=tuple(dict.fromkeys(flaws)),
        note="; ".join(notes),
    )


def _start(part: WalRange) -> Lsn:
    return part.start


def _chain(found: Found, everyone: list[Found]) -> tuple[list[Found], bool]:
    """The backups that an incremental one needs, nearest first, and whether they lead to a full one."""
    chain: list[Found] = []
    here = found
    while here.label is not None and here.label.incremental_from is not None:
        wanted, cluster = here.label.incremental_from, _identifier(here)
        base = next(
            (
                other
                for other in everyone
                if other is not here
                and other.label is not None
                and other.label.start_lsn == wanted
                and other.label.timeline == here.label.incremental_timeline
                and _identifier(other) == cluster
            ),
            None,
        )
        if base is None or base in chain:
            return chain, False
        chain.append(base)
        here = base
    return chain, True


def _identifier(found: Found) -> int | None:
    if found.manifest is not None and found.manifest.system_identifier is not None:
        return found.manifest.system_identifier
    if not found.tars:
        return read_system_identifier(found.path)
    # The control file is the last member of its archive; the backup's own WAL tells sooner.
    return found.wal_header.system_identifier if found.wal_header is not None else None


def _start_time(found: Found) -> datetime | None:
    """When the backup started, by its label; the manifest tells, in GMT, when the label was written, soon after."""
    if found.label is None or found.label.start_time is None:
        return None
    entry = found.manifest.file(backup_label.NAME) if found.manifest is not None else None
    written = manifest.parse_time(entry.modified) if entry is not None else None
    return found.label.start_time.in_utc(not_after=written) or written


def _stop_time(found: Found, history: BackupLabel | None) -> datetime | None:
    """When the backup stopped: by the archive's history file, else by the newest time in the manifest, else its start."""
    start = _start_time(found)
    if history is not None and history.stop_time is not None:
        told = history.stop_time.in_utc()
        if told is None and start is not None and history.start_time is not None:
            told = start + (history.stop_time.local - history.start_time.local)  # both are shown in the same zone
        if told is not None:
            return told
    newest = found.manifest.newest if found.manifest is not None else None
    return max((time for time in (newest, start) if time is not None), default=None)


def _own_wal(found: Found, segment_size: int) -> tuple[SegmentRange, ...]:
    return merge_ranges(
        place
        for name, size in found.own_wal.items()
        if size == segment_size and (place := parse_segment(name, segment_size)) is not None
    )
