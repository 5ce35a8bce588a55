"""What PostgreSQL does silently, and a drill must not take for a recovery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import Probe, Recovery, SandboxHandle
from airflow_dr_provider.domain.selection import SelectionInputs, select
from airflow_dr_provider.domain.target import RecoveryTarget, TargetKind
from airflow_dr_provider.errors import ArchiveError, TargetError
from airflow_dr_provider.repositories.base import Repository
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from airflow_dr_provider.spec.loader import load_spec
from airflow_dr_provider.spec.sandbox import ProcessSandboxSpec
from airflow_dr_provider.stages.open_run import repository_of
from airflow_dr_provider.stages.resolve_target import resolve_target
from tests.support.drills import Bench
from tests.support.drills import Repository as Made

pytestmark = pytest.mark.postgres


async def choose(bench: Bench, backup: str, target: RecoveryTarget | None = None) -> tuple[Repository, RestoreCoordinate]:
    """The coordinate of one backup, as a run would choose it."""
    adapter = repository_of(load_spec(bench.spec))
    catalog = await adapter.catalog()
    asked = target or RecoveryTarget()
    resolved = await resolve_target(adapter, catalog, asked, moment=bench.disaster, now=bench.disaster)
    others = {entry.id: "TEST" for entry in catalog.backups if entry.id != backup}
    table = select(
        SelectionInputs(
            catalog=catalog,
            target=resolved.target,
            moment=bench.disaster,
            rpo_seconds=3600,
            lookback_seconds=86400,
            refused=others,
        )
    )
    assert table.chosen is not None, table
    return adapter, table.chosen


@asynccontextmanager
async def filled(
    bench: Bench, backup: str, *, isolation: str = "preferred"
) -> AsyncIterator[tuple[ProcessSandbox, SandboxHandle, RestoreCoordinate]]:
    """A sandbox with a backup's files and WAL, its server not started."""
    adapter, coordinate = await choose(bench, backup)
    sandbox = ProcessSandbox(ProcessSandboxSpec(kind="process", isolation=isolation), workdir=bench.workdir)
    handle = await sandbox.provision(sandbox.handle("trap"), coordinate)
    try:
        catalog = await adapter.catalog()
        files = await adapter.restore(catalog, coordinate, sandbox.data_directory(handle))
        assert files.faults == ()
        wal = await adapter.fetch_wal(catalog, coordinate, sandbox.wal_directory(handle))
        assert (wal.missing, wal.damaged) == ((), ())
        yield sandbox, handle, coordinate
    finally:
        assert await sandbox.destroy(handle) == ()


async def test_trap_1_a_started_server_is_not_a_recovered_one(bench: Bench, repository: Made) -> None:
    """``pg_ctl start`` returns at consistency; recovery is over at the target, with the last row there."""
    async with filled(bench, "first") as (sandbox, handle, coordinate):
        handle, recovery = await sandbox.recover(handle, coordinate)
        assert recovery.reached
        assert recovery.replayed_lsn is not None
        assert recovery.replayed_lsn >= coordinate.target.lsn
        async with await sandbox.connect(handle, "postgres") as connection:
            rows = await (await connection.execute("SELECT count(*) FROM customers WHERE name = 'Late'")).fetchone()
            beat = await (await connection.execute("SELECT beat_at FROM dr_heartbeat")).fetchone()
        assert rows == (1,)
        assert beat == (repository.facts["heartbeat"],)


async def test_trap_2_a_hole_is_not_the_end(bench: Bench, repository: Made) -> None:
    """Without a target PostgreSQL promotes silently where a segment is missing; with one it refuses, and so do we."""
    async with filled(bench, "first") as (sandbox, handle, coordinate):
        (sandbox.wal_directory(handle) / repository.facts["segment_after_second"]).unlink()
        with pytest.raises(ArchiveError) as caught:
            await sandbox.recover(handle, coordinate)
        assert caught.value.code == "RECOVERY_ENDED_EARLY"
        assert not await sandbox.alive(handle)


async def test_trap_3_a_target_before_the_backups_end(bench: Bench) -> None:
    """PostgreSQL would open the backup's end without a word; a target that no backup is old enough for is refused."""
    adapter = repository_of(load_spec(bench.spec))
    catalog = await adapter.catalog()
    first = catalog.backup("first")
    assert first.stop_lsn is not None
    assert first.start_time is not None
    for target in (
        RecoveryTarget(kind=TargetKind.LSN, value=str(first.start_lsn)),
        RecoveryTarget(kind=TargetKind.TIME, value=first.start_time.replace(year=first.start_time.year - 1).isoformat()),
    ):
        with pytest.raises(TargetError):
            await resolve_target(adapter, catalog, target, moment=bench.disaster, now=bench.disaster)
    _, chosen = await choose(bench, "first", RecoveryTarget(kind=TargetKind.LSN, value=str(first.stop_lsn)))
    assert chosen.backup_id == "first"


async def recovered(sandbox: ProcessSandbox, handle: SandboxHandle, coordinate: RestoreCoordinate) -> SandboxHandle:
    handle, recovery = await sandbox.recover(handle, coordinate)
    assert isinstance(recovery, Recovery)
    return handle


@pytest.mark.parametrize("isolation", ["required", "off"])
async def test_trap_8_production_through_the_file_system(bench: Bench, repository: Made, isolation: str) -> None:
    """A network namespace hides no socket in a folder; a sandbox of ours sees neither. Without isolation both answer."""
    production = repository.production
    probes = (
        Probe(label="socket", address=str(production.socket), port=production.port),
        Probe(label="address", address="127.0.0.1", port=production.port),
    )
    async with filled(bench, "third", isolation=isolation) as (sandbox, handle, coordinate):
        handle = await recovered(sandbox, handle, coordinate)
        found = {result.label: result.reached for result in await sandbox.probe(handle, probes)}
    assert found["socket"] is (isolation == "off")
    assert found["address"] is False or isolation == "off"


async def test_a_killed_server_is_noticed(bench: Bench) -> None:
    async with filled(bench, "third") as (sandbox, handle, coordinate):
        handle = await recovered(sandbox, handle, coordinate)
        async with await sandbox.connect(handle, "postgres") as connection:
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        assert await sandbox.alive(handle)
        assert await sandbox.destroy(handle) == ()
        assert not await sandbox.alive(handle)


async def test_what_the_backup_says_is_not_obeyed(bench: Bench) -> None:
    """Settings that lie in the backup run nothing, open nothing, load nothing."""
    witness = bench.folder / "witness"
    backup = bench.backups / "third"
    order = f"touch {witness}"
    (backup / "postgresql.auto.conf").write_text(
        f"archive_mode = on\narchive_command = '{order}'\nrestore_command = '{order}; false'\nlisten_addresses = '*'\nport = 1\n"
        f"archive_cleanup_command = '{order}'\nrecovery_end_command = '{order}'\nprimary_conninfo = 'host=127.0.0.1'\n"
        "shared_preload_libraries = 'auto_explain,nowhere'\n"
    )
    (backup / "standby.signal").touch()
    document = await asyncio.to_thread(bench.run)
    assert document["outcome"] == "RECOVERED", document["attempts"]
    assert not Path(witness).exists()
