"""The catalog's entries of a stanza's backups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, BackupKind
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.wal import parse_segment, segment_start
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.repositories.pgbackrest_info import Database, InfoBackup, Stanza
from airflow_dr_provider.repositories.pgbackrest_manifest import NAME, BackupManifest, parse_manifest

_KINDS = {"full": BackupKind.FULL, "diff": BackupKind.DIFFERENTIAL, "incr": BackupKind.INCREMENTAL}

Place = tuple[int, str]
"""A backup's repository and label."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a backup's manifest is worth."""

    flaw: BackupFlaw | None = None
    note: str = ""


def judge_manifest(backup: InfoBackup, database: Database | None, content: bytes | None) -> Judged:
    """Whether a backup's manifest is whole and of this backup.

    :param content: None when there is none.
    """
    if content is None:
        return Judged(flaw=BackupFlaw.NO_MANIFEST, note=f"its {NAME} is not there")
    try:
        manifest = parse_manifest(content)
    except BackupError as error:
        return Judged(flaw=BackupFlaw.MANIFEST_DAMAGED, note=error.message)
    other = _disagreement(backup, database, manifest)
    if other:
        return Judged(flaw=BackupFlaw.MANIFEST_DAMAGED, note=f"its {NAME} and backup.info differ: {other}")
    return Judged()


def _disagreement(backup: InfoBackup, database: Database | None, manifest: BackupManifest) -> str:
    if manifest.label != backup.label:
        return f"it is that of {manifest.label}"
    if database is not None and manifest.system_identifier != database.system_identifier:
        return f"it is of cluster {manifest.system_identifier}"
    if backup.lsn is not None and (manifest.start_lsn, manifest.stop_lsn) != (backup.lsn.start, backup.lsn.stop):
        return f"it leads from {manifest.start_lsn} to {manifest.stop_lsn}"
    return ""


def entries(stanza: Stanza, keys: Sequence[int], judged: Mapping[Place, Judged], segment_size: int) -> tuple[Backup, ...]:
    """The backups of the usable repositories, oldest first.

    :param keys: those repositories.
    """
    backups = [backup for backup in stanza.backup if backup.database.key in keys]
    counted = Counter(backup.label for backup in backups)
    ids = {
        (backup.database.key, backup.label): backup.label
        if counted[backup.label] == 1
        else f"{backup.label}@repo{backup.database.key}"
        for backup in backups
    }
    ordered = sorted(backups, key=lambda backup: (backup.timestamp.stop, backup.label, backup.database.key))
    return tuple(
        _entry(backup, stanza.database(backup.database), ids, judged[backup.database.key, backup.label], segment_size)
        for backup in ordered
    )


def _entry(
    backup: InfoBackup, database: Database | None, ids: Mapping[Place, str], judged: Judged, segment_size: int
) -> Backup:
    key = backup.database.key
    flaws, notes = [judged.flaw] if judged.flaw else [], [judged.note] if judged.note else []
    if backup.error:
        flaws.append(BackupFlaw.ERROR_FLAG)
        notes.append("pgBackRest found page checksum errors in it when it was taken")
    chain = tuple(ids.get((key, label), label) for label in needed(backup))
    start, stop = _positions(backup, segment_size)
    return Backup(
        id=ids[key, backup.label],
        repository=f"repo{key}",
        kind=_KINDS[backup.type],
        chain=chain,
        system_identifier=database.system_identifier if database is not None else None,
        server_version=database.major if database is not None else None,
        timeline=int(backup.archive.start[:8], 16) if backup.archive.start else None,
        start_lsn=start,
        stop_lsn=stop,
        start_time=backup.timestamp.start,
        stop_time=backup.timestamp.stop,
        size_bytes=backup.info.size,
        flaws=tuple(flaws),
        note="; ".join(notes),
    )


def needed(backup: InfoBackup) -> tuple[str, ...]:
    """Labels of the backups that it takes files from, nearest first; its base at least, where none is said."""
    labels = set(backup.reference or ()) - {backup.label} or ({backup.prior} if backup.prior else set())
    # A label begins with that of its full backup and ends with its own time.
    return tuple(sorted(labels, reverse=True))


def _positions(backup: InfoBackup, segment_size: int) -> tuple[Lsn | None, Lsn | None]:
    """Where its WAL starts and stops; of a backup that tells no positions, the bounds of its segments."""
    if backup.lsn is not None:
        return backup.lsn.start, backup.lsn.stop
    first, last = (parse_segment(name, segment_size) if name else None for name in (backup.archive.start, backup.archive.stop))
    if first is None or last is None:
        return None, None
    return segment_start(first[1], segment_size), segment_start(last[1] + 1, segment_size)


def cluster_of(stanza: Stanza, keys: Sequence[int]) -> Database | None:
    """The cluster of the newest backup: after a major upgrade older backups are of another one, with WAL of its own.

    :param keys: the usable repositories.
    """
    backups = [backup for backup in stanza.backup if backup.database.key in keys]
    for backup in sorted(backups, key=lambda backup: (backup.timestamp.stop, backup.label), reverse=True):
        database = stanza.database(backup.database)
        if database is not None:
            return database
    return None


def archive_places(stanza: Stanza, cluster: Database, keys: Sequence[int]) -> list[tuple[int, str]]:
    """Repositories and folders that hold a cluster's WAL, in the repositories' order."""
    places = []
    for archive in stanza.archive:
        database = stanza.database(archive.database)
        if database is None or database.key not in keys:
            continue
        if (database.system_identifier, database.version) == (cluster.system_identifier, cluster.version):
            places.append((database.key, f"archive/{stanza.name}/{archive.id}"))
    return sorted(places)
