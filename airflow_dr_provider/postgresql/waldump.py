"""Decode WAL with ``pg_waldump``.

Its exit status and its messages are not judged: WAL that ends in the middle of a segment looks like damage to it. What counts
is how far it could decode, and that it tells in the first line of its statistics.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import ConfigurationError
from airflow_dr_provider.postgresql.command import environment, run
from airflow_dr_provider.postgresql.programs import Programs

_STATISTICS = re.compile(r"WAL statistics between ([0-9A-F]+/[0-9A-F]+) and ([0-9A-F]+/[0-9A-F]+):")
_RECORD = re.compile(
    rb"rmgr: (\S+)\s+len \(rec/tot\):\s*\d+/\s*(\d+), tx:\s*(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), prev [0-9A-F]+/[0-9A-F]+, desc: (.*)",
    re.DOTALL,
)
_END_OF_TRANSACTION = re.compile(
    r"(COMMIT|ABORT)(?:_PREPARED (\d+):)? (\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) UTC(?:;.*)?", re.DOTALL
)
_CHUNK = 1 << 18
_LINE = 4096


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """How far a stretch of WAL could be decoded.

    :param start: the first record that begins in it, None when none does.
    :param end: the position after the last whole record, None when there is none.
    :param to_the_end: False when decoding stopped before the stretch's end: its records end there, or are damaged.
    :param message: what pg_waldump said about that.
    """

    start: Lsn | None
    end: Lsn | None
    to_the_end: bool
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class WalRecord:
    """One record.

    :param manager: the resource manager's name, ``Transaction`` or ``XLOG`` for those that recovery can stop at.
    :param length: total length in bytes, page headers on its way not counted.
    :param transaction: 32-bit id, 0 for none.
    :param description: at most some 4000 characters of it.
    """

    manager: str
    length: int
    transaction: int
    lsn: Lsn
    description: str

    @property
    def fills_segment(self) -> bool:
        """Whether it is a segment switch."""
        return self.manager == "XLOG" and self.description.strip() == "SWITCH"

    @property
    def transaction_end(self) -> TransactionEnd | None:
        """How a transaction ended, for a commit or abort of either kind; None for any other record."""
        if self.manager != "Transaction":
            return None
        match = _END_OF_TRANSACTION.fullmatch(self.description.rstrip("\n"))
        if match is None:
            return None
        try:
            time = datetime.strptime(match[3], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
        except ValueError:
            return None
        return TransactionEnd(
            transaction=int(match[2]) if match[2] else self.transaction, committed=match[1] == "COMMIT", time=time
        )

    @property
    def restore_point(self) -> str | None:
        """The name of a restore point, None for any other record."""
        prefix = "RESTORE_POINT "
        if self.manager != "XLOG" or not self.description.startswith(prefix):
            return None
        return self.description.removeprefix(prefix)


@dataclass(frozen=True, kw_only=True)
class TransactionEnd:
    """A commit or an abort; of a prepared transaction too, whose id its record doesn't carry in the usual place."""

    transaction: int
    committed: bool
    time: datetime


def parse_record(line: bytes) -> WalRecord | None:
    """A record from a line of output; None for any other line."""
    match = _RECORD.match(line)
    if match is None:
        return None
    return WalRecord(
        manager=match[1].decode(),
        length=int(match[2]),
        transaction=int(match[3]),
        lsn=Lsn(match[4].decode()),
        description=match[5].decode("utf-8", "replace"),
    )


class WalDump:
    """``pg_waldump`` of one installation; it reads WAL of its own major version only."""

    def __init__(self, programs: Programs) -> None:
        self._program = programs.path("pg_waldump")

    async def decode(self, segment: Path, *, start: Lsn | None = None) -> Decoded:
        """Decode one segment's file.

        A record that begins in it and continues in the next one is not counted; what continues into it from the one before
        is not looked at: :meth:`decode_one` is for those.

        :param segment: a plain file by its right name.
        :param start: a record's position inside it; from its first record when None.
        """
        return await self._statistics(*(("-s", str(start)) if start is not None else ()), str(segment))

    async def decode_one(self, folder: Path, timeline: int, start: Lsn) -> Decoded:
        """Decode the one record that begins at *start*, through as many segments as it takes.

        :param folder: holds the segments by names of that timeline.
        """
        return await self._statistics("-n", "1", "-p", str(folder), "-t", str(timeline), "-s", str(start))

    async def _statistics(self, *arguments: str) -> Decoded:
        done = await run([self._program, "--stats", *arguments])
        self._worked(done.code, done.err)
        match = _STATISTICS.match(done.out)
        start, end = (Lsn(match[1]), Lsn(match[2])) if match else (None, None)
        message = " ".join(
            line.removeprefix("pg_waldump: ").removeprefix("error: ").removeprefix("fatal: ")
            for line in done.err.splitlines()
            if "first record is after" not in line
        )
        return Decoded(start=start, end=end, to_the_end=done.code == 0, message=message)

    async def records(
        self, segments: Sequence[Path], *, manager: str | None = None, start: Lsn | None = None
    ) -> AsyncGenerator[WalRecord, None]:
        """The records of consecutive segments, as far as they can be decoded, one at a time whatever their number.

        Use it with :func:`contextlib.aclosing`: left early, the program is ended.

        :param segments: plain files in one folder, of one timeline, neighbours in order.
        :param manager: only records of this resource manager.
        :param start: a position inside the first one; the first record at or after it is the first given.
        """
        command = [self._program, *(("-r", manager) if manager else ()), *(("-s", str(start)) if start is not None else ())]
        command += [str(segments[0])] if len(segments) == 1 else [str(segments[0]), str(segments[-1])]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(),
            cwd="/",
            start_new_session=True,
        )
        if process.stdout is None or process.stderr is None:
            raise ConfigurationError("pg_waldump could not be started with its output in a pipe.")
        errors = asyncio.ensure_future(process.stderr.read())
        try:
            async for line in _lines(process.stdout):
                record = parse_record(line)
                if record is not None:
                    yield record
            self._worked(await process.wait(), (await errors).decode("utf-8", "replace"))
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            errors.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await errors

    def _worked(self, code: int, said: str) -> None:
        # It ends with 1 for whatever it finds in WAL; anything else means that it did not run.
        if code not in (0, 1) or "error while loading" in said:
            raise ConfigurationError(
                f"{self._program} does not run (it ended with {code}: {said.strip()[-200:] or 'no message'}). "
                f"Repair or reinstall this PostgreSQL."
            )


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length, each cut to its beginning: a record's description can be as long as a table."""
    rest = b""
    while chunk := await stream.read(_CHUNK):
        first, *others = chunk.split(b"\n")
        rest = rest + first if len(rest) < _LINE else rest
        if not others:
            continue
        yield rest[:_LINE]
        *whole, rest = others
        for line in whole:
            yield line[:_LINE]
    if rest:
        yield rest[:_LINE]
