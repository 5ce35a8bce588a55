"""Run a backup tool's program. What it prints is taken as input to be checked; its exit code is never the whole truth."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from airflow_dr_provider.errors import ArchiveError, ConfigurationError, RepositoryError
from airflow_dr_provider.postgresql.command import Finished, environment

LARGEST_OUTPUT = 1 << 30
"""Bytes that a program may print before it is ended: a listing of five million files has half of it."""
_TIMEOUT = 600.0
_LAST_WORDS = 2000
# Shorter values are switches and small numbers; to mask them would garble every message.
_MASKED = 5

T = TypeVar("T")


def find_program(name: str, given: Path | None, *, kind: str) -> Path:
    """The program, given or on PATH.

    :param given: the spec's own; a folder stands for the program of that name in it.
    :param kind: the repository's kind, for the message.
    :raises ConfigurationError: when there is none that can be run.
    """
    wanted = given / name if given is not None and given.is_dir() else given
    found = shutil.which(str(wanted) if wanted is not None else name)
    if found is None:
        where = f"{wanted} is no program" if wanted is not None else f"{name} is not on PATH"
        raise ConfigurationError(f"{where}; a {kind} repository needs it. Install it on every worker, or name it in the spec.")
    return Path(found)


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A backup tool's program with what every call of it begins with.

    :param secret: further variables whose values no message holds: their names stand in their place.
    :param name: what messages call it.
    :param passed: beginnings of names of environment variables that it gets from this process (``PGBACKREST_``, ``AWS_``).
    :param extra: further variables.
    :param content_codes: exit codes with which it tells that a file is damaged or not there, and not that it can't get at the
        repository; None for all.
    """

    name: str
    command: tuple[str, ...]
    passed: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    timeout: float = _TIMEOUT
    content_codes: Collection[int] | None = None
    secret: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Its environment: little of ours, messages in English, times in UTC."""
        passed = {name: value for name, value in os.environ.items() if name.startswith(("HOME", *self.passed))}
        return {**environment(), **passed, **self.secret, **self.extra}

    async def call(self, *arguments: str, codes: Collection[int] = (0,), timeout: float | None = None) -> Finished:
        """Run it to its end. Cancelled, out of time or talking without end, it is killed with all that it started.

        :param codes: exit codes that are no error.
        :raises RepositoryError: ``REPOSITORY_UNREACHABLE`` otherwise, with its last words.
        """
        process = await asyncio.create_subprocess_exec(
            *self.command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment(),
            cwd="/",
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout or self.timeout):
                out, err, _ = await asyncio.gather(self._bounded(process.stdout), self._bounded(process.stderr), process.wait())
        except TimeoutError:
            raise RepositoryError(
                f"{self.name} ({' '.join(arguments)[:200]}) didn't end within {timeout or self.timeout:.0f} s."
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        done = Finished(code=process.returncode or 0, out=out.decode("utf-8", "replace"), err=err.decode("utf-8", "replace"))
        if done.code not in codes:
            raise RepositoryError(
                f"{self.name} failed (exit code {done.code}): {self.masked(done.last_words or 'it said nothing')[-_LAST_WORDS:]}. "
                f"Run `{' '.join((*self.command, *arguments))[:300]}` by hand as this account to see more."
            )
        return done

    def masked(self, text: str) -> str:
        """A text with the names of secret variables in place of their values."""
        for name, value in sorted(self.secret.items(), key=lambda item: -len(item[1])):
            if len(value) >= _MASKED:
                text = text.replace(value, f"${name}")
        return text

    async def _bounded(self, stream: asyncio.StreamReader | None) -> bytes:
        pieces = io.BytesIO()
        while stream is not None and (piece := await stream.read(1 << 18)):
            if pieces.tell() + len(piece) > LARGEST_OUTPUT:
                raise RepositoryError(f"{self.name} printed more than {LARGEST_OUTPUT >> 20} MiB; that is no catalog.")
            pieces.write(piece)
        return pieces.getvalue()

    def open(self, *arguments: str) -> BinaryIO:
        """What it prints, as a stream. Its exit code is looked at when the stream ends: reading then raises.

        :raises ArchiveError: from reading, when the file can't be read; its fact ``exit_code`` tells more.
        :raises RepositoryError: from reading, when the repository can't.
        """
        return cast("BinaryIO", io.BufferedReader(_Output(self, arguments), 1 << 18))


class _Output(io.RawIOBase):
    """A program's output. Closed early, the program is ended."""

    def __init__(self, tool: Tool, arguments: Sequence[str]) -> None:
        self._tool = tool
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the stream
        self._process = subprocess.Popen(
            [*tool.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=tool.environment(),
            cwd="/",
            start_new_session=True,
        )
        self._stdout = cast("io.BufferedReader", self._process.stdout)
        self._what = arguments[-1] if arguments else ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = int(self._stdout.readinto(buffer) or 0)
        if not size and self._process.wait() != 0:
            self._errors.seek(0)
            said = " / ".join(self._errors.read(_LAST_WORDS).decode("utf-8", "replace").strip().splitlines()[-3:])
            code = self._process.returncode
            message = f"{self._tool.name} could not read {self._what} (exit code {code}): {self._tool.masked(said)}"
            if self._tool.content_codes is not None and code not in self._tool.content_codes:
                raise RepositoryError(message)
            raise ArchiveError(message, code="WAL_SEGMENT_DAMAGED", facts={"exit_code": code})
        return size

    def close(self) -> None:
        if not self.closed:
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._stdout.close()
            self._process.wait()
            self._errors.close()
        super().close()


def parse(adapter: TypeAdapter[T], text: str, *, tool: str, what: str) -> T:
    """A tool's JSON document as a model.

    :raises RepositoryError: when it is none: cut off, of another shape, or made by something else. Nothing of it is used then.
    """
    try:
        return adapter.validate_json(text.encode("utf-8", "surrogatepass"))
    except (ValidationError, ValueError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        place = ".".join(str(part) for part in first["loc"]) if first else ""
        said = first["msg"] if first else str(error)
        raise RepositoryError(
            f"{tool} printed {what} that can't be understood{f' at {place}' if place else ''}: {said[:300]}. "
            f"Check that this version of it is supported, and that nothing else writes to its output."
        ) from None
