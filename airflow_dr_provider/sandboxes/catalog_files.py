"""Names of roles and databases, read from a stopped cluster's shared catalogs.

A restored server has to be entered once before it has credentials of ours, as a superuser whose name only production
knows. ``pg_authid`` and ``pg_database`` are heaps in ``global/``; their layout has been the same since PostgreSQL 12
(src/include/storage/bufpage.h, access/htup_details.h, utils/cache/relmapper.c). What is read is a guess that a connection
then proves: rows that are dead, or older than the recovery target, do no harm.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_AUTHID, _DATABASE = 1260, 1262
_RELMAP_MAGIC = 0x592717
_NAME_LENGTH = 64
_NORMAL = 1  # LP_NORMAL


def superusers(data: Path, *, block_size: int = 8192) -> tuple[str, ...]:
    """Names of superusers that may log in, ``postgres`` first; empty when the file can't be read."""
    names = []
    for row in _rows(data, _AUTHID, block_size):
        # oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, …
        if len(row) >= 4 + _NAME_LENGTH + 5 and row[4 + _NAME_LENGTH] == 1 and row[4 + _NAME_LENGTH + 4] == 1:
            names.append(_name(row))
    return _sorted(names, "postgres")


def databases(data: Path, *, block_size: int = 8192) -> tuple[str, ...]:
    """Names of databases, ``postgres`` and ``template1`` first; empty when the file can't be read."""
    names = [_name(row) for row in _rows(data, _DATABASE, block_size) if len(row) >= 4 + _NAME_LENGTH]
    return _sorted([name for name in names if name != "template0"], "template1", "postgres")


def _sorted(names: list[str], *favourites: str) -> tuple[str, ...]:
    found = list(dict.fromkeys(name for name in names if name))
    return tuple(sorted(found, key=lambda name: -favourites.index(name) if name in favourites else 1))


def _name(row: bytes) -> str:
    return row[4 : 4 + _NAME_LENGTH].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(1 << 26)


def _rows(data: Path, relation: int, block_size: int) -> list[bytes]:
    number = _filenode(_read(data / "global" / "pg_filenode.map"), relation)
    if number is None:
        return []
    heap = _read(data / "global" / str(number))
    rows: list[bytes] = []
    for start in range(0, len(heap) - block_size + 1, block_size):
        rows += _rows_of_page(heap[start : start + block_size])
    return rows


def _filenode(table: bytes, relation: int) -> int | None:
    if len(table) < 8:
        return None
    magic, count = struct.unpack_from("=ii", table)
    if magic != _RELMAP_MAGIC or not 0 <= count <= (len(table) - 8) // 8:
        return None
    for index in range(count):
        oid, number = struct.unpack_from("=II", table, 8 + 8 * index)
        if oid == relation:
            return int(number)
    return None


def _rows_of_page(page: bytes) -> list[bytes]:
    lower = struct.unpack_from("=H", page, 12)[0]
    rows = []
    for position in range(24, min(lower, len(page)) - 3, 4):
        item = struct.unpack_from("=I", page, position)[0]
        offset, flags, length = item & 0x7FFF, item >> 15 & 0x3, item >> 17
        if flags != _NORMAL or length < 24 or offset + length > len(page):
            continue
        header = page[offset + 22]
        if 23 <= header < length:
            rows.append(page[offset + header : offset + length])
    return rows
