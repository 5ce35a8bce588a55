"""One scan of a drill's repository and runs: no run is opened, nothing is restored, and of the WAL only its end is read."""

from __future__ import annotations

import hashlib
from asyncio import sleep
from datetime import datetime

from pydantic import ValidationError

from airflow_dr_provider.domain.announcement import due_by_backups
from airflow_dr_provider.domain.cadence import in_blackout, times_before
from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.continuity import Continuity, latest_timeline, whole_path
from airflow_dr_provider.domain.dead_man import CLOCKS, PROOFS, KnownRun
from airflow_dr_provider.domain.restorable import Restorable, Standing, furthest, last_segments, standings
from airflow_dr_provider.domain.watch import Unread, WatchMemory, WatchReport, watch
from airflow_dr_provider.domain.watch_scan import CatalogScan, CatalogSeen
from airflow_dr_provider.errors import DrillError, StateError
from airflow_dr_provider.repositories.base import Repository
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.repository_connection import placed
from airflow_dr_provider.stages.damage import with_known_damage
from airflow_dr_provider.stages.open_run import acknowledgements, repository_of
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.scans import Scan, Scans
from airflow_dr_provider.state.tables import canonical

LOOKED_THROUGH = 4
"""In so many segments at the end of the WAL a commit is looked for, to tell the time of the point that can be reached."""

SETTLING_SECONDS = 5.0
"""After this a hole is looked at again that may be WAL on its way."""


async def scan(
    services: Services, spec: DrillSpec, *, announcer: str | None = None, settling_seconds: float = SETTLING_SECONDS
) -> tuple[str, WatchReport]:
    """Look at a drill's repository and runs, and keep what was seen.

    :param announcer: the task run that will announce new backups; None for a scan that leaves them to another.
    :return: the scan's id in the store, and what it tells.
    :raises StateError: when the store can't be used. A repository that can't be read is a finding.
    """
    kept = Scans(services.store)
    before, forgotten = _memory(kept.latest(spec.drill))
    report = await _look(services, spec, before, announcer)
    if report.unsettled:
        await sleep(settling_seconds)
        report = await _look(services, spec, before, announcer)
    report = report.model_copy(update={"notes": (*forgotten, *report.notes)})
    identifier = f"{spec.drill}@{report.at.isoformat()}"
    kept.keep(_row(identifier, report))
    return identifier, report


async def _look(services: Services, spec: DrillSpec, before: WatchMemory | None, announcer: str | None) -> WatchReport:
    moment = services.clock()
    try:
        read: CatalogScan | Unread = await _read(services, spec, before.catalog if before is not None else None, moment)
    except StateError:
        raise
    except DrillError as error:
        read = Unread(signature=error.code, detail=error.message)
    objectives, cadence = spec.objectives, spec.cadence
    due: tuple[datetime, ...] = ()
    if cadence is not None:
        over = moment - objectives.rto
        by_backups = due_by_backups(before.announced, over) if before is not None and cadence.after_backup else ()
        due = tuple(sorted({*times_before(cadence, over, PROOFS + 1), *by_backups}, reverse=True)[: PROOFS + 1])
    spans = Scans(services.store).runs(spec.drill, since=due[-1] - CLOCKS if due else None)
    return watch(
        spec.drill,
        read,
        moment=moment,
        before=before,
        schedule=cadence.text() if cadence is not None else None,
        due=due,
        patience_seconds=(objectives.mtd + spec.triage.response_timeout).total_seconds(),
        runs=tuple(KnownRun.model_validate(span.model_dump()) for span in spans),
        announcer=announcer,
        held=cadence is not None and in_blackout(cadence, moment) is not None,
    )


async def _read(services: Services, spec: DrillSpec, seen: CatalogSeen | None, moment: datetime) -> CatalogScan:
    adapter = repository_of(placed(spec, services.connections))
    catalog = with_known_damage(await adapter.catalog(), services.store)
    timeline = latest_timeline(catalog)
    found = standings(
        catalog,
        timeline,
        moment=moment,
        lookback_seconds=spec.selection.lookback.total_seconds(),
        quarantined={entry.backup_id: entry.signature for entry in services.store.quarantined(catalog.identity)},
    )
    best = furthest(found)
    restorable, notes = None, catalog.notes
    if best is not None:
        time, why = await _time(adapter, catalog, best, seen)
        notes = (*notes, why) if why else notes
        restorable = Restorable(
            timeline=timeline, lsn=best.reach.end_lsn, backup=best.backup.id, time=time, hole=best.reach.hole
        )
    return CatalogScan(
        catalog=catalog,
        timeline=timeline,
        standings=found,
        restorable=restorable,
        acknowledged=tuple(
            part for known in acknowledgements(spec) if (part := known.segments(catalog.archive.segment_size)) is not None
        ),
        rpo_seconds=spec.objectives.rpo.total_seconds(),
        lookback_seconds=spec.selection.lookback.total_seconds(),
        heartbeat=spec.source.heartbeat is not None,
        notes=notes,
    )


async def _time(adapter: Repository, catalog: Catalog, best: Standing, seen: CatalogSeen | None) -> tuple[datetime | None, str]:
    """The newest commit before the end of a backup's way, as far as its last segments tell; and why it is unknown."""
    size = catalog.archive.segment_size
    path = last_segments(Continuity(catalog.archive).archived(whole_path(best.reach, size)), LOOKED_THROUGH)
    if not path:
        return best.backup.stop_time, ""
    try:
        point = await adapter.last_record(catalog, path)
    except DrillError as error:
        return None, f"the time of the last commit is unknown: {error.message}"
    if point is not None and point.time is not None:
        return point.time, ""
    known = seen.restorable if seen is not None and seen.repository == catalog.identity else None
    # What was looked through joins what was looked through then: the newest commit is still the one that was found there.
    if known is not None and path[0].first * size <= known.lsn <= best.reach.end_lsn and known.timeline == path[0].timeline:
        return known.time, ""
    return None, f"the last {LOOKED_THROUGH} segments of the WAL hold no commit, so the time of its end is unknown"


# -- the store ---------------------------------------------------------------------------------------------------------
def _memory(last: Scan | None) -> tuple[WatchMemory | None, tuple[str, ...]]:
    """What the last scan remembered, and a note when that can't be read: the watch then begins anew, for it must go on."""
    if last is None:
        return None, ()
    try:
        return WatchMemory.model_validate(last.memory), ()
    except ValidationError:
        return None, (f"the scan {last.id} was kept by another version; this one counts as the drill's first",)


def _row(identifier: str, report: WatchReport) -> Scan:
    dumped = report.model_dump(mode="json")
    return Scan(
        id=identifier,
        **{name: dumped[name] for name in ("drill", "conclusive", "repository", "restorable", "holes", "findings", "memory")},
        at=report.at,
        notes=dumped["notes"],
        digest=hashlib.sha256(canonical(_said(report)).encode()).hexdigest(),
    )


def _said(report: WatchReport) -> list[object]:
    """What a report says, without what changes from scan to scan though nothing happened."""
    return [
        report.conclusive,
        report.restorable.backup if report.restorable is not None else None,
        [hole.model_dump(mode="json") for hole in report.holes],
        [finding.model_dump(mode="json", exclude={"detail"}) for finding in report.findings],
    ]


def kept_scan(services: Services, identifier: str) -> WatchReport:
    """What a scan told that was kept.

    :raises StateError: when the store doesn't have it.
    """
    kept = Scans(services.store).scan(identifier)
    return WatchReport.model_validate({name: value for name, value in dict(kept).items() if name in WatchReport.model_fields})
