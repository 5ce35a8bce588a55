"""What lies in a folder of pg_basebackup backups: one entry a folder, from manifests, labels and headers."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, BackupKind, SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.wal import merge_ranges, parse_segment
from airflow_dr_provider.errors import BackupError, DrillError, RepositoryError
from airflow_dr_provider.postgresql import backup_label, manifest
from airflow_dr_provider.postgresql.backup_label import BackupLabel, parse_label
from airflow_dr_provider.postgresql.controlfile import read_system_identifier
from airflow_dr_provider.postgresql.manifest import Manifest, read_manifest
from airflow_dr_provider.repositories.compression import open_file, without_suffix

KIND = "basebackup"
_SCANNED = 64 << 20
"""Bytes of a tar file that are searched for the label and the version; both stand near its beginning."""


@dataclass
class Found:
    """A backup's folder, read.

    :param tars: tar files by the name of what they hold: ``base``, a tablespace's oid, ``pg_wal``; empty for a plain backup.
    """

    path: Path
    tars: dict[str, Path] = field(default_factory=dict)
    label: BackupLabel | None = None
    manifest: Manifest | None = None
    major: int | None = None
    own_wal: tuple[str, ...] = ()
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
    if (folder / backup_label.NAME).exists() or (folder / manifest.NAME).exists():
        raise RepositoryError(
            f"{folder} is itself a backup. source.repository.backups names the folder that holds one folder for each backup.",
            code="REPOSITORY_EMPTY",
        )
    found = []
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "lost+found":
            continue
        if not entry.is_dir():
            notes.append(f"{entry} is no folder and was passed over")
            continue
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
        if (found.path / manifest.TEMPORARY_NAME).exists():
            found.flaw(BackupFlaw.INCOMPLETE, "its manifest was never finished")
        else:
            # pg_basebackup writes the manifest last; without it nobody can tell an interrupted backup from a whole one.
            found.flaw(BackupFlaw.NO_MANIFEST, "there is no backup_manifest")
        return
    try:
        found.manifest = read_manifest(path)
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
        found.own_wal = tuple(sorted(entry.name for entry in wal.iterdir() if len(entry.name) == 24 and entry.is_file()))


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
            found.own_wal = tuple(sorted(member.name for member in archive if member.isfile() and len(member.name) == 24))


def _label(found: Found, content: bytes) -> BackupLabel | None:
    try:
        return parse_label(content.decode("utf-8", "replace"))
    except ValueError as error:
        found.flaw(BackupFlaw.NO_LABEL, f"its backup_label can't be used: {error}")
        return None


def _major(content: bytes) -> int | None:
    text = content.decode("ascii", "replace").strip().partition(".")[0]
    return int(text) if text.isdigit() and len(text) < 4 else None


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
    if label is not None and label.incremental_from is not None:
        bases, complete = _chain(found, everyone)
        chain = tuple(base.path.name for base in bases)
        if not complete:
            flaws.append(BackupFlaw.BASE_MISSING)
            notes.append("a backup that it builds on is not there")
    history = stops.get((label.start_lsn, label.label)) if label is not None else None
    last = max(read.wal_ranges, key=lambda part: part.end) if read is not None and read.wal_ranges else None
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
        start_time=label.start_time.in_utc(not_after=_touched(found)) if label is not None and label.start_time else None,
        stop_time=_stop_time(found, history),
        size_bytes=read.size_bytes if read is not None else 0,
        own_wal=_own_wal(found, segment_size),
        flaws=tuple(dict.fromkeys(flaws)),
        note="; ".join(notes),
    )


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
    return read_system_identifier(found.path) if not found.tars else None


def _touched(found: Found) -> datetime | None:
    """When the manifest, which is written last, was: of use only where nothing better is known."""
    try:
        return datetime.fromtimestamp((found.path / manifest.NAME).stat().st_mtime, UTC)
    except OSError:
        return None


def _stop_time(found: Found, history: BackupLabel | None) -> datetime | None:
    """When the backup stopped: by the archive's history file, else by the newest time in the manifest."""
    newest = found.manifest.newest if found.manifest is not None else None
    if history is not None and history.stop_time is not None:
        told = history.stop_time.in_utc(not_after=_touched(found))
        if told is not None:
            return told
    return newest


def _own_wal(found: Found, segment_size: int) -> tuple[SegmentRange, ...]:
    return merge_ranges(place for name in found.own_wal if (place := parse_segment(name, segment_size)) is not None)
