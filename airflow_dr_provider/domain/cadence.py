"""When a drill is due: crons in a time zone, an offset of its own, and the blackouts in which it doesn't begin.

Airflow's timetable, the dead man's switch and the guard of a run all ask here, so that they can't tell different times. What a
wall clock does twice or leaves out is read as Airflow reads it (``airflow._shared.timezones.timezone.make_aware``): a time
that comes twice counts the second time, unless the cron comes every hour and then comes both times; one that is left out comes
as much later as the clock was put forward.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter
from pydantic import Field

from airflow_dr_provider.domain.value import Value

PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}

SKIPPED = "SKIPPED"
"""The outcome of a run that didn't begin, for it would have begun within a blackout."""

_AROUND = timedelta(hours=25)
"""No zone's clock is put forward or back by more than a day."""
_JUMPS = 5_000
"""So many blackouts are leapt over in search of a time; when none is found by then, there is none worth waiting for."""


class Period(Value):
    """A blackout with a beginning and an end.

    :param begin: the first moment of it, in UTC; *end* the first one after it.
    """

    kind: Literal["period"] = "period"
    begin: datetime
    end: datetime
    reason: str = ""


class WeeklyWindow(Value):
    """A blackout on days of the week.

    :param days: from 0, a Monday.
    :param begin: minutes after midnight, by the wall clock; *end* is more than a day's when it lies on the next day.
    """

    kind: Literal["weekly"] = "weekly"
    days: tuple[int, ...]
    begin: int
    end: int
    timezone: str
    reason: str = ""


class CronWindow(Value):
    """A blackout that begins by a cron."""

    kind: Literal["cron"] = "cron"
    cron: str
    lasts_seconds: int
    timezone: str
    reason: str = ""


Blackout = Period | WeeklyWindow | CronWindow


