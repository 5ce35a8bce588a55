"""Sizes as people write them: ``256MiB``, ``1GiB``."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

LARGEST = 1 << 60
_UNITS = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}
_TEXT = re.compile(r"(\d{1,19})(TiB|GiB|MiB|KiB|B)", re.ASCII)
PATTERN = r"^\d{1,19}(TiB|GiB|MiB|KiB|B)$"


def parse_size(value: Any) -> int:
    """Bytes from a size's text.

    :raises ValueError: when it is none, or is larger than an exbibyte; says how to write one.
    """
    if type(value) is int:
        found = value
    else:
        match = _TEXT.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"{str(value)[:40]!r} is no size; write 256MiB, 1GiB or 0B")
        found = int(match[1]) * _UNITS[match[2]]
    if not 0 <= found <= LARGEST:
        raise ValueError("a size lies between nothing and an exbibyte")
    return found


def format_size(value: int) -> str:
    """The text that reads back: ``256MiB``."""
    unit = next((name for name, size in _UNITS.items() if value and value % size == 0), "B")
    return f"{value // _UNITS[unit]}{unit}"


def _written(value: Any) -> int:
    """A size in a spec has a unit: a bare number would be read as bytes by one person and as megabytes by another."""
    if type(value) in (int, float):
        raise ValueError(f"{value} has no unit; write {value}MiB, or another size like 1GiB")
    return parse_size(value)


Size = Annotated[
    int,
    BeforeValidator(_written),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["256MiB", "1GiB"]}),
]
"""A size in a spec, in bytes."""
