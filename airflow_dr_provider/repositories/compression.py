"""Read compressed files as streams that say when they are cut off.

The convenience classes of some libraries give a cut-off file's beginning and call that its end; a backup's end must not be
missed, so the decompressors are driven here, and each has to see the end of its last frame.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, cast

from airflow_dr_provider.errors import BackupError, ConfigurationError

_INPUT = 16 * 1024
_LIBRARIES = {".lz4": "lz4", ".zst": "zstandard"}

SUFFIXES: dict[str, str] = {".gz": ".gz", ".tgz": ".gz", ".lz4": ".lz4", ".zst": ".zst"}
"""File name endings, and the compression that each stands for."""


def compression_of(name: str) -> str:
    """The compression that a file's name tells: a value of :data:`SUFFIXES`, or "" for a plain file."""
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), "")


def without_suffix(name: str) -> str:
    """A file's name without the ending that stands for its compression; ``base.tgz`` is short for ``base.tar.gz``."""
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix) + (".tar" if suffix == ".tgz" else "")
    return name


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading its content from beginning to end, decompressed where its name says that it is compressed.

    :raises OSError: when it can't be opened; reading raises :class:`BackupError` (``BACKUP_UNREADABLE``) when it is damaged.
    :raises ConfigurationError: when the library for its compression isn't installed.
    """
    kind = compression_of(path.name)
    if not kind:
        return path.open("rb")
    make = _decompressor(kind, path)
    return cast("BinaryIO", io.BufferedReader(_Decompressed(path, make), 1 << 18))


def _decompressor(kind: str, path: Path) -> Callable[[], Any]:
    if kind == ".gz":
        return lambda: zlib.decompressobj(wbits=31)
    try:
        if kind == ".lz4":
            return cast("Callable[[], Any]", import_module("lz4.frame").LZ4FrameDecompressor)
        module = import_module("zstandard")
    except ImportError as error:
        raise ConfigurationError(
            f"{path} can't be read: the Python package {_LIBRARIES[kind]} is not installed. "
            f"Install airflow-dr-provider[compression]."
        ) from error
    return lambda: module.ZstdDecompressor().decompressobj()


class _Decompressed(io.RawIOBase):
    """A file's content, frame after frame."""

    def __init__(self, path: Path, make: Callable[[], Any]) -> None:
        self._path = path
        self._make = make
        self._file = path.open("rb")
        self._frame: Any = None
        self._ready = memoryview(b"")
        self._input = b""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._fill():
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _fill(self) -> bool:
        """Decompress a little more; False at the end of the last frame."""
        if not self._input:
            self._input = self._file.read(_INPUT)
        if not self._input:
            if self._frame is not None:
                raise self._damaged("it is cut off")
            return False
        if self._frame is None:
            self._frame = self._make()
        try:
            self._ready = memoryview(self._frame.decompress(self._input))
        except Exception as error:  # each library has an error class of its own, one of them bare RuntimeError
            raise self._damaged(str(error)) from error
        self._input = b""
        if self._frame.eof:
            self._input = self._frame.unused_data or b""
            self._frame = None
            # gzip files may be padded with zeros to a block of a tape (RFC 1952 leaves it open; gzip itself allows it).
            if compression_of(self._path.name) == ".gz":
                self._input = self._input.lstrip(b"\0")
        return True

    def _damaged(self, what: str) -> BackupError:
        return BackupError(f"{self._path} can't be decompressed: {what}. Its content is lost.", code="BACKUP_UNREADABLE")
