"""Which processes belong to a sandbox, and ending them.

A process id alone names nobody for long; with its start time it names one process of this boot. And no note that a starter
keeps is needed: every process of a sandbox carries its directory in its environment from its first moment, so that
what a killed starter left is found all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = "AIRFLOW_DR_SANDBOX"
_SERVER = "postgres"
_DATA_DIRECTORY = b"-D"
_TICKS = os.sysconf("SC_CLK_TCK")
_LOADING = 0.2
"""Seconds that loading a program takes at most; one without an environment is looked at for so long after its start."""


@dataclass(frozen=True)
class Running:
    """A process.

    :param started: its start in clock ticks since boot (field 22 of proc_pid_stat(5)).
    :param command: the first 15 characters of its program's name.
    """

    pid: int
    started: int
    parent: int
    command: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; one that only waits to be reaped doesn't."""
        now = process(self.pid)
        return now is not None and now.started == self.started


def boot() -> str:
    """The id of this boot: process ids and start times from before it mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def process(pid: int) -> Running | None:
    """The process of that id, None when there is none or it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    if fields[0] in "ZX":
        return None
    return Running(pid=pid, started=int(fields[19]), parent=int(fields[1]), command=head.partition("(")[2])


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def _marked(pid: int, mark: bytes) -> bool:
    """Whether a process carries the mark in its environment."""
    try:
        while not (words := _environment(pid)) and _just_begun(pid):
            time.sleep(0.001)
    except OSError:
        return False
    return mark in words


def _environment(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        content = file.read()
    return content.split(b"\0") if content else []


def _just_begun(pid: int) -> bool:
    """Whether a process without an environment may still get one: it is seen empty while its program is being loaded.

    :raises OSError: for a thread of the kernel, which never has any.
    """
    os.readlink(f"/proc/{pid}/exe")
    running = process(pid)
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - running.started / _TICKS if running is not None else _LOADING
    return age < _LOADING


def belonging(root: Path) -> list[Running]:
    """Every living process of the sandbox in that directory, this one and its ancestors never.

    They are those with the mark in their environment; PostgreSQL's own children, which overwrite theirs, by their working
    directory; programs that were started from the sandbox's copy; and whatever shares a process namespace with one of these.
    """
    mark = f"{ENVIRONMENT}={root}".encode()
    data = _identity(str(root / "data"))
    own_namespace = _namespace(os.getpid())
    spared = _line_of(os.getpid())
    found: set[int] = set()
    others: list[int] = []
    for pid in _pids():
        if pid in spared:
            continue
        if _marked(pid, mark) or _lies_in(pid, root, data):
            found.add(pid)
        else:
            others.append(pid)
    namespaces = {space for space in map(_namespace, found) if space not in (None, own_namespace)}
    if namespaces:
        found.update(pid for pid in others if _namespace(pid) in namespaces)
    return [running for running in map(process, sorted(found)) if running is not None]


def _lies_in(pid: int, root: Path, data: tuple[int, int] | None) -> bool:
    running = process(pid)
    if running is None:
        return False
    if data is not None and running.command == _SERVER and _identity(f"/proc/{pid}/cwd") == data:
        return True
    try:
        return os.readlink(f"/proc/{pid}/exe").startswith(f"{root}/")
    except OSError:
        return False


def _line_of(pid: int) -> set[int]:
    line = set()
    while pid > 0:
        line.add(pid)
        running = process(pid)
        pid = running.parent if running is not None else 0
    return line


def server_of(processes: list[Running]) -> Running | None:
    """The postmaster among a sandbox's processes: the one server process that still has its arguments.

    Its children write what they do over theirs; orphaned ones, which have no server above them, are no server.
    """
    for running in processes:
        if running.command == _SERVER and _DATA_DIRECTORY in _words(running.pid):
            return running
    return None


def _words(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


async def ended(running: Running, timeout: float) -> bool:
    """Wait until a process has ended, whoever its parent is.

    :param timeout: seconds.
    :return: whether it has.
    """
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(running.pid)
    except OSError:
        return True
    gone = loop.create_future()
    loop.add_reader(descriptor, lambda: None if gone.done() else gone.set_result(None))
    try:
        if not running.alive:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await gone
        return gone.done() and not gone.cancelled()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def send(running: Running, number: signal.Signals) -> None:
    """Send a signal to this very process, never to a later one of the same id.

    :raises PermissionError: when it isn't ours to end.
    """
    try:
        descriptor = os.pidfd_open(running.pid)
    except OSError:
        return
    try:
        if running.alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


async def end_all(root: Path, *, patience: float = 3.0) -> list[Running]:
    """End every process of a sandbox: its server is asked (immediate shutdown, which gives back shared memory), then killed.

    :param patience: seconds for the asking.
    :return: what still lives.
    """
    processes = await asyncio.to_thread(belonging, root)
    server = server_of(processes)
    if server is not None:
        with contextlib.suppress(PermissionError):
            send(server, signal.SIGQUIT)
            await ended(server, patience)
    for _ in range(20):
        processes = await asyncio.to_thread(belonging, root)
        if not processes:
            return []
        for running in processes:
            with contextlib.suppress(PermissionError):
                send(running, signal.SIGKILL)
        await asyncio.gather(*(ended(running, 0.5) for running in processes))
    return await asyncio.to_thread(belonging, root)


def remove_shared_memory(identifier: int, owner: int) -> None:
    """Remove a System V segment that a killed server left: nobody is attached to it, and it is the account's.

    The postmaster keeps its id in postmaster.pid (seventh line: key and id).
    """
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        fields = line.split()
        # key shmid perms size cpid lpid nattch uid …
        if int(fields[1]) == identifier and int(fields[6]) == 0 and int(fields[7]) == owner:
            ctypes.CDLL(None, use_errno=True).shmctl(identifier, 0, None)  # IPC_RMID


def clock() -> float:
    """Seconds since boot: comparable between processes, unlike a process's own counter."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
