"""The watch over a drill: what a scan of its catalog and of its runs tells, and what of that somebody has to be woken for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from airflow_dr_provider.domain.announcement import Announced, NewBackup, announce
from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.dead_man import Duty, KnownRun, debts
from airflow_dr_provider.domain.restorable import Restorable
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.wal import subtract_ranges
from airflow_dr_provider.domain.watch_backups import backup_findings, backup_notes, sound_ids, spoiled_ids
from airflow_dr_provider.domain.watch_scan import CatalogScan, CatalogSeen, Found, Hole
from airflow_dr_provider.domain.watch_wal import behind, end_of_wal, missing_wal, named_holes, wal_findings

__all__ = ["Finding", "Unread", "WatchMemory", "WatchReport", "watch"]

DRILL, ACCESS = "drill", "access"
"""The subjects of what the dead man's switch finds, and of a repository that can't be read: no matter of the catalog."""

UNSETTLED = 16
"""So close to the archive's end, in segments, a new hole may be WAL that several workers bring out of order."""

_NOTES = 50


class Finding(Value):
    """Something that a person has to look at before a backup is needed.

    :param signature: a signature's code.
    :param subject: what it is about: ``archive``, ``backup monday``, ``drill``.
    :param since: when a scan first found it.
    :param segments: the WAL that it is about.
    """

    signature: str
    subject: str
    detail: str
    since: datetime
    segments: SegmentRange | None = None


class Unread(Value):
    """Why a repository could not be read.

    :param signature: the error's code.
    """

    signature: str
    detail: str


class WatchMemory(Value):
    """What a scan has to know of those before it.

    :param schedule: the drill's schedule, and since when a scan has seen it.
    :param catalog: of the last scan that could read the repository.
    :param findings: the last scan's, and the catalog's of the last one that could read it.
    :param announced: the backups that were announced; None before the first scan that announces any.
    """

    schedule: str | None = None
    watched_since: datetime
    catalog: CatalogSeen | None = None
    findings: tuple[Finding, ...] = ()
    announced: Announced | None = None


