"""The normalised inventory of a backup repository: backups, archived WAL, and what is wrong with either."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.value import Value


class BackupKind(StrEnum):
    """How much of the cluster a backup holds by itself."""

    FULL = "full"
    DIFFERENTIAL = "differential"
    INCREMENTAL = "incremental"


class BackupFlaw(StrEnum):
    """Why a backup can't be a candidate, as far as its catalog tells."""

    INCOMPLETE = "incomplete"
    NO_MANIFEST = "no_manifest"
    MANIFEST_DAMAGED = "manifest_damaged"
    NO_LABEL = "no_label"
    BASE_MISSING = "base_missing"
    ERROR_FLAG = "error_flag"
    UNREADABLE = "unreadable"


class SegmentRange(Value):
    """Consecutive WAL segments of one timeline, both ends included.

    :param first: number of the first segment: its start LSN divided by the segment size.
    """

    timeline: int
    first: int
    last: int


class TimelineFork(Value):
    """Where a timeline left its parent (a line of a ``.history`` file)."""

    timeline: int
    parent: int
    switch_lsn: Lsn


class WalArchive(Value):
    """What the archive holds.

    :param segment_size: bytes of a segment, a power of two from 1 MiB to 1 GiB.
    :param ranges: complete segments, sorted by timeline and number, neighbours merged, none overlapping.
    :param partial: segments of which only a ``.partial`` is there.
    :param forks: from every ``.history`` file, for each timeline its whole ancestry.
    :param flawed: segments that are there by name and can't be used (wrong size, wrong header), as ranges.
    """

    segment_size: int
    ranges: tuple[SegmentRange, ...] = ()
    partial: tuple[SegmentRange, ...] = ()
    forks: tuple[TimelineFork, ...] = ()
    flawed: tuple[SegmentRange, ...] = ()


class Backup(Value):
    """One backup, whichever tool made it.

    :param id: the tool's own name of it; for plain pg_basebackup directories the directory's name.
    :param chain: ids of the backups that it needs, nearest first, empty for a full one.
    :param start_lsn: where its WAL begins (the checkpoint's redo position); None when unknown.
    :param stop_lsn: where it is consistent; None when unknown.
    :param server_version: PostgreSQL's major version, None when unknown.
    :param size_bytes: bytes of the restored files, WAL not counted.
    :param own_wal: segments that lie inside the backup itself.
    :param flaws: why it can't be a candidate; empty for a sound one.
    :param note: a sentence about the flaws.
    """

    id: str
    repository: str
    kind: BackupKind = BackupKind.FULL
    chain: tuple[str, ...] = ()
    system_identifier: int | None = None
    server_version: int | None = None
    timeline: int | None = None
    start_lsn: Lsn | None = None
    stop_lsn: Lsn | None = None
    start_time: datetime | None = None
    stop_time: datetime | None = None
    size_bytes: int = 0
    own_wal: tuple[SegmentRange, ...] = ()
    flaws: tuple[BackupFlaw, ...] = ()
    note: str = ""


class Catalog(Value):
    """A repository's inventory at one moment.

    :param identity: what names this repository across runs (kind and place), for quarantine.
    :param system_identifier: the cluster's, where the repository as a whole knows it.
    :param notes: sentences about what was passed over (stray files, unreadable folders).
    """

    identity: str
    backups: tuple[Backup, ...]
    archive: WalArchive
    system_identifier: int | None = None
    notes: tuple[str, ...] = ()

    def backup(self, identifier: str) -> Backup:
        """The backup of that id.

        :raises KeyError: when there is none.
        """
        for backup in self.backups:
            if backup.id == identifier:
                return backup
        raise KeyError(identifier)
