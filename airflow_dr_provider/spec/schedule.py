"""When a drill begins, as a spec says it: a cron, or a mapping of crons, new backups, blackouts, jitter and time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter
from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, ValidationInfo, field_validator, model_validator

from airflow_dr_provider.domain.cadence import (
    PRESETS,
    Blackout,
    Cadence,
    CronWindow,
    Period,
    WeeklyWindow,
    next_time,
    share_of,
)
from airflow_dr_provider.spec.base import SpecPart, Text
from airflow_dr_provider.spec.durations import Duration, format_duration

LONGEST_JITTER = timedelta(days=1)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(r"([A-Za-z]{3,9}(?:[-,][A-Za-z]{3,9})*)(?:\s+(\d\d):(\d\d)-(\d\d):(\d\d))?", re.ASCII)
_EXAMPLE = "Sat 00:00-06:00, Mon-Fri 08:00-18:00, Sat,Sun or daily 22:00-02:00"
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)? ?(?:Z|[+-]\d\d:\d\d)?", re.ASCII | re.IGNORECASE)


# -- texts -------------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=4096)
def check_cron(value: str) -> str:
    """A cron that comes, and always at the same times.

    :raises ValueError: saying what a cron looks like.
    """
    if not (value.startswith("@") or (len(value.split()) == 5 and croniter.is_valid(value))):
        raise ValueError(f"{value!r} is no cron expression; write minute, hour, day, month, weekday, like 0 3 * * *")
    if value.startswith("@") and value not in PRESETS:
        raise ValueError(f"{value!r} is no schedule; known: {', '.join(PRESETS)}")
    if not _fires(value):
        raise ValueError(f"{value!r} never comes, or comes at random; write minute, hour, day, month, weekday, like 0 3 * * *")
    return value


def _fires(cron: str) -> bool:
    """Whether an expression has a next time, and always the same one (``R`` would draw lots in every process)."""
    if any(field.upper().startswith("R") for field in cron.split()):
        return False
    try:
        # Any fixed moment does; croniter itself looks ahead far enough for a 29th of February.
        croniter(cron, datetime(2024, 1, 1, tzinfo=UTC)).get_next(datetime)
    except CroniterError:
        return False
    return True


def _cron(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('a cron is a text; write it in quotes, like "0 3 * * *"')
    return check_cron(value)


def _zone(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("a time zone is a name like Europe/Berlin")
    _known_zone(value)
    return value


@lru_cache(maxsize=1024)
def _known_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError(
            f"{name[:60]!r} is no time zone that this machine knows; write UTC or a name like Europe/Berlin"
        ) from None


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Cron = Annotated[str, BeforeValidator(_cron)]
Zone = Annotated[str, BeforeValidator(_zone)]


# -- blackouts ---------------------------------------------------------------------------------------------------------
_FORMS = ("from", "weekly", "cron")


class BlackoutSpec(SpecPart):
    """A time in which the drill doesn't begin: from and to, weekly, or cron and lasts. A text alone is weekly."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    since: Text | None = Field(default=None, alias="from")
    """Its first day, or its first moment like 2026-12-20T18:00."""
    to: Text | None = None
    """Its last day, which belongs to it as a whole, or the moment of its end."""
    weekly: Text | None = None
    """Days of the week and the hours of them, like Sat 00:00-06:00, Mon-Fri 08:00-18:00 or Sat,Sun."""
    cron: Cron | None = None
    """When it begins, if it comes by a cron."""
    lasts: Duration | None = None
    """How long one that comes by a cron lasts."""
    timezone: Zone | None = None
    """Whose wall clock is meant, when it isn't the schedule's."""
    reason: Text | None = None
    """Why; runs that don't begin say it."""

    @field_validator("weekly")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            _weekly(value)
        return value

    @model_validator(mode="after")
    def _one(self) -> BlackoutSpec:
        given = [name for name, value in zip(_FORMS, (self.since, self.weekly, self.cron), strict=True) if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"a blackout has one of from (with to), weekly, and cron (with lasts); "
                f"there {'is none' if not given else 'are ' + ' and '.join(given)}"
            )
        if (self.to is not None) != (self.since is not None):
            raise ValueError("a blackout that is a period has both from and to")
        if (self.lasts is not None) != (self.cron is not None):
            raise ValueError("a blackout that comes by a cron says how long it lasts, like lasts: 6h")
        if self.since is not None and self.to is not None:
            zone = _known_zone(self.timezone or "UTC")
            if _moment(self.since, zone) >= _moment(self.to, zone, end=True):
                raise ValueError(f"the blackout ends at {self.to}, which isn't after {self.since}")
        return self

    def blackout(self, timezone: str) -> Blackout:
        """The blackout as the domain knows it.

        :param timezone: the schedule's.
        """
        name, reason = self.timezone or timezone, self.reason or ""
        if self.since is not None and self.to is not None:
            zone = _known_zone(name)
            return Period(begin=_moment(self.since, zone), end=_moment(self.to, zone, end=True), reason=reason)
        if self.cron is not None and self.lasts is not None:
            seconds = int(self.lasts.total_seconds())
            return CronWindow(cron=PRESETS.get(self.cron, self.cron), lasts_seconds=seconds, timezone=name, reason=reason)
        days, begin, end = _weekly(self.weekly or "")
        return WeeklyWindow(days=days, begin=begin, end=end, timezone=name, reason=reason)


