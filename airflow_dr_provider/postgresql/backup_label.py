"""Read a ``backup_label``, or the backup history file that the server archives beside the WAL.

Both have the same lines (``build_backup_content`` in ``xlogbackup.c``); the history file, ``<segment>.<offset>.backup``,
adds where and when the backup stopped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_dr_provider.domain.lsn import Lsn

NAME = "backup_label"
SIZE_LIMIT = 64 * 1024
"""Bytes; a label is some hundred."""

_POSITION = re.compile(r"([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}) \(file ([0-9A-F]{24})\)")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\S+)")
_OFFSET = re.compile(r"([+-])(\d\d)(?::?(\d\d))?")
_QUARTER = 15 * 60
_OFFSETS = range(-12 * 3600, 14 * 3600 + 1)


@dataclass(frozen=True, kw_only=True)
class LabelTime:
    """A time as the server's log time zone shows it: an abbreviation, which may mean several zones.

    :param offset: seconds east of UTC where the zone tells it by itself (UTC, GMT, a number), else None.
    """

    local: datetime
    zone: str
    offset: int | None

    def in_utc(self, *, not_after: datetime | None = None) -> datetime | None:
        """The time in UTC.

        Abbreviations are ambiguous (IST, CST, BST); with the time of something that happened at most a quarter of an hour
        later the offset follows, for every zone's is a multiple of that.

        :param not_after: the time of something known to have happened soon after.
        :return: None when the zone is ambiguous and nothing helps.
        """
        if self.offset is not None:
            return (self.local - timedelta(seconds=self.offset)).replace(tzinfo=UTC)
        if not_after is None:
            return None
        quarters = -int((not_after - self.local.replace(tzinfo=UTC)).total_seconds() // _QUARTER)
        if quarters * _QUARTER not in _OFFSETS:
            return None  # that was no quarter of an hour: no zone lies so far from UTC
        return (self.local - timedelta(seconds=quarters * _QUARTER)).replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class BackupLabel:
    """What a label tells.

    :param start_lsn: the checkpoint's redo position, where replay has to begin.
    :param start_segment: name of the segment that holds it.
    :param incremental_from: the start LSN of the backup that this one builds on, None for a full one (PostgreSQL 17 on).
    :param stop_lsn: in a history file only, as are the two after it.
    """

    start_lsn: Lsn
    start_segment: str
    timeline: int
    label: str = ""
    start_time: LabelTime | None = None
    incremental_from: Lsn | None = None
    incremental_timeline: int | None = None
    stop_lsn: Lsn | None = None
    stop_time: LabelTime | None = None
    stop_timeline: int | None = None


def parse_label(text: str) -> BackupLabel:
    """Take a label apart.

    :raises ValueError: when it doesn't say where the backup started.
    """
    # The user's own text stands in LABEL and may hold a line break; what the server wrote before it counts.
    lines: dict[str, str] = {}
    for line in text.split("\n"):
        name, separator, value = line.partition(": ")
        if separator:
            lines.setdefault(name, value.rstrip("\r"))
    start = _POSITION.fullmatch(lines.get("START WAL LOCATION", ""))
    if start is None:
        raise ValueError("it does not say where the backup's WAL starts (START WAL LOCATION)")
    of_file = int(start[2][:8], 16)
    timeline = _number(lines, "START TIMELINE") or of_file
    if timeline != of_file or timeline == 0:
        raise ValueError("its START TIMELINE is not that of its START WAL LOCATION")
    stop = _POSITION.fullmatch(lines.get("STOP WAL LOCATION", ""))
    base = lines.get("INCREMENTAL FROM LSN")
    return BackupLabel(
        start_lsn=Lsn(start[1]),
        start_segment=start[2],
        timeline=timeline,
        label=lines.get("LABEL", ""),
        start_time=_time(lines.get("START TIME", "")),
        incremental_from=Lsn(base) if base is not None else None,
        incremental_timeline=_number(lines, "INCREMENTAL FROM TLI"),
        stop_lsn=Lsn(stop[1]) if stop else None,
        stop_time=_time(lines.get("STOP TIME", "")),
        stop_timeline=_number(lines, "STOP TIMELINE"),
    )


def _number(lines: dict[str, str], name: str) -> int | None:
    text = lines.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ValueError(f"its {name} is not a number")
    return int(text)


def _time(text: str) -> LabelTime | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    try:
        local = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - the zone is read beside it
    except ValueError:
        return None
    if not 1970 < local.year < 9000:
        return None
    return LabelTime(local=local, zone=match[2], offset=_offset(match[2]))


def _offset(zone: str) -> int | None:
    if zone in ("UTC", "GMT", "Z", "UCT", "Etc/UTC"):
        return 0
    match = _OFFSET.fullmatch(zone)
    if match is None:
        return None
    seconds = int(match[2]) * 3600 + int(match[3] or 0) * 60
    return -seconds if match[1] == "-" else seconds