class Cadence(Value):
    """When a drill begins.

    :param crons: five fields each; none for a drill that begins by a new backup alone.
    :param offset_seconds: by how much it begins later than its crons say: its own share of the jitter.
    :param after_backup: whether it also begins when the catalog watch announces a backup.
    """

    crons: tuple[str, ...] = ()
    timezone: str = "UTC"
    offset_seconds: int = 0
    after_backup: bool = False
    blackouts: tuple[Annotated[Blackout, Field(discriminator="kind")], ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the crons say it all: in UTC, where no clock is put forward or back, without offset and blackout."""
        return self.timezone == "UTC" and not self.offset_seconds and not self.blackouts

    def text(self) -> str:
        """The same text for the same cadence; a cron alone is its own."""
        if self.plain and not self.after_backup and len(self.crons) == 1:
            return self.crons[0]
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))


def share_of(jitter: timedelta, name: str) -> int:
    """A drill's own part of the jitter in seconds: the same whenever and wherever it is asked for.

    :param name: the drill's.
    """
    seconds = int(jitter.total_seconds())
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % seconds if seconds > 0 else 0


# -- asking ------------------------------------------------------------------------------------------------------------
def next_time(cadence: Cadence, after: datetime) -> datetime | None:
    """The first time after a moment, in UTC; None when there is none."""
    for _ in range(_JUMPS):
        found = next(_times(cadence, after, 1), None)
        window = in_blackout(cadence, found) if found is not None else None
        if found is None or window is None:
            return found
        # The first moment after a blackout may itself be a time.
        after = window[2] - timedelta(microseconds=1)
    return None


def times_before(cadence: Cadence, moment: datetime, count: int) -> tuple[datetime, ...]:
    """The last times at or before a moment, newest first, in UTC."""
    found: list[datetime] = []
    before = moment + timedelta(microseconds=1)
    for _ in range(_JUMPS):
        if len(found) == count:
            break
        time = next(_times(cadence, before, -1), None)
        if time is None:
            break
        window = in_blackout(cadence, time)
        if window is None:
            found.append(time)
            before = time
        else:
            before = window[1]
    return tuple(found)


def in_blackout(cadence: Cadence, moment: datetime) -> tuple[Blackout, datetime, datetime] | None:
    """The blackout that a moment lies in, with its beginning and end in UTC; of several the one that ends last."""
    found = [(blackout, *span) for blackout in cadence.blackouts if (span := _span(blackout, moment)) is not None]
    return max(found, key=lambda one: one[2], default=None)


# -- blackouts ---------------------------------------------------------------------------------------------------------
def _span(blackout: Blackout, moment: datetime) -> tuple[datetime, datetime] | None:
    if isinstance(blackout, Period):
        return (blackout.begin, blackout.end) if blackout.begin <= moment < blackout.end else None
    zone = ZoneInfo(blackout.timezone)
    if isinstance(blackout, CronWindow):
        lasts = timedelta(seconds=blackout.lasts_seconds)
        begin = next(_ordered(blackout.cron, zone, moment + timedelta(microseconds=1), -1), None)
        return (begin, begin + lasts) if begin is not None and moment < begin + lasts else None
    today = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for midnight in (today, today - timedelta(days=1)):
        if midnight.weekday() in blackout.days:
            # Where a wall clock leaves doubt, the blackout is the longer of the two.
            begin = min(_both(midnight + timedelta(minutes=blackout.begin), zone))
            end = max(_both(midnight + timedelta(minutes=blackout.end), zone))
            if begin <= moment < end:
                return begin, end
    return None


# -- crons -------------------------------------------------------------------------------------------------------------
def _times(cadence: Cadence, moment: datetime, way: Literal[1, -1]) -> Iterator[datetime]:
    """Times after a moment, or before it, each once, blackouts not looked at."""
    offset = timedelta(seconds=cadence.offset_seconds)
    zone = ZoneInfo(cadence.timezone)
    last = None
    ways = [_ordered(cron, zone, moment - offset, way) for cron in cadence.crons]
    for time in heapq.merge(*ways, key=lambda one: way * one.timestamp()):
        if time != last:
            last = time
            yield time + offset


def _ordered(cron: str, zone: ZoneInfo, moment: datetime, way: Literal[1, -1]) -> Iterator[datetime]:
    """The instants of a cron strictly after a moment, or before it, in order.

    Wall clock times come in order; their instants do, but for the hours around a change of the clock. So an instant waits
    until no later wall clock time can lie before it any more.
    """
    hourly = _every_hour(cron)
    local = moment.astimezone(zone).replace(tzinfo=None, microsecond=0)
    room = max(_offsets(local, zone)) - min(_offsets(local, zone)) + timedelta(seconds=1)
    waiting: list[tuple[float, datetime]] = []
    seen: set[datetime] = set()
    try:
        walls = croniter(cron, local - way * room)
        for wall in walls.all_next(datetime) if way > 0 else walls.all_prev(datetime):
            for instant in _instants(wall, zone, hourly):
                if (instant > moment if way > 0 else instant < moment) and instant not in seen:
                    seen.add(instant)
                    heapq.heappush(waiting, (way * instant.timestamp(), instant))
            offsets = _offsets(wall, zone)
            border = (wall - (max(offsets) if way > 0 else min(offsets))).replace(tzinfo=UTC)
            while waiting and waiting[0][0] <= way * border.timestamp():
                yield heapq.heappop(waiting)[1]
    except (CroniterError, OverflowError):
        # No further time within what croniter looks through, or within what a datetime holds.
        pass
    while waiting:
        yield heapq.heappop(waiting)[1]


def _instants(wall: datetime, zone: ZoneInfo, hourly: bool) -> tuple[datetime, ...]:
    first, second = _both(wall, zone)
    if first == second:
        return (first,)
    if first > second:  # the clock was put forward over it
        return (first,)
    return (first, second) if hourly else (second,)


def _both(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The two instants that a wall clock time may be; the same one twice, but around a change of the clock."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second


def _offsets(wall: datetime, zone: ZoneInfo) -> set[timedelta]:
    around = (wall - _AROUND, wall, wall + _AROUND)
    return {offset for time in around if (offset := time.replace(tzinfo=zone).utcoffset()) is not None}


@lru_cache(maxsize=1024)
def _every_hour(cron: str) -> bool:
    fields: list[list[Any]] = croniter(cron).expanded
    return fields[1] == ["*"]
