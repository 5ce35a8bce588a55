"""WAL-G's backups: its list or, where one of them spoils that, each one's own documents; deltas resolved to chains."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, BackupKind
from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.tool import parse
from airflow_dr_provider.repositories.walg_documents import (
    BACKUP_LIST,
    BACKUP_NAME,
    METADATA,
    SENTINEL,
    ListedBackup,
    Metadata,
    Sentinel,
    StoredObject,
    position,
)
from airflow_dr_provider.repositories.walg_program import BACKUPS, WalG

KIND = "walg"
SENTINEL_ENDING = "_backup_stop_sentinel.json"
_READERS = 4

T = TypeVar("T")


@dataclass
class Found:
    """A backup, read.

    :param sentinel: read for deltas only; a full one's tells nothing that its metadata doesn't.
    """

    name: str
    metadata: Metadata | None = None
    sentinel: Sentinel | None = None
    flaws: list[BackupFlaw] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_delta(self) -> bool:
        """Whether its name says that it builds on another one."""
        return "_D_" in self.name

    def flaw(self, flaw: BackupFlaw, note: str) -> None:
        """Note why it can't be a candidate."""
        self.flaws.append(flaw)
        self.notes.append(note)


async def read_backups(walg: WalG) -> tuple[tuple[Backup, ...], list[str]]:
    """Every backup, finished or not, and notes on what was passed over.

    :raises RepositoryError: ``REPOSITORY_EMPTY`` when there is none, ``REPOSITORY_UNREACHABLE`` when they can't be read.
    """
    rows, _ = await walg.list(BACKUPS)
    try:
        text = await walg.backup_list()
    except RepositoryError as error:
        found, notes = await _one_by_one(walg, rows, error)
    else:
        found, notes = from_list(parse_list(text))
    await _each((entry for entry in found.values() if entry.is_delta and not entry.flaws), lambda entry: _sentinel(walg, entry))
    for name in unfinished(rows):
        found.setdefault(name, Found(name)).flaw(
            BackupFlaw.INCOMPLETE, "it has no sentinel: it is under way, or was never finished"
        )
    if not found:
        raise RepositoryError(
            "WAL-G lists no backup. Take one with `wal-g backup-push`, or correct the prefix in its settings.",
            code="REPOSITORY_EMPTY",
        )
    return entries(found), notes


# -- documents ---------------------------------------------------------------------------------------------------------
def parse_list(text: str) -> list[ListedBackup]:
    """The document of ``backup-list --detail --json``.

    :raises RepositoryError: when it can't be understood.
    """
    return parse(BACKUP_LIST, text, tool="WAL-G", what="a list of backups") if text.strip() not in ("", "null") else []


def from_list(listed: Iterable[ListedBackup]) -> tuple[dict[str, Found], list[str]]:
    """The backups of a list by name, whatever its order.

    :raises RepositoryError: when it names a backup twice in one storage.
    """
    found: dict[str, Found] = {}
    notes: list[str] = []
    seen: set[tuple[str, str]] = set()
    for entry in listed:
        if (entry.backup_name, entry.storage_name) in seen:
            raise RepositoryError(f"WAL-G lists the backup {entry.backup_name[:100]!r} twice. Look at its storage by hand.")
        seen.add((entry.backup_name, entry.storage_name))
        if BACKUP_NAME.fullmatch(entry.backup_name) is None:
            notes.append(f"{entry.backup_name[:100]!r} is no name of a WAL-G backup; it was passed over")
        elif entry.storage_name == "default":
            found[entry.backup_name] = Found(entry.backup_name, entry)
    for name, storage in sorted(seen):
        if storage != "default" and name not in found and BACKUP_NAME.fullmatch(name) is not None:
            found[name] = Found(name)
            found[name].flaw(BackupFlaw.UNREADABLE, f"it lies in the failover storage {storage[:100]!r}, which is not read")
    return found, sorted(notes)


async def _one_by_one(walg: WalG, rows: list[StoredObject], refused: RepositoryError) -> tuple[dict[str, Found], list[str]]:
    """Each backup by its own metadata: WAL-G lists none when one of them can't be read.

    :param refused: raised again when no metadata at all can be read.
    """
    names = [row.name.removesuffix(SENTINEL_ENDING) for row in rows if row.name.endswith(SENTINEL_ENDING)]
    found = {name: Found(name) for name in sorted(names) if BACKUP_NAME.fullmatch(name) is not None}

    async def read(entry: Found) -> None:
        try:
            text = await walg.text(f"{BACKUPS}/{entry.name}/metadata.json")
        except RepositoryError as error:
            entry.flaw(BackupFlaw.UNREADABLE, f"its metadata.json can't be read ({error.message})")
            return
        _take(entry, "metadata.json", lambda: parse(METADATA, text, tool="WAL-G", what="a metadata.json"))

    await _each(found.values(), read)
    if not any(entry.metadata is not None for entry in found.values()):
        raise refused
    return found, ["WAL-G's own list of backups fails, as it does when one of them is damaged; each was read by itself"]


