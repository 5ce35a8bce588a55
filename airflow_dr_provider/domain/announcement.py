"""Which backups are news: each is announced once, when recovery could first begin with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.restorable import Standing
from airflow_dr_provider.domain.value import Value

KEPT = 16
"""So many of the last announcements are remembered; the dead man's switch looks at fewer."""


class NewBackup(Value):
    """A backup that is news."""

    id: str
    kind: str
    stop_lsn: Lsn | None
    stop_time: datetime | None


class Announcement(Value):
    """One backup that was announced.

    :param by: the task run that did; when it is cut off and tried again, it announces the same ones again.
    """

    backup: NewBackup
    at: datetime
    by: str


class Announced(Value):
    """What was announced so far.

    :param known: backups that are no news any more, as far as they are still there.
    """

    known: tuple[str, ...] = ()
    last: tuple[Announcement, ...] = ()


def announce(
    before: Announced | None, found: Sequence[Standing], *, by: str, moment: datetime, held: bool
) -> tuple[Announced, tuple[NewBackup, ...]]:
    """What is known now, and what is to be announced.

    The backups that are there when a drill is first watched are known; they are no news.

    :param held: whether nothing new is to be announced now, because the drill must not begin: it is announced later.
    """
    usable = [standing.backup for standing in found if not standing.reasons]
    if before is None:
        return Announced(known=tuple(backup.id for backup in usable)), ()
    again = tuple(entry.backup for entry in before.last if entry.by == by)
    there = {standing.backup.id for standing in found}
    known = [identifier for identifier in before.known if identifier in there]
    fresh = (
        ()
        if held
        else tuple(
            NewBackup(id=backup.id, kind=backup.kind.value, stop_lsn=backup.stop_lsn, stop_time=backup.stop_time)
            for backup in usable
            if backup.id not in known
        )
    )
    entries = (*before.last, *(Announcement(backup=backup, at=moment, by=by) for backup in fresh))
    now = Announced(known=(*known, *(backup.id for backup in fresh)), last=entries[-KEPT:])
    return now, (*again, *fresh)


def due_by_backups(announced: Announced | None, before: datetime) -> tuple[datetime, ...]:
    """When a drill that begins by new backups should have begun, newest first.

    :param before: announcements after it are too young to tell.
    """
    entries = announced.last if announced is not None else ()
    return tuple(sorted({entry.at for entry in entries if entry.at <= before}, reverse=True))
