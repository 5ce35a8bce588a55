"""Durations as people write them: ``30m``, ``7d``, ``1h30m``, and ISO 8601's ``PT1H``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

LONGEST = timedelta(days=3660)
_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_SHORT = re.compile(r"(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_ISO = re.compile(r"P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?", re.ASCII)
PATTERN = r"^(?=.)(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?$|^P(?=.)(\d+W)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?$"


def parse_duration(value: Any) -> timedelta:
    """A duration from its text.

    :raises ValueError: when it is none, isn't positive, or is longer than ten years; says how to write one.
    """
    if isinstance(value, timedelta):
        found = value
    elif isinstance(value, str):
        match = _SHORT.fullmatch(value) or (_ISO.fullmatch(value) if not value.endswith("T") else None)
        if match is None or not any(match.groups()):
            shown = value if len(value) <= 40 else value[:37] + "..."
            raise ValueError(f"{shown!r} is no duration; write 30m, 1h30m, 7d or PT1H")
        parts = zip(match.groups(), _UNITS.values(), strict=True)
        found = timedelta(seconds=sum(int(number) * seconds for number, seconds in parts if number))
    else:
        unit = f"{value} has no unit; write {value}m" if type(value) in (int, float) else "is no duration; write 30m"
        raise ValueError(f"{unit}, or another duration like 1h30m, 7d or PT1H")
    if found <= timedelta(0):
        raise ValueError("a duration has to be longer than nothing")
    if found > LONGEST:
        raise ValueError("a duration of more than ten years is a mistake")
    return found


def format_duration(value: timedelta) -> str:
    """The text that reads back: ``1d2h``."""
    rest, text = int(value.total_seconds()), ""
    for unit, seconds in list(_UNITS.items())[1:]:
        number, rest = divmod(rest, seconds)
        text += f"{number}{unit}" if number else ""
    return text or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["30m", "7d", "PT1H"]}),
]
"""A positive duration in a spec."""
