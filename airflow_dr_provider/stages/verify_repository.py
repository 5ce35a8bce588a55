"""Read what is due of a repository, and keep in the ledger what was found.

The inventory is walked once and nothing of it is held but names. Each batch that was read is one transaction: killed at any
moment, the next pass finds what was read and goes on with the rest.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from airflow_dr_provider import __version__
from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.signatures import Domain, signature
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.verification import (
    DueReason,
    RepositoryItem,
    Verified,
    due_reason,
    judged,
    rotating_share,
    vanished,
)
from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.base import Repository
from airflow_dr_provider.spec.models import Verification
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Quarantined

_LOOKED_UP = 1000
"""Items whose entries are looked up together."""

_BATCH_ITEMS = 500
_BATCH_BYTES = 256 << 20
"""What is read between two transactions."""

_SHOWN = 1000
"""Faults that a report lists; it counts the others."""


class ItemFault(Value):
    """One thing that is wrong, as the report lists it."""

    item: str
    backup_id: str
    signature: str
    detail: str


class VerificationReport(Value):
    """What a pass did.

    :param items: in the inventory.
    :param read: items that were read, by reason.
    :param unchanged: items that were not: read before, and the same since by size and stamp.
    :param uncompared: items read that have nothing to compare them with; a later change of them shows.
    :param forgotten: entries of items that the repository doesn't have any more.
    :param faults: the first ones; *faulty* counts them all.
    :param quarantined: backups that this pass put into quarantine, or that were in it for the same fault.
    :param notes: sentences about what was passed over.
    """

    id: str
    repository: str
    begun_at: datetime
    seconds: float = 0.0
    items: int = 0
    bytes: int = 0
    read: dict[str, int]
    bytes_read: int = 0
    unchanged: int = 0
    uncompared: int = 0
    forgotten: int = 0
    faulty: int = 0
    faults: tuple[ItemFault, ...] = ()
    quarantined: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class PassProgress(Value):
    """How far a pass is."""

    items: int
    read: int
    bytes_read: int
    faulty: int


async def verify_repository(
    services: Services,
    repository: Repository,
    policy: Verification,
    *,
    backups: Sequence[str] = (),
    everything: bool = False,
    progress: Callable[[PassProgress], None] = lambda done: None,
) -> VerificationReport:
    """One pass over a repository.

    :param backups: only these and what they build on, and no WAL of the archive; all of it when empty.
    :param everything: read what isn't due, too.
    :raises RepositoryError: when the repository can't be read, or a backup isn't in it.
    """
    catalog = await repository.catalog()
    walk = _Pass(services, repository, policy, catalog, _chosen(catalog, backups), everything, progress)
    return await walk.run()


def _chosen(catalog: Catalog, backups: Sequence[str]) -> frozenset[str] | None:
    if not backups:
        return None
    known = {backup.id: backup for backup in catalog.backups}
    unknown = [identifier for identifier in backups if identifier not in known]
    if unknown:
        raise RepositoryError(
            f"There is no backup {', '.join(unknown)} in {catalog.identity}. It has {', '.join(sorted(known))}.",
            code="REPOSITORY_EMPTY",
        )
    return frozenset(member for identifier in backups for member in (identifier, *known[identifier].chain))


@dataclass
class _Pass:
    services: Services
    repository: Repository
    policy: Verification
    catalog: Catalog
    chosen: Collection[str] | None
    everything: bool
    progress: Callable[[PassProgress], None]

    seen: set[str] = field(default_factory=set)
    reasons: Counter[DueReason] = field(default_factory=Counter)
    total_bytes: int = 0
    bytes_read: int = 0
    unchanged: int = 0
    uncompared: int = 0
    forgotten: int = 0
    faulty: int = 0
    faults: list[ItemFault] = field(default_factory=list)
    quarantined: dict[str, None] = field(default_factory=dict)
    waiting: list[RepositoryItem] = field(default_factory=list)
    waiting_bytes: int = 0

    def __post_init__(self) -> None:
        self.begun_at = self.services.clock()
        self.id = f"verify-{self.begun_at:%Y%m%dT%H%M%S%fZ}"
        self.by = f"{socket.gethostname()}, airflow-dr-provider {__version__}"
        self.finished = {backup.id: backup.stop_time for backup in self.catalog.backups}
        self.ledger = self.services.store.ledger

    async def run(self) -> VerificationReport:
        begun = time.monotonic()
        await self._walk_inventory()
        if self.chosen is None:
            self._look_for_vanished()
        await self._rotate()
        return VerificationReport(
            id=self.id,
            repository=self.catalog.identity,
            begun_at=self.begun_at,
            seconds=round(time.monotonic() - begun, 3),
            items=len(self.seen),
            bytes=self.total_bytes,
            read={reason.value: self.reasons[reason] for reason in DueReason if self.reasons[reason]},
            bytes_read=self.bytes_read,
            unchanged=self.unchanged - self.reasons[DueReason.ROTATED],
            uncompared=self.uncompared,
            forgotten=self.forgotten,
            faulty=self.faulty,
            faults=tuple(self.faults),
            quarantined=tuple(self.quarantined),
            notes=self.catalog.notes,
        )

    # -- what is due ---------------------------------------------------------------------------------------------------
    async def _walk_inventory(self) -> None:
        some: list[RepositoryItem] = []
        async for item in self.repository.inventory(self.catalog):
            if self.chosen is not None and item.backup_id not in self.chosen:
                continue
            some.append(item)
            if len(some) == _LOOKED_UP:
                await self._look_up(some)
                some = []
        await self._look_up(some)
        await self._read_waiting()

    async def _look_up(self, items: list[RepositoryItem]) -> None:
        marks = self.ledger.marks(self.catalog.identity, [item.name for item in items])
        for item in items:
            self.seen.add(item.name)
            self.total_bytes += item.size
            reason = due_reason(
                item,
                marks.get(item.name),
                moment=self.begun_at,
                reverify_after=self.policy.reverify_after,
                everything=self.everything,
            )
            if reason is None:
                self.unchanged += 1
            else:
                await self._read_soon(item, reason)

    async def _rotate(self) -> None:
        """Read a share of what was not read in this pass."""
        unread = self.ledger.longest_unread(self.catalog.identity, before=self.begun_at, backups=self.chosen)
        with closing(unread) as oldest:
            # Held, for the ledger is written while they are read; they are no more than the share.
            share = list(rotating_share(oldest, total_bytes=self.total_bytes, share=self.policy.share))
        for entry in share:
            await self._read_soon(entry.item, DueReason.ROTATED)
        await self._read_waiting()

    # -- reading -------------------------------------------------------------------------------------------------------
    async def _read_soon(self, item: RepositoryItem, reason: DueReason) -> None:
        self.reasons[reason] += 1
        self.waiting.append(item)
        self.waiting_bytes += item.size
        if len(self.waiting) >= _BATCH_ITEMS or self.waiting_bytes >= _BATCH_BYTES:
            await self._read_waiting()

    async def _read_waiting(self) -> None:
        """Read what waits, and write all of it down together."""
        if not self.waiting:
            return
        batch = {item.name: item for item in self.waiting}
        self.waiting, self.waiting_bytes = [], 0
        known = self.ledger.known(self.catalog.identity, batch)
        entries = []
        async for report in self.repository.read_items(self.catalog, list(batch.values())):
            item = batch.pop(report.name)
            self.bytes_read += report.bytes_read
            self.uncompared += not report.compared
            entries.append(
                judged(
                    item,
                    known.get(item.name),
                    report,
                    at=self.services.clock(),
                    by=self.by,
                    finished=self.finished.get(item.backup_id),
                )
            )
        if batch:
            raise RepositoryError(
                f"{len(batch)} items of {self.catalog.identity} were not read, {next(iter(batch))} among them."
            )
        self._keep(entries)

    def _keep(self, entries: Sequence[Verified]) -> None:
        self.ledger.keep(self.catalog.identity, entries)
        for entry in entries:
            if entry.fault is not None:
                self._note_fault(entry.item, entry.fault)
        done = PassProgress(items=len(self.seen), read=self.reasons.total(), bytes_read=self.bytes_read, faulty=self.faulty)
        self.progress(done)

    def _note_fault(self, item: RepositoryItem, fault: BackupFault) -> None:
        self.faulty += 1
        if len(self.faults) < _SHOWN:
            found = ItemFault(item=item.name, backup_id=item.backup_id, signature=fault.code, detail=fault.detail)
            self.faults.append(found)
        if item.backup_id and item.backup_id not in self.quarantined and signature(fault.code).domain is Domain.BACKUP:
            self.quarantined[item.backup_id] = None
            self.services.store.quarantine(
                Quarantined(
                    repository=self.catalog.identity,
                    backup_id=item.backup_id,
                    signature=fault.code,
                    detail=f"{item.name}: {fault.detail}",
                    run_id=self.id,
                    at=self.services.clock(),
                )
            )

    # -- what is gone --------------------------------------------------------------------------------------------------
    def _look_for_vanished(self) -> None:
        """Forget what the repository has no more, unless it is a part of a backup that is still there."""
        if self.ledger.count(self.catalog.identity) == len(self.seen):
            return  # all that was seen is known by now
        gone = [name for name in self.ledger.names(self.catalog.identity) if name not in self.seen]
        forgotten, missing = [], []
        for entry in self.ledger.known(self.catalog.identity, gone).values():
            identifier = entry.item.backup_id
            fault = vanished(entry, self.finished[identifier]) if identifier in self.finished else None
            if fault is None:
                forgotten.append(entry.item.name)
            else:
                missing.append(entry.model_copy(update={"fault": fault, "verified_at": self.services.clock()}))
        self.forgotten = self.ledger.forget(self.catalog.identity, forgotten)
        self._keep(missing)
