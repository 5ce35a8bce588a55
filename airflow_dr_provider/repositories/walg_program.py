"""WAL-G as a program: how it is called, which versions are, and where it keeps what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from airflow_dr_provider.errors import ConfigurationError, RepositoryError
from airflow_dr_provider.repositories.tool import Tool, find_program
from airflow_dr_provider.repositories.walg_documents import StoredObject, parse_listing, parse_version
from airflow_dr_provider.repositories.walg_settings import read_settings

BACKUPS = "basebackups_005"
WAL = "wal_005"

OLDEST = (3, 0, 0)
"""``st cat`` of older ones can't decrypt: they hang its options on another command."""

_UNLESS_GIVEN = {
    "WALG_TAR_DISABLE_FSYNC": "true",  # a sandbox that a power cut ends is restored again
    "WALG_DOWNLOAD_FILE_RETRIES": "1",  # it waits for minutes before each; a stage is tried again by the run
}
_ALWAYS = {
    "TZ": "UTC",
    "WALG_LOG_DESTINATION": "stderr",
    "S3_ENABLE_VERSIONING": "disabled",  # or listings hold replaced and deleted objects, too
}
# A choice of backup beside the one by name, an address that only one of two calls could listen on, counters of production's.
_LEFT_OUT = frozenset({"WALG_FETCH_TARGET_USER_DATA", "HTTP_LISTEN", "WALG_STATSD_ADDRESS"})
_RESTORE_TIMEOUT = 30 * 24 * 3600.0
"""A restore's limit is its tier's."""


@dataclass(frozen=True)
class WalG:
    """The program with its settings.

    :param settings_file: a file of WAL-G's variables.
    :param program: the spec's own; None for the one on PATH.
    """

    settings_file: Path
    program: Path | None = None

    @cached_property
    def tool(self) -> Tool:
        """The program, found when it is first needed.

        :raises ConfigurationError: when there is none, or its settings can't be read.
        """
        given = {name: value for name, value in read_settings(self.settings_file).items() if name not in _LEFT_OUT}
        return Tool(
            name="WAL-G",
            command=(str(find_program("wal-g", self.program, kind="walg")),),
            secret=given,
            extra={**{name: value for name, value in _UNLESS_GIVEN.items() if name not in given}, **_ALWAYS},
        )

    async def check_version(self) -> str:
        """Refuse what is too old.

        :return: a note about a build that doesn't tell its version, else "".
        :raises ConfigurationError: when it is older than :data:`OLDEST`.
        """
        version = parse_version((await self.tool.call("--version")).out)
        if version is None:
            return f"{self.tool.command[0]} doesn't tell its version; {_text(OLDEST)} or newer is needed"
        if version < OLDEST:
            raise ConfigurationError(
                f"{self.tool.command[0]} is WAL-G {_text(version)}; {_text(OLDEST)} or newer is needed, which also reads what "
                f"older ones wrote. Install one beside it and name it in source.repository.program."
            )
        return ""

    async def list(self, folder: str = "", *, recursive: bool = False) -> tuple[list[StoredObject], list[str]]:
        """What lies in a folder of the storage; see :func:`parse_listing`.

        :param folder: one that is there: WAL-G makes a folder of a file system by looking for it.
        """
        arguments = ("st", "ls", *(("-r",) if recursive else ()), *((f"{folder}/",) if folder else ()))
        done = await self.tool.call(*arguments)
        return parse_listing(done.out, folder or "its storage")

    async def text(self, name: str) -> str:
        """A small object's content, as it is stored.

        :raises RepositoryError: when it can't be read.
        """
        return (await self.tool.call("st", "cat", name)).out

    def open(self, name: str) -> BinaryIO:
        """An object's content, decrypted and decompressed."""
        return self.tool.open("st", "cat", "--decrypt", "--decompress", name)

    async def backup_list(self) -> str:
        """Its JSON document of all backups.

        :raises RepositoryError: when it gives none, as it does when one backup's metadata can't be read.
        """
        return (await self.tool.call("backup-list", "--detail", "--json")).out

    async def fetch(self, name: str, destination: Path, restore_spec: Path) -> None:
        """Restore a backup, and all that it builds on, to an empty directory.

        :param restore_spec: where its tablespaces go.
        :raises RepositoryError: when it fails.
        """
        await self.tool.call(
            "backup-fetch", str(destination), name, "--restore-spec", str(restore_spec), timeout=_RESTORE_TIMEOUT
        )

    async def folders(self) -> frozenset[str]:
        """The names of the folders at the storage's root.

        :raises RepositoryError: ``REPOSITORY_EMPTY`` or ``ARCHIVE_MISSING`` when WAL-G's own are not among them.
        """
        found, _ = await self.list()
        names = frozenset(row.name for row in found if row.is_folder)
        if BACKUPS not in names:
            raise RepositoryError(
                f"WAL-G's storage by {self.settings_file} holds no {BACKUPS}: no backup was ever pushed there. Take one with "
                f"`wal-g backup-push`, or correct the prefix in that file.",
                code="REPOSITORY_EMPTY",
            )
        if WAL not in names:
            raise RepositoryError(
                f"WAL-G's storage by {self.settings_file} holds no {WAL}: no WAL was ever pushed there. Let archive_command "
                f"call `wal-g wal-push`, or correct the prefix in that file.",
                code="ARCHIVE_MISSING",
            )
        return names


def _text(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
