"""The one thing of ``global/pg_control`` that a catalog needs."""

from __future__ import annotations

import struct
from pathlib import Path

PATH = "global/pg_control"


def system_identifier(content: bytes) -> int | None:
    """The cluster's identifier: the first 8 bytes (``ControlFileData`` in ``pg_control.h``), in this machine's byte order.

    :return: None when there are fewer.
    """
    return int(struct.unpack("=Q", content[:8])[0]) if len(content) >= 8 else None


def read_system_identifier(data_directory: Path) -> int | None:
    """The identifier of a data directory; None when it has no control file that can be read."""
    try:
        with (data_directory / PATH).open("rb") as file:
            return system_identifier(file.read(8))
    except OSError:
        return None
