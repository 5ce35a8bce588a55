"""Put the backup into the sandbox, verify it on the way, and recover it to the target."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.chain import DAMAGED_BACKUP
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.fault_list import Moment
from airflow_dr_provider.domain.reports import BackupFault, FileReport, SandboxHandle, WalReport
from airflow_dr_provider.domain.verdicts import CheckResult, StageName, StageResult, Verdict
from airflow_dr_provider.sandboxes.base import is_remote
from airflow_dr_provider.stages.injection import strike
from airflow_dr_provider.stages.routing import make_manifest

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext

_FILES, _WAL = "restored_files", "fetched_wal"


async def run(context: AttemptContext) -> StageResult:
    """Files, WAL, server: each part that an interrupted try finished is taken over, not done again."""
    coordinate, handle = context.coordinate(), context.handle()
    if is_remote(context.sandbox, StageName.RESTORE):
        unseen = FileReport(vouched_by=context.sandbox.account.key), WalReport()
        return await _open(context, coordinate, handle, *unseen, {})
    catalog = await context.repository.catalog()
    files, handle, files_seconds = await _files(context, catalog, coordinate, handle)
    if files.faults:
        return _refused(files, coordinate)
    await strike(context, Moment.FILES_RESTORED)
    wal, handle, wal_seconds = await _wal(context, catalog, coordinate, handle)
    if wal.missing or wal.damaged:
        return _broken_wal(wal)
    await strike(context, Moment.WAL_FETCHED)
    seconds = {"files_seconds": files_seconds, "wal_seconds": wal_seconds}
    return await _open(context, coordinate, handle, files, wal, seconds)


async def _open(
    context: AttemptContext,
    coordinate: RestoreCoordinate,
    handle: SandboxHandle,
    files: FileReport,
    wal: WalReport,
    seconds: dict[str, float],
) -> StageResult:
    """Recover to the target and let clients in."""
    handle, recovery = await context.sandbox.recover(handle, coordinate)
    context.keep_handle(handle)
    await strike(context, Moment.SERVER_OPEN)
    return StageResult(
        stage=StageName.RESTORE,
        verdict=Verdict.PASSED,
        detail=f"{coordinate.backup_id} replayed to {recovery.replayed_lsn} on timeline {recovery.timeline}",
        metrics={
            **seconds,
            "replay_seconds": recovery.seconds,
            "ready_seconds": recovery.ready_seconds,
            "bytes": float(files.bytes_read),
            "wal_segments": float(wal.segments),
        },
        facts={
            "files": files.model_dump(mode="json"),
            "wal": wal.model_dump(mode="json"),
            "recovery": recovery.model_dump(mode="json"),
            "manifest": make_manifest(context, handle).model_dump(mode="json"),
        },
    )


async def _files(
    context: AttemptContext, catalog: Catalog, coordinate: RestoreCoordinate, handle: SandboxHandle
) -> tuple[FileReport, SandboxHandle, float]:
    begun = time.monotonic()
    if _FILES in handle.details:
        return FileReport.model_validate(handle.details[_FILES]), handle, 0.0
    report = await context.repository.restore(catalog, coordinate, context.sandbox.data_directory(handle))
    if not report.faults:
        handle = context.keep_handle(handle, **{_FILES: report.model_dump(mode="json")})
    return report, handle, time.monotonic() - begun


async def _wal(
    context: AttemptContext, catalog: Catalog, coordinate: RestoreCoordinate, handle: SandboxHandle
) -> tuple[WalReport, SandboxHandle, float]:
    begun = time.monotonic()
    if _WAL in handle.details:
        return WalReport.model_validate(handle.details[_WAL]), handle, 0.0
    report = await context.repository.fetch_wal(catalog, coordinate, context.sandbox.wal_directory(handle))
    if not report.missing and not report.damaged:
        handle = context.keep_handle(handle, **{_WAL: report.model_dump(mode="json")})
    return report, handle, time.monotonic() - begun


def _refused(files: FileReport, coordinate: RestoreCoordinate) -> StageResult:
    """The result for a backup whose files are not what they should be: no server was started on them."""
    first = files.faults[0]
    member = _member(first, coordinate)
    counted = Counter(fault.code for fault in files.faults)
    more = f" and {len(files.faults) - 1} more" if len(files.faults) > 1 else ""
    detail = f"{first.path or 'backup'}: {first.detail}{more}; no server was started on it"
    check = CheckResult(
        name="checksum",
        verdict=Verdict.FAILED,
        signature=first.code,
        detail=detail,
        facts={"faults": [fault.model_dump() for fault in files.faults[:50]], "counted": dict(counted)},
    )
    return StageResult(
        stage=StageName.RESTORE,
        verdict=Verdict.FAILED,
        signature=first.code,
        detail=detail,
        checks=(check,),
        facts={
            "files": files.model_copy(update={"faults": files.faults[:50]}).model_dump(mode="json"),
            **({DAMAGED_BACKUP: member} if member is not None else {}),
        },
    )


def _member(fault: BackupFault, coordinate: RestoreCoordinate) -> str | None:
    """The backup of an incremental chain that a fault lies in, by the name before its path; None where that isn't told."""
    members = (coordinate.backup_id, *coordinate.chain) if coordinate.chain else ()
    return next((member for member in members if f"{fault.path}/".startswith(f"{member}/")), None)


def _broken_wal(wal: WalReport) -> StageResult:
    code = "WAL_SEGMENT_DAMAGED" if wal.damaged else "WAL_HOLE"
    bad = [part.model_dump(mode="json") for part in (*wal.damaged, *wal.missing)]
    check = CheckResult(name="wal_replay", verdict=Verdict.FAILED, signature=code, detail=wal.detail, facts={"segments": bad})
    return StageResult(
        stage=StageName.RESTORE,
        verdict=Verdict.FAILED,
        signature=code,
        detail=f"{wal.detail}; no server was started on it",
        checks=(check,),
        facts={"wal": wal.model_dump(mode="json"), "bad_segments": bad},
    )