async def _sentinel(walg: WalG, entry: Found) -> None:
    try:
        text = await walg.text(f"{BACKUPS}/{entry.name}{SENTINEL_ENDING}")
    except RepositoryError as error:
        entry.flaw(BackupFlaw.UNREADABLE, f"its sentinel can't be read ({error.message})")
        return
    _take(entry, "sentinel", lambda: parse(SENTINEL, text, tool="WAL-G", what="a sentinel"))


def _take(entry: Found, what: str, read: Callable[[], Metadata | Sentinel]) -> None:
    try:
        document = read()
    except RepositoryError as error:
        entry.flaw(BackupFlaw.MANIFEST_DAMAGED, f"its {what} is damaged: {error.message}")
        return
    if isinstance(document, Sentinel):
        entry.sentinel = document
    else:
        entry.metadata = document


async def _each(entries: Iterable[Found], work: Callable[[Found], Awaitable[None]]) -> None:
    limit = asyncio.Semaphore(_READERS)

    async def one(entry: Found) -> None:
        async with limit:
            await work(entry)

    await asyncio.gather(*map(one, entries))


def unfinished(rows: Iterable[StoredObject]) -> list[str]:
    """Backups that have a folder and no sentinel, which is written last of all."""
    rows = list(rows)
    finished = {row.name.removesuffix(SENTINEL_ENDING) for row in rows if row.name.endswith(SENTINEL_ENDING)}
    return sorted(row.name for row in rows if row.is_folder and BACKUP_NAME.fullmatch(row.name) and row.name not in finished)


# -- entries -----------------------------------------------------------------------------------------------------------
def entries(found: Mapping[str, Found]) -> tuple[Backup, ...]:
    """The catalog's entries, oldest first, chains resolved."""
    made = (_entry(found[name], found) for name in sorted(found))
    return tuple(sorted(made, key=lambda backup: (backup.start_lsn or 0, backup.id)))


def _entry(found: Found, everyone: Mapping[str, Found]) -> Backup:
    match = BACKUP_NAME.fullmatch(found.name)
    metadata, flaws, notes = found.metadata, list(found.flaws), list(found.notes)
    chain, broken = _chain(found, everyone) if not flaws else ((), "")
    if broken:
        flaws.append(BackupFlaw.BASE_MISSING)
        notes.append(broken)
    if metadata is not None and found.sentinel is not None and found.sentinel.start_lsn not in (None, metadata.start_lsn):
        flaws.append(BackupFlaw.MANIFEST_DAMAGED)
        notes.append("its metadata and its sentinel name different starts")
    if metadata is not None and metadata.finish_lsn < metadata.start_lsn:
        flaws.append(BackupFlaw.MANIFEST_DAMAGED)
        notes.append("it ends before it starts")
    members = [everyone[name].metadata for name in chain]
    return Backup(
        id=found.name,
        repository=KIND,
        kind=BackupKind.INCREMENTAL if found.is_delta else BackupKind.FULL,
        chain=chain,
        system_identifier=metadata.system_identifier if metadata else None,
        server_version=metadata.major if metadata else None,
        timeline=int(match[1], 16) or None if match else None,
        start_lsn=position(metadata.start_lsn) if metadata else None,
        stop_lsn=position(metadata.finish_lsn) if metadata else None,
        start_time=metadata.started if metadata else None,
        stop_time=metadata.finished if metadata else None,
        size_bytes=sum(member.uncompressed_size for member in (metadata, *members) if member is not None),
        flaws=tuple(dict.fromkeys(flaws)),
        note="; ".join(notes),
    )


def _chain(found: Found, everyone: Mapping[str, Found]) -> tuple[tuple[str, ...], str]:
    """The backups that a delta needs, nearest first, and what is wrong with that."""
    chain: list[str] = []
    here = found
    while here.is_delta:
        base = here.sentinel.delta_from if here.sentinel is not None else None
        if base is None:
            return tuple(chain), f"the sentinel of {here.name} doesn't tell what it builds on"
        if base not in everyone:
            return tuple(chain), f"{base[:100]}, which it builds on, is not there"
        if base == found.name or base in chain:
            return tuple(chain), "it builds on itself"
        chain.append(base)
        here = everyone[base]
    return tuple(chain), ""
