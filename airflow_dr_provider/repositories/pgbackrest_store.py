"""pgBackRest's program, and the files of each of its repositories: read in place where they lie here, else through it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from airflow_dr_provider.errors import ArchiveError, BackupError, ConfigurationError, RepositoryError
from airflow_dr_provider.repositories.halting import check_halt, in_thread
from airflow_dr_provider.repositories.tool import Tool, find_program, parse

KIND = "pgbackrest"
OLDEST, NEWEST = (2, 45), (2, 60)
_VERSION = re.compile(r"pgBackRest (\d+)\.(\d+)")
_BEGIN = re.compile(r"repo-ls command begin [^:]*: (?P<options>.*)")
_OPTION = re.compile(r'--(no-)?([a-z0-9-]+)(?:=("[^"]*"|\S*))?')
_DEFAULT_PATH = "/var/lib/pgbackrest"
_HERE = ("posix", "cifs")

# Exit codes, as ``error.auto.c.inc`` has them: a file that --ignore-missing didn't find, FormatError, FileMissingError, CryptoError.
NOT_THERE, FORMAT, MISSING, CRYPTO = 1, 29, 55, 95


def text(version: tuple[int, int]) -> str:
    """A version as it is written."""
    return f"{version[0]}.{version[1]}"


def make_tool(stanza: str, config: Path | None, program: Path | None) -> Tool:
    """The program with what every call of it begins with; it writes no log and says on stderr only what is wrong."""
    found = find_program("pgbackrest", program, kind=KIND)
    return Tool(
        name="pgbackrest",
        command=(
            str(found),
            *((f"--config={config}",) if config is not None else ()),
            f"--stanza={stanza}",
            "--log-level-console=off",
            "--log-level-file=off",
            "--log-level-stderr=error",
        ),
        passed=("PGBACKREST_", "AWS_"),
        content_codes=(NOT_THERE, FORMAT, MISSING, CRYPTO),
    )


async def check_version(tool: Tool) -> str:
    """Refuse a program that is too old.

    :return: a note about one that is newer than those it was made with, else "".
    :raises ConfigurationError: for an old one, and for one that doesn't tell.
    """
    done = await replace(tool, command=tool.command[:1]).call("version")
    match = _VERSION.match(done.out)
    version = (int(match[1]), int(match[2])) if match else None
    if version is None or version < OLDEST:
        told = f"is {text(version)}" if version else f"doesn't tell its version ({done.out.strip()[:80]!r})"
        raise ConfigurationError(
            f"{tool.command[0]} {told}; pgBackRest {text(OLDEST)} or newer is needed. Install one, or name it in "
            f"source.repository.program."
        )
    if version > NEWEST:
        return f"pgBackRest {text(version)} is newer than {text(NEWEST)}, the newest that this was made for"
    return ""


class Stored(NamedTuple):
    """A file of a repository.

    :param stamp: when it was written: in nanoseconds where the file lies here, else in seconds.
    """

    size: int
    stamp: str


_Number = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]


class _Entry(TypedDict, total=False):
    type: str
    size: _Number
    time: _Number


_LISTING: TypeAdapter[dict[str, _Entry]] = TypeAdapter(dict[str, _Entry])


@dataclass(frozen=True, kw_only=True)
class Store:
    """The files of one repository.

    :param key: 1 for repo1.
    :param root: its folder when it can be read here as it lies: on this machine, not encrypted, this account may.
    :param cipher: how it is encrypted, "none" for not.
    """

    tool: Tool
    key: int
    root: Path | None
    cipher: str

    @property
    def name(self) -> str:
        """What pgBackRest's options and messages call it."""
        return f"repo{self.key}"

    @property
    def encrypted(self) -> bool:
        """Whether what is stored is not what was written."""
        return self.cipher != "none"

    async def files(self, folder: str) -> dict[str, Stored]:
        """The files under a folder, by their paths relative to it; none when it isn't there.

        :raises RepositoryError: when it can't be listed.
        """
        if self.root is not None:
            return dict(await in_thread(_local, self.root / folder))
        done = await self.tool.call(f"--repo={self.key}", "repo-ls", "--recurse", "--sort=none", "--output=json", folder)
        listing = await in_thread(parse, _LISTING, done.out, tool="pgbackrest", what=f"a listing of {folder}")
        return {
            name: Stored(entry.get("size", 0), str(entry.get("time", "")))
            for name, entry in listing.items()
            if entry.get("type") == "file"
        }

    def open(self, path: str, *, raw: bool = False) -> BinaryIO:
        """A file's bytes, decrypted, not decompressed.

        :param raw: not decrypted either.
        :raises OSError: when it can't be opened.
        :raises ArchiveError: from reading it through the program, when that failed.
        """
        if self.root is not None:
            return (self.root / path).open("rb")
        return self.tool.open(f"--repo={self.key}", "repo-get", *(("--raw",) if raw else ()), path)

    async def read(self, path: str, limit: int) -> bytes | None:
        """A file whole; None when it isn't there.

        :param limit: one byte more than this is read, and not another.
        :raises BackupError: ``BACKUP_UNREADABLE``.
        :raises RepositoryError: when the repository can't be reached.
        """
        return await in_thread(self._read, path, limit)

    def _read(self, path: str, limit: int) -> bytes | None:
        try:
            if self.root is not None:
                with (self.root / path).open("rb") as stream:
                    return stream.read(limit + 1)
            with self.tool.open(f"--repo={self.key}", "repo-get", "--ignore-missing", path) as stream:
                return stream.read(limit + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BackupError(f"{self.name}: {path} can't be read: {error.strerror}.") from error
        except ArchiveError as error:
            if error.facts["exit_code"] == NOT_THERE:
                return None
            raise BackupError(error.message) from error


def _local(folder: Path) -> Iterator[tuple[str, Stored]]:
    def refused(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise RepositoryError(
                f"{error.filename} can't be read: {error.strerror}. Give this account the right to list and enter it."
            ) from error

    for place, _, names in os.walk(folder, onerror=refused):
        check_halt()
        prefix = os.path.relpath(place, folder)
        for name in names:
            try:
                status = os.stat(os.path.join(place, name))
            except FileNotFoundError:
                continue  # a link to nowhere, or expired just now
            yield (name if prefix == "." else f"{prefix}/{name}"), Stored(status.st_size, str(status.st_mtime_ns))


# -- where repositories lie --------------------------------------------------------------------------------------------
async def open_store(tool: Tool, key: int, cipher: str, stanza: str) -> Store:
    """The files of a repository.

    Where they lie the program is asked: it alone knows what its configuration, its includes and the environment add up to.

    :raises RepositoryError: when it doesn't get at the repository.
    """
    asked = replace(tool, command=tuple(part for part in tool.command if not part.startswith("--log-level-stderr")))
    # A filter that nothing passes: only the first lines of its log are of interest.
    done = await asked.call("--log-level-stderr=debug", f"--repo={key}", "repo-ls", "--filter=^$", f"backup/{stanza}")
    return Store(tool=tool, key=key, root=None if cipher != "none" else local_root(key, options_of(done.err)), cipher=cipher)


def options_of(log: str) -> dict[str, str] | None:
    """The options that a call was made with, as its log tells; None when it doesn't."""
    begin = _BEGIN.search(log)
    if begin is None:
        return None
    return {name: "n" if negated else value.strip('"') or "y" for negated, name, value in _OPTION.findall(begin["options"])}


def local_root(key: int, options: Mapping[str, str] | None) -> Path | None:
    """The folder of a repository whose files can be read as they lie; None when that can't be told or isn't so."""
    if options is None or f"repo{key}-host" in options or options.get(f"repo{key}-type", "posix") not in _HERE:
        return None
    root = Path(options.get(f"repo{key}-path", _DEFAULT_PATH))
    return root if root.is_absolute() and os.access(root, os.R_OK | os.X_OK) else None
