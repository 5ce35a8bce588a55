"""Copy bytes and hash them in one pass."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Protocol

from airflow_dr_provider.repositories.halting import check_halt

_CHUNK = 1 << 20
_FIRST = 1 << 15


class Hash(Protocol):
    """What :mod:`hashlib` makes."""

    def update(self, data: memoryview, /) -> None:
        """Take more content."""
        ...

    def hexdigest(self) -> str:
        """The checksum of all of it."""
        ...


def hash_of(algorithm: str) -> Hash | None:
    """A hash for a manifest's algorithm; None for CRC-32C, which Python doesn't have, and for none."""
    return hashlib.new(algorithm.lower()) if algorithm.startswith("SHA") else None


def copy_content(source: BinaryIO, sink: BinaryIO | None, *, digest: Hash | None = None, limit: int | None = None) -> int:
    """Read to the end, hash, and write.

    :param sink: None to hash only.
    :param limit: read at most so many bytes.
    :return: bytes read.
    """
    buffer = memoryview(bytearray(_FIRST))
    total = 0
    while limit is None or total < limit:
        check_halt()
        size = _read_into(source, buffer if limit is None else buffer[: limit - total])
        if not size:
            break
        part = buffer[:size]
        if digest is not None:
            digest.update(part)
        if sink is not None:
            sink.write(part)
        if total == 0 and size == len(buffer) == _FIRST:
            # Most files of a cluster are small, and a large buffer takes longer to make than they take to read.
            buffer = memoryview(bytearray(_CHUNK))
        total += size
    return total


def _read_into(source: BinaryIO, buffer: memoryview) -> int:
    readinto = getattr(source, "readinto", None)
    if readinto is not None:
        return int(readinto(buffer) or 0)
    content = source.read(len(buffer))
    buffer[: len(content)] = content
    return len(content)


def copy_file(source: BinaryIO, sink: BinaryIO) -> int:
    """Copy a whole file without hashing, in the kernel where that works.

    :return: bytes copied.
    """
    total = 0
    try:
        while True:
            check_halt()
            size = os.copy_file_range(source.fileno(), sink.fileno(), 1 << 26)
            if not size:
                return total
            total += size
    except OSError:
        if total:
            raise
        # Another file system, or one that can't: by hand.
        return copy_content(source, sink)


def forget_pages(path: Path) -> None:
    """Let the kernel drop a file's pages: what is read once to be verified shall not push out what others read often."""
    if not hasattr(os, "posix_fadvise"):
        return
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # whoever put a pipe there shall not make this wait
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
