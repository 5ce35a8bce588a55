"""Damage to what is around the copy: the place where it is to lie, its disk, its time, its end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
from pathlib import Path

from airflow_dr_provider.faults.base import Victim, refused
from airflow_dr_provider.faults.server import stop

_MEBIBYTE = 1 << 20
_TRIES = 3000
"""So often, a hundredth of a second apart, is the lock of a server asked for that is on its way out."""


async def occupy(victim: Victim) -> str:
    """Let something else lie where the sandbox is to be made, for as long as the stage lasts."""
    if os.path.lexists(victim.root):
        raise refused(f"{victim.root} is there already")
    missing = [folder for folder in (victim.root, *victim.root.parents) if not folder.exists()]
    victim.root.mkdir(parents=True)
    foreign = victim.root / "not-a-sandbox"
    foreign.write_text("put here by an injected fault\n")

    def clear() -> None:
        foreign.unlink(missing_ok=True)
        for folder in missing:
            _remove_if_empty(folder)

    victim.held.callback(clear)
    return f"{victim.root} was taken by something else"


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # a sandbox was made in it meanwhile


async def small_disk(victim: Victim) -> str:
    """Lay a memory disk that is too small over the data directory. It goes with the sandbox.

    The host's own disk is never filled: that would be a fault of everybody's.
    """
    size = max(_MEBIBYTE, victim.size_bytes // 2)
    status = victim.data.stat()
    options = f"size={size},mode=700,uid={status.st_uid},gid={status.st_gid}"
    command = ("mount", "-t", "tmpfs", "-o", options, "drill-fault", str(victim.data))
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise refused(f"a small disk can only be mounted by root where mounting is allowed ({done.stderr.strip()})")
    return f"the data directory's disk holds {size // _MEBIBYTE} MiB"


async def hang(victim: Victim) -> str:
    """Never let the stage begin; the wait ends with the tier's time."""
    victim.then.append(asyncio.Event().wait)
    return "the stage waits for what never comes"


async def hold_lock(victim: Victim) -> str:
    """End the server and hold its lock, as one in another container would, for as long as the stage lasts."""
    lock = victim.details.get("lock")
    if lock is None or not Path(lock).is_file():
        raise refused("the sandbox has no lock, since no server was started in it")
    await stop(victim)
    descriptor = os.open(victim.own_file(Path(lock)), os.O_RDWR | os.O_NOFOLLOW)
    victim.held.callback(os.close, descriptor)
    for _ in range(_TRIES):
        if _locked(descriptor):
            return f"{Path(lock).name} is held"
        await asyncio.sleep(0.01)
    raise refused("processes of the server that was ended still hold its lock")


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
