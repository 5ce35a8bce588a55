"""Damage to fetched WAL, after it was decoded and before the server replays it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from airflow_dr_provider.faults.base import Victim, refused
from airflow_dr_provider.faults.files import overwrite

_SEGMENT = re.compile(r"[0-9A-F]{24}")


async def remove_segment(victim: Victim) -> str:
    """Remove the last segment."""
    path = last_segment(victim)
    for copy in _copies(victim, path.name):
        copy.unlink()
    return f"{path.name} removed"


async def overwrite_segment(victim: Victim) -> str:
    """Overwrite the first record of the last segment's second page, so that the replay ends there."""
    path = last_segment(victim)
    for copy in _copies(victim, path.name):
        overwrite(copy, _FIRST_PAGE_HEADER)
    return f"{path.name}: bytes at {_FIRST_PAGE_HEADER} overwritten"


_FIRST_PAGE_HEADER = 40
"""The length of a segment's first page header (``SizeOfXLogLongPHD``): the first record, or the rest of one, follows it."""


def last_segment(victim: Victim) -> Path:
    """The last fetched segment.

    :raises SandboxError: when none was fetched.
    """
    found = [name for name in os.listdir(victim.wal) if _SEGMENT.fullmatch(name)]
    if not found:
        raise refused("no WAL segment was fetched")
    return victim.own_file(victim.wal / max(found))


def _copies(victim: Victim, name: str) -> list[Path]:
    """The segment where it was fetched to, and in ``pg_wal`` where the backup brought its own."""
    places = (victim.wal / name, victim.data / "pg_wal" / name)
    return [victim.own_file(path) for path in places if path.exists()]