def _moment(text: str, zone: ZoneInfo, *, end: bool = False) -> datetime:
    """A day or a moment, in UTC; the end of a day is the beginning of the next one.

    :raises ValueError: when it is neither.
    """
    try:
        if _DAY.fullmatch(text):
            found = datetime.fromisoformat(text) + timedelta(days=1 if end else 0)
        elif _MOMENT.fullmatch(text):
            found = datetime.fromisoformat(text.upper().replace(" ", "T", 1).replace(" ", ""))
        else:
            raise ValueError
        return (found if found.tzinfo is not None else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:60]!r} is no day and no moment; write 2026-12-20 or 2026-12-20T18:00") from None


def _weekly(text: str) -> tuple[tuple[int, ...], int, int]:
    """Days from 0 for Monday, and minutes after midnight.

    :raises ValueError: when it can't be read.
    """
    match = _WEEKLY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:60]!r} is no weekly window; write {_EXAMPLE}")
    days: set[int] = set()
    for part in match[1].split(","):
        first, _, last = part.partition("-")
        if part.lower() == "daily":
            days.update(range(7))
            continue
        begin = _day(first, text)
        span = (_day(last, text) - begin) % 7 if last else 0
        days.update((begin + step) % 7 for step in range(span + 1))
    if match[2] is None:
        return tuple(sorted(days)), 0, 24 * 60
    hours = [int(part) for part in match.groups()[1:]]
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if hours[1] > 59 or hours[3] > 59 or begin >= 24 * 60 or end > 24 * 60 or begin == end:
        raise ValueError(f"{text[:60]!r} has no such hours; write {_EXAMPLE}")
    return tuple(sorted(days)), begin, end if end > begin else end + 24 * 60


def _day(word: str, text: str) -> int:
    for number, day in enumerate(_DAYS):
        full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")[number]
        if word.lower() in (day, full):
            return number
    raise ValueError(f"{text[:60]!r}: {word} is no day of the week; write {_EXAMPLE}")


def _window(value: Any) -> Any:
    return BlackoutSpec.model_validate({"weekly": value}) if isinstance(value, str) else value


Window = Annotated[BlackoutSpec, BeforeValidator(_window, json_schema_input_type=str | BlackoutSpec)]


# -- the schedule ------------------------------------------------------------------------------------------------------
class ScheduleSpec(SpecPart):
    """When a drill begins by itself. What lies in the past is never made up for."""

    cron: Annotated[tuple[Cron, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])] = ()
    """A cron, or several; each time of any of them counts."""
    after_backup: StrictBool = False
    """Whether it also begins when the catalog watch (dr_watch) finds a backup that it didn't know."""
    timezone: Zone = "UTC"
    """Whose wall clock crons and blackouts mean, like Europe/Berlin."""
    jitter: Duration | None = None
    """Up to how much later it begins: always the same share of it, by the drill's name, so that a fleet spreads out."""
    blackout: tuple[Window, ...] = ()
    """Times in which it doesn't begin. A run by hand does."""

    @model_validator(mode="after")
    def _begins(self) -> ScheduleSpec:
        if not self.cron and not self.after_backup:
            raise ValueError("a schedule needs a cron, after_backup: true, or both; leave it out to trigger by hand only")
        if self.jitter is not None and self.jitter > LONGEST_JITTER:
            raise ValueError(f"jitter is at most {format_duration(LONGEST_JITTER)}")
        if self.jitter is not None and not self.cron:
            raise ValueError("jitter spreads crons; without one it does nothing")
        cadence = self.cadence("drill")
        if self.blackout and cadence.crons and next_time(cadence, datetime(2024, 1, 1, tzinfo=UTC)) is None:
            raise ValueError("the blackouts leave no time in which the drill could begin")
        return self

    def cadence(self, drill: str) -> Cadence:
        """When the drill begins.

        :param drill: its name, by which it has its share of the jitter.
        """
        return Cadence(
            crons=tuple(dict.fromkeys(PRESETS.get(cron, cron) for cron in self.cron)),
            timezone=self.timezone,
            offset_seconds=share_of(self.jitter, drill) if self.jitter is not None else 0,
            after_backup=self.after_backup,
            blackouts=tuple(window.blackout(self.timezone) for window in self.blackout),
        )


def _taken_apart(value: Any, info: ValidationInfo) -> Any:
    """Take the two forms apart before the union does, which would complain about both."""
    if value is None or isinstance(value, ScheduleSpec):
        return value
    if isinstance(value, dict):
        return ScheduleSpec.model_validate(value, context=info.context)
    if isinstance(value, list):
        raise ValueError("several crons belong under schedule: {cron: [...]}")
    return _cron(value)


Schedule = Annotated[str | ScheduleSpec, BeforeValidator(_taken_apart)]
"""A cron, or a mapping."""


def cadence_of(schedule: str | ScheduleSpec | None, drill: str) -> Cadence | None:
    """When a drill begins; None for one that is triggered by hand."""
    if isinstance(schedule, str):
        return Cadence(crons=(PRESETS.get(schedule, schedule),))
    return schedule.cadence(drill) if schedule is not None else None
