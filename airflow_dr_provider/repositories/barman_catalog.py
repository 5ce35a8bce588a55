"""The entries of a Barman catalog: what Barman says of a backup, held against what lies in its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, BackupKind, Catalog
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.wal import parse_segment
from airflow_dr_provider.postgresql import backup_label, controlfile
from airflow_dr_provider.repositories.archive_judge import find_segment_size, read_archive
from airflow_dr_provider.repositories.barman_backup import COPIED, FAILED, UNFINISHED, BarmanBackup
from airflow_dr_provider.repositories.basebackup_catalog import read_backup
from airflow_dr_provider.repositories.wal_files import ArchiveListing

KIND = "barman"
POSTGRES = "postgres"


@dataclass
class Entry:
    """A backup as the catalog will show it.

    :param stop_lsn: where it is consistent by the server's own manifest, where there is one.
    """

    told: BarmanBackup
    stop_lsn: Lsn | None = None
    flaws: list[BackupFlaw] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def flaw(self, flaw: BackupFlaw, note: str) -> None:
        """Note why it can't be a candidate."""
        self.flaws.append(flaw)
        self.notes.append(note)


# -- one backup --------------------------------------------------------------------------------------------------------
def judge_told(told: BarmanBackup) -> Entry:
    """What Barman itself says against a backup. That it waits for WAL says nothing: the archive does."""
    entry = Entry(told)
    if told.status == FAILED:
        entry.flaw(BackupFlaw.ERROR_FLAG, f"Barman calls it failed: {told.error or 'it does not say why'}")
    elif told.status in UNFINISHED:
        entry.flaw(BackupFlaw.INCOMPLETE, f"Barman calls it {told.status}")
    elif told.status not in COPIED:
        entry.flaw(BackupFlaw.UNREADABLE, f"its status {told.status[:40]!r} is unknown")
    elif told.mode.startswith("snapshot"):
        entry.flaw(BackupFlaw.UNREADABLE, f"it is a snapshot of disks ({told.mode}), which can't be copied into a sandbox")
    elif told.encryption:
        entry.flaw(BackupFlaw.UNREADABLE, f"it is encrypted ({told.encryption}), which this adapter does not undo")
    elif None in (told.start_lsn, told.stop_lsn, told.timeline, told.server_version):
        entry.flaw(BackupFlaw.INCOMPLETE, "Barman does not tell where its WAL starts and stops, or its version")
    return entry


def judge_folder(entry: Entry, folder: Path) -> None:
    """What the backup's folder says against it, for one that Barman calls good: names, manifest, label."""
    if entry.flaws:
        return
    if not folder.is_dir():
        entry.flaw(BackupFlaw.UNREADABLE, f"{folder} is not there, or this account may not enter it")
    elif entry.told.mode == POSTGRES:
        _judge_basebackup(entry, folder)
    else:
        _judge_copy(entry, folder)


def _judge_basebackup(entry: Entry, folder: Path) -> None:
    found = read_backup(folder)
    entry.flaws += found.flaws
    entry.notes += found.notes
    if found.manifest is not None:
        entry.stop_lsn = max((part.end for part in found.manifest.wal_ranges), default=None)
    if found.label is not None and found.label.start_lsn != entry.told.start_lsn:
        entry.flaw(
            BackupFlaw.MANIFEST_DAMAGED,
            f"Barman says that it starts at {entry.told.start_lsn}, its backup_label {found.label.start_lsn}",
        )


def _judge_copy(entry: Entry, folder: Path) -> None:
    """A backup that rsync made: there is no promise to hold it against, but without these files it is none."""
    label = folder / backup_label.NAME
    try:
        for name in ("PG_VERSION", controlfile.PATH):
            if not (folder / name).is_file():
                entry.flaw(BackupFlaw.INCOMPLETE, f"its {name} is not there")
        text = label.read_bytes()[: backup_label.SIZE_LIMIT].decode("utf-8", "replace")
        start = backup_label.parse_label(text).start_lsn
    except FileNotFoundError:
        entry.flaw(BackupFlaw.NO_LABEL, "there is no backup_label")
    except OSError as error:
        entry.flaw(BackupFlaw.UNREADABLE, f"{error.filename}: {error.strerror}")
    except ValueError as error:
        entry.flaw(BackupFlaw.NO_LABEL, f"its backup_label can't be used: {error}")
    else:
        if start != entry.told.start_lsn:
            entry.flaw(BackupFlaw.UNREADABLE, f"Barman says that it starts at {entry.told.start_lsn}, its backup_label {start}")


# -- all of them -------------------------------------------------------------------------------------------------------
def make_catalog(
    entries: Iterable[Entry], listing: ArchiveListing, *, identity: str, notes: Iterable[str], headers: int | None = None
) -> Catalog:
    """The catalog: chains resolved, the archive judged.

    :param headers: how many segments' headers are read at most, from the newest back; None for all that a backup needs.
    """
    known = {entry.told.id: entry for entry in entries}
    backups = tuple(_backup(entry, known) for _, entry in sorted(known.items()))
    size = find_segment_size(listing)
    starts = [backup.start_lsn // size for backup in backups if not backup.flaws and backup.start_lsn is not None]
    oldest = min(starts, default=None)
    if headers is not None:
        numbers = sorted(place[1] for name in listing.segments if (place := parse_segment(name, size)) is not None)
        oldest = max(oldest or 0, *numbers[-headers:][:1], 0)
    identifiers = [backup.system_identifier for backup in backups if backup.system_identifier is not None]
    archive, identifier = read_archive(listing, size, oldest=oldest, identifiers=identifiers)
    return Catalog(
        identity=identity,
        backups=backups,
        archive=archive,
        system_identifier=identifier,
        notes=(*notes, *listing.notes),
    )


def _backup(entry: Entry, known: Mapping[str, Entry]) -> Backup:
    told = entry.told
    flaws, notes = list(entry.flaws), list(entry.notes)
    chain, missing = chain_of(told, known.get)
    if missing:
        flaws.append(BackupFlaw.BASE_MISSING)
        notes.append(missing)
    return Backup(
        id=told.id,
        repository=KIND,
        kind=BackupKind.INCREMENTAL if told.parent else BackupKind.FULL,
        chain=chain,
        system_identifier=told.system_identifier,
        server_version=told.major,
        timeline=told.timeline,
        start_lsn=told.start_lsn,
        # Barman notes the end of that segment; the server's manifest knows it to the byte.
        stop_lsn=entry.stop_lsn or told.stop_lsn,
        start_time=told.start_time,
        stop_time=told.stop_time,
        size_bytes=told.cluster_bytes or told.stored_bytes or 0,
        flaws=tuple(dict.fromkeys(flaws)),
        note="; ".join(notes),
    )


def chain_of(told: BarmanBackup, find: Callable[[str], Entry | None]) -> tuple[tuple[str, ...], str]:
    """The ids of what a backup builds on, nearest first, and a sentence when they don't lead to a full one."""
    chain: list[str] = []
    here = told
    while here.parent:
        base = find(here.parent)
        if base is None or base.told.status not in COPIED:
            return tuple(chain), f"the backup that it builds on, {here.parent}, is not there"
        if base.told.id in chain or base.told.id == told.id:
            return tuple(chain), "what it builds on leads back to itself"
        chain.append(base.told.id)
        here = base.told
    return tuple(chain), ""


def stored_size(folder: Path) -> int:
    """Bytes of every file of a backup's folder, counted as Barman does when a backup is done."""
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)
