"""Read compressed files as streams that say when they are cut off.

The convenience classes of some libraries give a cut-off file's beginning and call that its end; a backup's end must not be
missed, so the decompressors are driven here, and each has to see the end of its last frame.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, cast

from airflow_dr_provider.errors import BackupError, ConfigurationError

_INPUT = 16 * 1024
BY_SOURCE = "source"
"""Stands for a compression that is undone by what gives the bytes; the stored size says nothing about the content's."""

_LIBRARIES = {".lz4": "lz4", ".zst": "zstandard"}

SUFFIXES: dict[str, str] = {
    ".gz": ".gz",
    ".tgz": ".gz",
    ".lz4": ".lz4",
    ".zst": ".zst",
    ".bz2": ".bz2",
    ".xz": ".xz",
}
"""File name endings, and the compression that each stands for."""

ZLIB = ".zlib"
"""A compression that no file name tells: gzip's without its header."""


def compression_of(name: str) -> str:
    """The compression that a file's name tells: a value of :data:`SUFFIXES`, or "" for a plain file."""
    return next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), "")


_MAGIC = (
    (b"\x1f\x8b\x08", ".gz"),
    (b"BZh", ".bz2"),
    (b"\xfd7zXZ\x00", ".xz"),
    (b"\x04\x22\x4d\x18", ".lz4"),
    (b"\x28\xb5\x2f\xfd", ".zst"),
)


def compression_of_content(beginning: bytes) -> str:
    """The compression that a file's first bytes tell, for tools that add no ending to its name; "" for none that is known."""
    return next((kind for magic, kind in _MAGIC if beginning.startswith(magic)), "")


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
    return content_of(path.open("rb"), compression_of(path.name), path)


def content_of(stored: BinaryIO, compression: str, path: Path) -> BinaryIO:
    """What a stream of stored bytes holds, decompressed.

    :param compression: a value of :data:`SUFFIXES`, :data:`BY_SOURCE`, :data:`ZLIB`, or "" for a plain file.
    :param path: where it lies, for messages.
    :raises ConfigurationError: when the library for its compression isn't installed.
    """
    if compression in ("", BY_SOURCE):
        return stored
    try:
        make = _decompressor(compression, path)
    except ConfigurationError:
        stored.close()
        raise
    return cast("BinaryIO", io.BufferedReader(_Decompressed(stored, make, compression, path), 1 << 18))


def _decompressor(kind: str, path: Path) -> Callable[[], Any]:
    if kind == ".gz":
        return lambda: zlib.decompressobj(wbits=31)
    if kind == ZLIB:
        return zlib.decompressobj
    if kind == ".bz2":
        return bz2.BZ2Decompressor
    if kind == ".xz":
        return lzma.LZMADecompressor
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

    def __init__(self, stored: BinaryIO, make: Callable[[], Any], compression: str, path: Path) -> None:
        self._path = path
        self._compression = compression
        self._make = make
        self._file = stored
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
            if self._compression == ".gz":
                self._input = self._input.lstrip(b"\0")
        return True

    def _damaged(self, what: str) -> BackupError:
        return BackupError(f"{self._path} can't be decompressed: {what}. Its content is lost.", code="BACKUP_UNREADABLE")
