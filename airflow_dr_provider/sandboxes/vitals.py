"""Signs of life: whether a sandbox's server runs and answers, and what the machine has left for it."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
from pathlib import Path

from airflow_dr_provider.domain.reports import Vitals
from airflow_dr_provider.sandboxes import server
from airflow_dr_provider.sandboxes.place import Place
from airflow_dr_provider.sandboxes.processes import belonging
from airflow_dr_provider.sandboxes.settings import PORT

_ANSWER_SECONDS = 5.0
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""PostgreSQL manual, *Message Formats*: answered by one byte, before anybody is asked who they are."""
_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
"""What a first-version cgroup without a limit says is about 2^63."""


async def vitals(place: Place) -> Vitals:
    """Look once."""
    found = await asyncio.to_thread(_look, place)
    answers = await _answers(place) if found.server is not None else None
    return found.model_copy(update={"answers": answers})


def _look(place: Place) -> Vitals:
    running = server.find(place)
    data = place.data if place.data.exists() else place.root
    return Vitals(
        server=running.postmaster.pid if running is not None else None,
        disk_free=shutil.disk_usage(data).free,
        memory_free=memory_free(),
        memory_used=sum(_resident(process.pid) for process in belonging(place.root)),
    )


async def _answers(place: Place) -> bool:
    """Whether the server says anything; a listening socket alone is also that of one that stands still."""
    descriptor = os.open(place.run, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            # By the folder's descriptor, since a socket's path ends at 107 bytes.
            reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/.s.PGSQL.{PORT}")
            try:
                writer.write(_SSL_REQUEST)
                return bool(await reader.read(1))
            finally:
                writer.close()
    except (TimeoutError, OSError):
        return False
    finally:
        os.close(descriptor)


def memory_free() -> int | None:
    """Bytes that processes may still take: the machine's, or what the control group leaves; None when nobody says."""
    known = [found for found in (_machine(), _group("memory.max", "memory.current", "inactive_file"),
                                 _group("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"))
             if found is not None]  # fmt: skip
    return min(known, default=None)


def _machine() -> int | None:
    """``MemAvailable`` (proc_meminfo(5)): what can be had without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _group(limit: str, used: str, idle: str) -> int | None:
    """What a control group leaves; file pages that nobody uses are given up before anything is refused."""
    try:
        most = int((_CGROUP / limit).read_text())
        taken = int((_CGROUP / used).read_text())
        stat = dict(line.split() for line in (_CGROUP / limit).with_name("memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None  # no such group, or one without a limit ("max")
    return most - max(0, taken - int(stat.get(idle, 0))) if most < _UNLIMITED else None


def _resident(pid: int) -> int:
    """Bytes of a process that no other shares (proc_pid_statm(5): resident less shared)."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
