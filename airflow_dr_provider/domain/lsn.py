"""Log sequence numbers: positions in PostgreSQL's write-ahead log."""

from __future__ import annotations

import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_TEXT = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_LIMIT = 1 << 64


class Lsn(int):
    """A byte position in the write-ahead log, written ``16/B374D848`` (PostgreSQL manual, ``pg_lsn``).

    An integer with another face: compare and subtract it as one; ``str()`` gives PostgreSQL's text.
    """

    __slots__ = ()

    def __new__(cls, value: int | str = 0) -> Lsn:
        """Make a position from its number or its text.

        :param value: a byte position, or the text ``high/low`` in hexadecimal.
        :raises ValueError: when the text is no LSN, or the number has more than 64 bits.
        """
        if isinstance(value, str):
            match = _TEXT.fullmatch(value)
            if match is None:
                raise ValueError(f"{value!r} is not an LSN; one looks like 16/B374D848")
            value = int(match[1], 16) << 32 | int(match[2], 16)
        if not 0 <= value < _LIMIT:
            raise ValueError(f"{value} is not an LSN: it must lie between 0 and 2^64")
        return super().__new__(cls, value)

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )
