"""One file of a WAL archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from airflow_dr_provider.repositories.compression import content_of


class ArchiveFile(NamedTuple):
    """One file of the archive.

    :param path: where it lies; in a repository that is no folder of this machine, the path that its tool knows.
    :param size: bytes as stored.
    :param compression: as :func:`~airflow_dr_provider.repositories.compression.content_of` takes it, "" for a plain file.
    :param source: opens its bytes as stored; None for a local file.
    :param sha1: of its content, where the archive tells; "" where it doesn't.
    :param tag: what a bucket's service calls this content (an ETag); "" elsewhere.
    :param spare: another file of the same content, for when this one can't be used.
    """

    path: Path
    size: int
    compression: str
    source: Callable[[], BinaryIO] | None = None
    sha1: str = ""
    tag: str = ""
    spare: ArchiveFile | None = None

    @property
    def stamp(self) -> str:
        """What changes whenever the file is replaced; "" where nothing tells, or where it is gone."""
        if self.tag or self.source is not None:
            return self.tag
        try:
            return str(self.path.stat().st_mtime_ns)
        except OSError:
            return ""

    @property
    def plain(self) -> bool:
        """Whether the file lies on this machine just as PostgreSQL wrote it."""
        return not self.compression and self.source is None

    def open(self) -> BinaryIO:
        """Its content, decompressed, from beginning to end.

        :raises OSError: when it can't be opened.
        :raises DrillError: when it can't be read any more; reading raises it too.
        """
        return content_of(self.path.open("rb") if self.source is None else self.source(), self.compression, self.path)
