"""What a repository holds that can be verified, what was verified when, and what is due again."""

from __future__ import annotations

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.value import Value


class RepositoryItem(Value):
    """One thing of a repository that is read and compared by itself: a file of a backup, a WAL segment.

    :param name: its place in the repository; stable, and unique in it.
    :param size: bytes as stored.
    :param stamp: changes whenever the stored bytes are replaced: modification time in nanoseconds, an ETag.
    :param backup_id: the backup that it is part of; "" for WAL.
    :param segment: the one segment that it holds; None for a backup's file.
    """

    name: str
    size: int
    stamp: str
    backup_id: str = ""
    segment: SegmentRange | None = None


class ItemReport(Value):
    """What reading an item showed.

    :param checksum: of what was read, algorithm first (``sha256:…``); the same content always gives the same. "" when nothing
        could be read.
    :param compared: whether the repository holds something to compare it with: a checksum, or WAL's own.
    :param fault: what is wrong with it; its path is the item's name.
    """

    name: str
    checksum: str
    compared: bool
    bytes_read: int = 0
    fault: BackupFault | None = None
