"""The server's process: started so that it outlives its starter, found again by whoever comes next."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.postgresql.command import environment
from airflow_dr_provider.postgresql.programs import Programs
from airflow_dr_provider.sandboxes.isolation import Enclosure, Way
from airflow_dr_provider.sandboxes.place import Place
from airflow_dr_provider.sandboxes.processes import Running, belonging, boot, clock, process, remove_shared_memory, server_of
from airflow_dr_provider.sandboxes.settings import PORT
from airflow_dr_provider.sandboxes.settling import settled

_FILES = ("config_file=../conf/postgresql.conf", "hba_file=../conf/pg_hba.conf", "ident_file=../conf/pg_ident.conf")
_APPEAR = 20.0
"""Seconds within which the server's process has to be there: it only has to pass a few mounts."""


@dataclass(frozen=True)
class Server:
    """A running server.

    :param postmaster: its first process.
    :param wrapper: the ``unshare`` around it; None without namespaces.
    """

    postmaster: Running
    wrapper: Running | None


def find(place: Place) -> Server | None:
    """The sandbox's server, None when it doesn't run.

    What was noted is believed when that very process still lives; else every process is looked at.
    """
    noted = place.notes().get("server")
    if noted and noted["boot"] == boot():
        running = process(noted["pid"])
        if running is not None and running.started == noted["started"]:
            return Server(running, _wrapper(running))
    found = server_of(belonging(place.root))
    return Server(found, _wrapper(found)) if found is not None else None


def _wrapper(postmaster: Running) -> Running | None:
    parent = process(postmaster.parent)
    return parent if parent is not None and parent.command == "unshare" else None


@contextlib.contextmanager
def _lock(place: Place) -> Iterator[int | None]:
    """The lock that every process of a server holds open; None when somebody has it.

    Two servers on one data directory, each the first process of its own namespace, wouldn't notice each other.
    """
    descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


async def released(place: Place, *, patience: float = 3.0) -> bool:
    """Whether no process, in sight or not, holds the server's lock any more.

    One that was killed has no environment to be known by for a moment before its files are closed.

    :param patience: seconds to wait for that.
    """
    deadline = clock() + patience
    while True:
        with _lock(place) as lock:
            if lock is not None:
                return True
        if clock() > deadline:
            return False
        await asyncio.sleep(0.01)


def shared_memory(place: Place) -> int | None:
    """The System V segment that a server noted and didn't give back (postmaster.pid, seventh line: key and id)."""
    try:
        lines = (place.data / "postmaster.pid").read_text().splitlines()
        return int(lines[6].split()[1])
    except (OSError, ValueError, IndexError):
        return None  # no server was started, or it left in order


def clear_remains(place: Place, enclosure: Enclosure) -> None:
    """Remove what a killed server left of itself, when it is known that none of its processes lives.

    PostgreSQL would ask whether the process of the noted id lives, and take one that waits to be reaped for a server.
    """
    segment = shared_memory(place)
    if segment is not None and enclosure.way is Way.NONE:
        remove_shared_memory(segment, enclosure.account.uid)
    for name in ("data/postmaster.pid", f"run/.s.PGSQL.{PORT}", f"run/.s.PGSQL.{PORT}.lock"):
        (place.root / name).unlink(missing_ok=True)


async def start(place: Place, programs: Programs, enclosure: Enclosure) -> Server:
    """Start the server, or take the one that runs.

    It gets a session of its own and no parent of ours; cancelled or killed at any moment, what was started can be found.

    :raises SandboxError: ``SANDBOX_FAILED`` when another process is at it.
    :raises ProcessLookupError: when it ended before it was a server; the log says why.
    """
    deadline = clock() + _APPEAR
    while True:
        with _lock(place) as lock:
            # Looked for with the lock in hand: who had it a moment ago may have started it.
            found = await settled(find, place)
            if found is not None:
                _note(place, found.postmaster)
                return found
            if lock is not None:
                await settled(clear_remains, place, enclosure)
                await _launch(place, programs, enclosure, lock)
                return await _appeared(place)
        # Another process is starting it, or children of a killed one haven't noticed yet.
        if clock() > deadline:
            raise SandboxError(f"{place.name}: another process has been starting this sandbox's server for {_APPEAR:.0f} s.")
        await asyncio.sleep(0.02)


async def _launch(place: Place, programs: Programs, enclosure: Enclosure, lock: int) -> None:
    command = enclosure.around((programs.path("postgres"), "-D", ".", *(word for file in _FILES for word in ("-c", file))))
    place.note(log_offset=place.log.stat().st_size if place.log.exists() else 0, started=clock())
    with _log(place.log) as log:
        starter = await asyncio.create_subprocess_exec(
            "setsid",
            "--fork",
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment(), **enclosure.environment},
            # From the root, pivot_root takes the ``unshare`` that waits outside along to the new one.
            cwd="/" if enclosure.way.has_mount else place.data,
            pass_fds=(lock,),
        )
        await starter.wait()


@contextlib.contextmanager
def _log(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _appeared(place: Place) -> Server:
    deadline = clock() + _APPEAR
    while True:
        processes = await settled(belonging, place.root)
        postmaster = server_of(processes)
        if postmaster is not None:
            _note(place, postmaster)
            return Server(postmaster, _wrapper(postmaster))
        if not processes:
            raise ProcessLookupError(f"the server of {place.name} ended as soon as it was started")
        if clock() > deadline:
            raise SandboxError(
                f"The server of {place.name} did not start within {_APPEAR:.0f} s: {log_since_start(place)[-300:]}"
            )
        await asyncio.sleep(0.01)


def _note(place: Place, postmaster: Running) -> None:
    place.note(server={"pid": postmaster.pid, "started": postmaster.started, "boot": boot()})


def log_since_start(place: Place) -> str:
    """What the server wrote since it was last started, the newest 4 MiB of it."""
    try:
        with place.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(int(place.notes().get("log_offset", 0)), size - (1 << 22)))
            return log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def log_end(place: Place, lines: int) -> str:
    """The last lines of the log; "" when there is none."""
    try:
        with place.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - (1 << 18)))
            return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