class WatchReport(Value):
    """One scan of one drill.

    :param conclusive: False when the repository could not be read, so that nobody knows what it holds.
    :param repository: the catalog's identity; None when it could not be read.
    :param restorable: None when nothing could be restored, or nobody knows.
    :param notes: what is worth a line and no night's sleep.
    :param new_backups: what the scan is to announce.
    :param unsettled: whether a new hole may be WAL on its way, so that a second look is due.
    """

    drill: str
    at: datetime
    conclusive: bool
    repository: str | None = None
    restorable: Restorable | None = None
    holes: tuple[Hole, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    new_backups: tuple[NewBackup, ...] = ()
    unsettled: bool = False
    memory: WatchMemory

    def is_new(self, finding: Finding) -> bool:
        """Whether this scan is the first with that finding."""
        return finding.since == self.at


class _Judged(NamedTuple):
    found: tuple[Found, ...]
    seen: CatalogSeen | None
    holes: tuple[Hole, ...] = ()
    notes: tuple[str, ...] = ()


def watch(
    drill: str,
    scan: CatalogScan | Unread,
    *,
    moment: datetime,
    before: WatchMemory | None,
    schedule: str | None = None,
    due: Sequence[datetime] = (),
    patience_seconds: float = float("inf"),
    runs: Sequence[KnownRun] = (),
    announcer: str | None = None,
    held: bool = False,
) -> WatchReport:
    """Judge one scan.

    :param scan: what was read, or why nothing was.
    :param before: the memory of this drill's last scan; None for the first.
    :param due: scheduled times that are over for long enough; see :class:`airflow_dr_provider.domain.dead_man.Duty`.
    :param runs: those that began since the oldest of these, and every unfinished one.
    :param announcer: the task run that announces new backups; None for a scan that announces none.
    :param held: whether new backups are announced later, because the drill must not begin now.
    """
    watched_since = before.watched_since if before is not None and before.schedule == schedule else moment
    duty = Duty(due=tuple(due), watched_since=watched_since, patience_seconds=patience_seconds)
    owed = [Found(debt.signature, DRILL, debt.detail) for debt in debts(duty, runs, moment)]
    seen, known = _remembered(scan, before)
    if isinstance(scan, Unread):
        judged = _Judged(found=(Found(scan.signature, ACCESS, scan.detail),), seen=seen)
    else:
        judged = _judge(scan, seen, moment)
    announced = before.announced if before is not None else None
    news: tuple[NewBackup, ...] = ()
    if announcer is not None and not isinstance(scan, Unread):
        announced, news = announce(announced, scan.standings, by=announcer, moment=moment, held=held)
    findings = _dated((*judged.found, *owed), known, moment)
    # While nobody can read the repository, what was wrong with it is not news when it can be read again.
    kept = (finding for finding in known if isinstance(scan, Unread) and finding.subject not in (DRILL, ACCESS))
    return WatchReport(
        drill=drill,
        at=moment,
        conclusive=not isinstance(scan, Unread) or scan.signature == "REPOSITORY_EMPTY",
        repository=None if isinstance(scan, Unread) else scan.catalog.identity,
        restorable=None if isinstance(scan, Unread) else scan.restorable,
        holes=judged.holes,
        findings=findings,
        notes=judged.notes,
        new_backups=news,
        unsettled=not isinstance(scan, Unread) and _unsettled(scan, findings, moment),
        memory=WatchMemory(
            schedule=schedule,
            watched_since=watched_since,
            catalog=judged.seen,
            findings=(*findings, *kept),
            announced=announced,
        ),
    )


def _remembered(scan: CatalogScan | Unread, before: WatchMemory | None) -> tuple[CatalogSeen | None, tuple[Finding, ...]]:
    """What is known of this repository, and what was found; of another one that the drill had before, nothing."""
    if before is None:
        return None, ()
    seen = before.catalog
    if seen is None or isinstance(scan, Unread) or seen.repository == scan.catalog.identity:
        return seen, before.findings
    return None, tuple(finding for finding in before.findings if finding.subject == DRILL)


def _judge(scan: CatalogScan, seen: CatalogSeen | None, moment: datetime) -> _Judged:
    missing = missing_wal(scan, seen)
    now = _seen_now(scan, seen, moment)
    found = [*wal_findings(scan, missing), *backup_findings(scan, seen, moment)]
    notes = list(scan.notes)
    late = behind(scan, now, moment)
    if late is not None and late[0]:
        found.append(Found(late[0], "archive's end", late[1]))
    elif late is not None:
        notes.append(late[1])
    spoiled = {finding.subject.removeprefix("backup ") for finding in found if finding.signature == "BACKUP_SPOILED"}
    notes.extend(backup_notes(scan, spoiled))
    if len(notes) > _NOTES:
        notes[_NOTES:] = [f"and {len(notes) - _NOTES} more"]
    return _Judged(found=tuple(found), seen=now, holes=named_holes(scan, missing), notes=tuple(notes))


def _seen_now(scan: CatalogScan, seen: CatalogSeen | None, moment: datetime) -> CatalogSeen:
    end = end_of_wal(scan, scan.timeline)
    known = seen if seen is not None and (seen.timeline, seen.end_lsn) >= (scan.timeline, end) else None
    return CatalogSeen(
        repository=scan.catalog.identity,
        timeline=known.timeline if known is not None else scan.timeline,
        end_lsn=known.end_lsn if known is not None else end,
        advanced_at=known.advanced_at if known is not None else moment,
        grew=known.grew if known is not None else seen is not None,
        restorable=scan.restorable,
        sound=sound_ids(scan),
        spoiled=spoiled_ids(scan, seen),
    )


def _unsettled(scan: CatalogScan, findings: Iterable[Finding], moment: datetime) -> bool:
    border = end_of_wal(scan, scan.timeline) // scan.segment_size - UNSETTLED
    holes = (finding.segments for finding in findings if finding.signature == "WAL_HOLE" and finding.since == moment)
    return any(part is not None and part.timeline == scan.timeline and part.last >= border for part in holes)


def _dated(found: Iterable[Found], known: Sequence[Finding], moment: datetime) -> tuple[Finding, ...]:
    """What was found, each with the scan that found it first. Missing WAL is news as soon as one segment more is missing."""

    def since(one: Found) -> datetime:
        if one.segments is None:
            same = [finding for finding in known if (finding.signature, finding.subject) == (one.signature, one.subject)]
        else:
            same = [finding for finding in known if finding.segments is not None]
            same = [finding for finding in same if subtract_ranges([one.segments], _wal(finding)) != (one.segments,)]
            if subtract_ranges([one.segments], [part for finding in same for part in _wal(finding)]):
                return moment
        return min((finding.since for finding in same), default=moment)

    return tuple(
        Finding(signature=one.signature, subject=one.subject, detail=one.detail, since=since(one), segments=one.segments)
        for one in found
    )


def _wal(finding: Finding) -> tuple[SegmentRange, ...]:
    return (finding.segments,) if finding.segments is not None else ()
