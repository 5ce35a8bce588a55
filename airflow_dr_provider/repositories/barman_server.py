"""A server of a Barman on this machine: its folders and its catalog.

One call of ``barman sync-info`` tells both, and unlike ``diagnose`` and ``show-servers`` it does not call on production, which
in a disaster may not answer. It lists backups whose files are all there; those that it leaves out are asked for one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.barman_archive import WalFolders
from airflow_dr_provider.repositories.barman_backup import BarmanBackup
from airflow_dr_provider.repositories.barman_documents import SyncInfo, check_version, read_servers, read_shown, read_sync_info
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.tool import Tool

_INFO_SUFFIX = "-backup.info"


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a server's things lie.

    :param base: one folder for each backup.
    :param info: Barman's notes about each, since 3.13; before, each lay in the backup's folder.
    """

    base: Path
    info: Path
    wal: WalFolders

    def data(self, backup_id: str) -> Path:
        """The data directory of a backup; its tablespaces lie beside it, by oid."""
        return self.base / backup_id / "data"

    def known(self) -> set[str]:
        """The ids of all backups, whatever their status."""
        found = {path.name.removesuffix(_INFO_SUFFIX) for path in self.info.glob(f"*{_INFO_SUFFIX}")}
        return found | {path.parent.name for path in self.base.glob("*/backup.info")}


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """What a server of Barman holds, as Barman tells it."""

    folders: Folders
    backups: tuple[BarmanBackup, ...]
    notes: tuple[str, ...] = ()


class BarmanServer:
    """Asks Barman about one server.

    :param tool: ``barman`` with its configuration file.
    """

    def __init__(self, tool: Tool, server: str) -> None:
        self._tool = tool
        self._server = server

    async def read(self) -> Shelf:
        """The server's folders and backups.

        :raises RepositoryError: when Barman doesn't know it, or can't be understood.
        """
        text = await self._sync_info()
        if not text.lstrip().startswith("{"):
            # It says so and ends well.
            raise RepositoryError(
                f"Barman does not show its server {self._server}: {text.strip()[:300] or 'it said nothing'}. An inactive "
                f"server can't be drilled; drill it where it is active."
            )
        info = read_sync_info(text)
        note = check_version(info.version)
        for name in (info.config.basebackups_directory, info.config.wals_directory):
            if "://" in name:
                raise RepositoryError(
                    f"Barman keeps {self._server} in {name}. Name that bucket in source.repository.cloud, and leave config out."
                )
        config = info.config
        wals = Path(config.wals_directory)
        lists = [Path(config.xlogdb_directory or wals) / name for name in (f"{self._server}-xlog.db", "xlog.db")]
        folders = Folders(
            base=Path(config.basebackups_directory),
            info=Path(config.backup_directory, "meta"),
            wal=WalFolders(
                wals=wals,
                streaming=Path(config.streaming_wals_directory) if config.streaming_wals_directory else None,
                lists=tuple(lists),
            ),
        )
        backups = await self._all(info, folders)
        return Shelf(folders=folders, backups=backups, notes=(note,) if note else ())

    async def _all(self, info: SyncInfo, folders: Folders) -> tuple[BarmanBackup, ...]:
        """What sync-info lists, and each of the others as show-backup tells it."""
        found = {key: listed.backup() for key, listed in info.backups.items()}
        for key in sorted(await self._known(folders) | found.keys()):
            listed = found.get(key)
            if listed is None:
                found[key] = await self.show(key)
            elif listed.start_time is None:
                # Older ones of 3.x list times without a zone.
                shown = await self.show(key)
                found[key] = listed.model_copy(update={"start_time": shown.start_time, "stop_time": shown.stop_time})
        return tuple(found.values())

    async def show(self, backup_id: str) -> BarmanBackup:
        """One backup, in any status."""
        done = await self._tool.call("-f", "json", "show-backup", self._server, backup_id, codes=(0, 1))
        return read_shown(done.out, server=self._server, backup_id=backup_id).backup()

    async def _known(self, folders: Folders) -> set[str]:
        try:
            return await in_thread(folders.known)
        except OSError as error:
            raise RepositoryError(
                f"{error.filename}, a folder of Barman's server {self._server}, can't be read: {error.strerror}. Give this "
                f"account the right to list it."
            ) from error

    async def _sync_info(self) -> str:
        # It writes out every segment behind the one that is named; without one, all: a minute for a million of them.
        newest = await self._newest_segment()
        for arguments in ((newest,), ()) if newest else ((),):
            done = await self._tool.call("sync-info", self._server, *arguments, codes=(0, 1))
            if done.code == 0:
                return done.out
        await self._raise_unknown(done.last_words)
        return ""

    async def _newest_segment(self) -> str:
        done = await self._tool.call("-f", "json", "show-backup", self._server, "latest", codes=(0, 1))
        try:
            shown = read_shown(done.out, server=self._server)
        except RepositoryError:
            return ""  # there is none yet, or no such server: the next call tells
        return (shown.wal_information.last_available if shown.wal_information is not None else None) or ""

    async def _raise_unknown(self, said: str) -> None:
        done = await self._tool.call("-f", "json", "list-servers", codes=(0, 1))
        names: Sequence[str] = read_servers(done.out) if done.code == 0 else (self._server,)
        if self._server not in names:
            known = f"It knows {', '.join(names[:10])}" if names else "It knows none"
            raise RepositoryError(
                f"Barman has no server {self._server}. {known}. Name one of its servers in source.repository.server, or its "
                f"configuration file in source.repository.config."
            )
        raise RepositoryError(
            f"Barman can't show its server {self._server}: {said[:500] or 'it said nothing'}. Run "
            f"`{' '.join(self._tool.command)} sync-info {self._server}` by hand as this account to see more."
        )
