"""Damage to restored files, past every verification of the restore.

A relation's file is damaged while the server is down, after replay: a full-page image in the WAL would heal it otherwise, and so
would the server's own copy of a page. Every deed may be done twice: a run that was killed in the middle of one does it again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from airflow_dr_provider.faults.base import Victim
from airflow_dr_provider.faults.objects import largest_table
from airflow_dr_provider.faults.server import stop

PAGE = 8192
_DAMAGE = b"injected fault! " * 8
_CONTROL_OFFSET = 64
"""Inside of what pg_control's own checksum covers."""


async def overwrite_relation(victim: Victim) -> str:
    """Overwrite bytes in the middle page of the largest table."""

    def damage(path: Path) -> str:
        offset = path.stat().st_size // PAGE // 2 * PAGE + PAGE // 2
        overwrite(path, offset)
        return f"{len(_DAMAGE)} bytes at {offset} overwritten"

    return await _damage_table(victim, damage)


async def truncate_relation(victim: Victim) -> str:
    """Cut most pages of the largest table off."""

    def damage(path: Path) -> str:
        pages = path.stat().st_size // PAGE
        os.truncate(path, pages // 10 * PAGE)
        return f"{pages // 10} of {pages} pages left"

    return await _damage_table(victim, damage)


async def remove_relation(victim: Victim) -> str:
    """Remove the first file of the largest table."""

    def damage(path: Path) -> str:
        path.unlink()
        return "removed"

    return await _damage_table(victim, damage)


async def overwrite_control(victim: Victim) -> str:
    """Overwrite the middle of what pg_control's checksum covers."""
    overwrite(victim.own_file(victim.data / "global" / "pg_control"), _CONTROL_OFFSET)
    return f"global/pg_control: {len(_DAMAGE)} bytes at {_CONTROL_OFFSET} overwritten"


async def _damage_table(victim: Victim, damage: Callable[[Path], str]) -> str:
    database, table = await largest_table(victim)
    async with await victim.connect(database) as connection:
        cursor = await connection.execute("SELECT pg_catalog.pg_relation_filepath(%s::pg_catalog.regclass)", (table,))
        row = await cursor.fetchone()
    relative = str(row[0]) if row is not None else ""
    path = victim.own_file(victim.data / relative)
    await stop(victim)
    done = await asyncio.to_thread(damage, path)
    await victim.start()
    return f"{database}: {table} ({relative}): {done}"


def overwrite(path: Path, offset: int) -> None:
    """Put bytes that mean nothing at an offset; the file's size stays."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(_DAMAGE[: max(0, path.stat().st_size - offset)])
