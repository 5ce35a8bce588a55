"""What a repository holds that can be verified, what was verified when, what is due again, and what a reading means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

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
    :param tool: the program that compared it, and its version; "" when nothing but this package did.
    :param unfinished: whether more of it can be compared once what follows it is there: a segment at the archive's end.
    """

    name: str
    checksum: str
    compared: bool
    bytes_read: int = 0
    fault: BackupFault | None = None
    tool: str = ""
    unfinished: bool = False


class Mark(NamedTuple):
    """As much of what the ledger knows of an item as tells whether it is due: there may be a million of them.

    :param size: bytes, as the inventory had it when the item was read last; so the stamp.
    """

    size: int
    stamp: str
    verified_at: datetime
    faulty: bool
    unfinished: bool


class Verified(Value):
    """What the ledger knows of an item.

    :param item: as the inventory had it when it was read last.
    :param checksum: of its content when it was sound for the last time; "" when it never was.
    :param compared: whether there was something to compare it with.
    :param verified_by: the host, this package's version, and the program's that compared it.
    :param unfinished: whether it has to be read again in any case, because not all of it could be compared yet.
    :param fault: what was wrong with it when it was read last.
    """

    item: RepositoryItem
    checksum: str
    compared: bool
    unfinished: bool = False
    verified_at: datetime
    verified_by: str
    fault: BackupFault | None = None

    @property
    def mark(self) -> Mark:
        """What of it tells whether the item is due."""
        return Mark(self.item.size, self.item.stamp, self.verified_at, self.fault is not None, self.unfinished)


class DueReason(StrEnum):
    """Why an item is read in a pass."""

    NEW = "new"
    CHANGED = "changed"
    FAULTY = "faulty"
    UNFINISHED = "unfinished"
    EXPIRED = "expired"
    ASKED = "asked"
    ROTATED = "rotated"


# -- what is due -------------------------------------------------------------------------------------------------------
def due_reason(
    item: RepositoryItem, known: Mark | None, *, moment: datetime, reverify_after: timedelta, everything: bool = False
) -> DueReason | None:
    """Why an item has to be read now, whatever else is; None when it needn't.

    :param known: what the ledger has of it.
    :param everything: somebody asked for all of it.
    """
    if known is None:
        return DueReason.NEW
    if item.size != known.size or item.stamp != known.stamp:
        return DueReason.CHANGED
    if known.faulty:
        return DueReason.FAULTY
    if known.unfinished:
        return DueReason.UNFINISHED
    # A reading that is still to come, by a clock that was wrong, is none.
    if not moment - reverify_after < known.verified_at <= moment:
        return DueReason.EXPIRED
    return DueReason.ASKED if everything else None


def rotating_share(known: Iterable[Verified], *, total_bytes: int, share: int) -> Iterator[Verified]:
    """What is read again before its time, so that rot shows before that.

    :param known: what was not read in this pass, the longest unread first.
    :param total_bytes: of the whole inventory.
    :param share: how many percent of them; the item that fills the share may exceed it.
    """
    taken = 0
    for entry in known:
        if taken * 100 >= total_bytes * share:
            return
        taken += entry.item.size
        yield entry


# -- what a reading means ----------------------------------------------------------------------------------------------
def judged(
    item: RepositoryItem,
    known: Verified | None,
    report: ItemReport,
    *,
    at: datetime,
    by: str,
    finished: datetime | None = None,
) -> Verified:
    """The ledger's next entry of an item that was read.

    The checksum of the last sound reading is kept while there is a fault, so that a change is not forgotten by being seen once.

    :param finished: when the item's backup was finished, by the catalog as it is now; None for WAL, or where nothing tells.
    """
    if known is not None and _replaced(known, finished):
        known = None
    fault = report.fault or _changed(item, known, report, finished)
    sound = report.checksum if fault is None else known.checksum if known is not None else ""
    return Verified(
        item=item,
        checksum=sound,
        compared=report.compared,
        unfinished=report.unfinished,
        verified_at=at,
        verified_by=f"{by}, {report.tool}" if report.tool else by,
        fault=fault,
    )


def vanished(known: Verified, finished: datetime | None) -> BackupFault | None:
    """What it means that an item of a backup which is still there is in the inventory no more; None: it may be forgotten.

    :param finished: when the backup was finished.
    """
    if _replaced(known, finished) or (known.fault is not None and known.fault.code == "BACKUP_FILE_EXTRA"):
        return None
    detail = f"it was there at {known.verified_at.isoformat(timespec='seconds')} and is not any more, though its backup is"
    return _first_seen(known, BackupFault(code="BACKUP_FILE_MISSING", path=known.item.name, detail=detail))


def _replaced(known: Verified, finished: datetime | None) -> bool:
    """Whether another backup has the name now of the one that the ledger knows."""
    return bool(known.item.backup_id) and finished is not None and finished > known.verified_at


def _changed(item: RepositoryItem, known: Verified | None, report: ItemReport, finished: datetime | None) -> BackupFault | None:
    """The fault of content that is not what it was, though it should be; also where there is nothing else to compare with."""
    if known is None or not known.checksum or not report.checksum or known.checksum == report.checksum:
        return None
    if known.checksum.partition(":")[0] != report.checksum.partition(":")[0]:
        return None
    if (item.size, item.stamp) == (known.item.size, known.item.stamp):
        why = "though its size and its time of modification are the same"
    elif item.backup_id and finished is not None:
        why = f"though its backup was finished at {finished.isoformat(timespec='seconds')}"
    elif item.segment is not None and not item.backup_id and not known.unfinished:
        why = "though an archived segment never changes"
    elif known.fault is not None:
        why = "and what it was then was never put back"
    else:
        return None
    code = "BACKUP_CHECKSUM_MISMATCH" if item.backup_id else "WAL_SEGMENT_DAMAGED"
    detail = f"its content is not what it was at {known.verified_at.isoformat(timespec='seconds')}, {why}"
    return _first_seen(known, BackupFault(code=code, path=item.name, detail=detail))


def _first_seen(known: Verified, fault: BackupFault) -> BackupFault:
    """The fault in the words of the reading that found it, which knew when the item had been sound."""
    return known.fault if known.fault is not None and known.fault.code == fault.code else fault
