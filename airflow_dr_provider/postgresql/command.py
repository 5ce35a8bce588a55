"""Run one of PostgreSQL's programs to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.postgresql.account import Account

# Nothing of the caller's PG* variables may point a program at another server than the one meant.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZDIR")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The end of what it said, for a message."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return " / ".join(line.strip() for line in lines[-3:])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment with messages in English and times in UTC."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC", **(extra or {})}


async def run(
    command: Sequence[str],
    *,
    account: Account | None = None,
    cwd: Path | None = None,
    extra: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Finished:
    """Run a command in a process group of its own and wait for it.

    Cancelled or out of time, the whole group is killed before the call returns.

    :param timeout: seconds.
    :raises TimeoutError: when it doesn't end in time.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(extra),
        cwd=cwd or "/",
        start_new_session=True,
        **(account.as_subprocess if account else {}),
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return Finished(code=process.returncode or 0, out=out.decode("utf-8", "replace"), err=err.decode("utf-8", "replace"))
