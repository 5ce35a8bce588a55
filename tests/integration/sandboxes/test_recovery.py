"""Recovery to the exact target, and everything that must not pass for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_dr_provider.demo.production import flip_byte
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import Recovery, SandboxHandle
from airflow_dr_provider.errors import ArchiveError, BackupError, ConfigurationError, DrillError, SandboxError
from airflow_dr_provider.sandboxes import credentials
from airflow_dr_provider.sandboxes.place import Place
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from tests.integration.sandboxes.scene import Isolation, Scene, Settings, segment_of

pytestmark = pytest.mark.postgres


async def recovered(
    sandbox: ProcessSandbox, scene: Scene, coordinate: RestoreCoordinate | None = None
) -> tuple[SandboxHandle, Recovery]:
    """A sandbox from nothing to an open server."""
    chosen = coordinate or scene.coordinate()
    handle = await sandbox.provision(sandbox.handle("drill-1"), chosen)
    scene.restore(sandbox, handle)
    return await sandbox.recover(handle, chosen)


async def ask(sandbox: ProcessSandbox, handle: SandboxHandle, question: str, **how: Any) -> list[tuple[Any, ...]]:
    """The rows of one statement."""
    async with await sandbox.connect(handle, "postgres", **how) as connection:
        cursor = await connection.execute(question.encode())
        return await cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize(
    ("major", "isolation"), [(18, "required"), (18, "off"), (17, "required"), (15, "required"), (15, "off")]
)
async def test_to_the_exact_target(scenes: Callable[[int], Scene], workdir: Path, major: int, isolation: Isolation) -> None:
    """The target's own commit is there and the one after it isn't (TRAP 1: a started server is not a recovered one)."""
    scene = scenes(major)
    sandbox = ProcessSandbox(Settings(isolation=isolation), workdir=workdir)
    handle, recovery = await recovered(sandbox, scene)
    assert await ask(sandbox, handle, "SELECT count(*), count(*) FILTER (WHERE n = 0) FROM t") == [(scene.rows, 0)]
    assert recovery.reached
    assert recovery.replayed_lsn is not None
    assert recovery.replayed_lsn > scene.target
    assert recovery.timeline == 1
    assert recovery.next_transaction == scene.next_transaction
    assert recovery.last_commit is not None
    assert 0 < recovery.seconds <= recovery.ready_seconds
    said = recovery.settings
    assert {name: said[name] for name in ("archive_mode", "primary_conninfo", "listen_addresses")} == {
        "archive_mode": "off",
        "primary_conninfo": "",
        "listen_addresses": "",
    }
    assert await ask(
        sandbox, handle, "SELECT pg_is_in_recovery(), count(*) FROM pg_stat_activity WHERE backend_type = 'archiver'"
    ) == [(False, 0)]
    assert await sandbox.alive(handle)
    assert await sandbox.destroy(handle) == ()
    assert await sandbox.destroy(handle) == ()
    assert not await sandbox.alive(handle)


async def test_an_exclusive_target(scene: Scene, sandbox: ProcessSandbox) -> None:
    """The record at the target is the commit of the last row's neighbour: left out, its rows are still those before it."""
    coordinate = scene.coordinate(target={"inclusive": False})
    handle, recovery = await recovered(sandbox, scene, coordinate)
    assert recovery.settings["recovery_stopped_at"] == str(scene.target)
    assert recovery.replayed_lsn is not None
    assert recovery.replayed_lsn <= scene.target
    assert await ask(sandbox, handle, "SELECT count(*) FROM t") == [(scene.rows,)]
    assert await sandbox.destroy(handle) == ()


async def test_everything_done_twice(scene: Scene, sandbox: ProcessSandbox) -> None:
    """A second provision, recover or connection finds what the first made."""
    coordinate = scene.coordinate()
    handle, first = await recovered(sandbox, scene, coordinate)
    server = handle.details["server"]
    again = await sandbox.provision(sandbox.handle("drill-1"), coordinate)
    again, second = await sandbox.recover(again, coordinate)
    assert again.details["server"] == server
    assert second.model_copy(update={"log_tail": ""}) == first.model_copy(update={"log_tail": ""})
    assert await ask(sandbox, again, "SELECT count(*) FROM t") == [(scene.rows,)]
    assert await sandbox.destroy(again) == ()


# -- the sandbox's own credentials -------------------------------------------------------------------------------------
async def test_only_our_roles_get_in_and_smoke_only_reads(scene: Scene, sandbox: ProcessSandbox) -> None:
    handle, _ = await recovered(sandbox, scene)
    place = Path(handle.place)
    assert (place / "credentials.json").stat().st_mode & 0o777 == 0o600
    for user in ("postgres", "orders_ro"):
        with pytest.raises(psycopg.OperationalError, match="pg_hba"):
            psycopg.connect(host=f"{place}/run", port=5432, user=user, password="orders_ro", dbname="postgres")
    assert await ask(sandbox, handle, "SELECT count(*) FROM orders", role="smoke") == [(20000,)]
    assert await ask(sandbox, handle, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(True,)]
    for forbidden in (
        "INSERT INTO t VALUES (1)",
        "SET default_transaction_read_only = off; INSERT INTO t VALUES (1)",
        "COPY t TO PROGRAM 'true'",
        "COPY t TO '/sandbox/data/leak'",
        "SELECT pg_read_file('PG_VERSION')",
        "CREATE EXTENSION amcheck",
        "ALTER SYSTEM SET archive_mode = on",
    ):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
            await ask(sandbox, handle, forbidden, role="smoke")
    known = credentials.load(Place.of(place.parent, "drill-1"))
    assert known is not None
    log = await sandbox.log_tail(handle, 1000)
    assert not any(credential.password in log for credential in known.values())
    with pytest.raises(SandboxError, match="nowhere") as refused:
        await sandbox.connect(handle, "nowhere")
    assert refused.value.code == "SANDBOX_FAILED"
    assert await sandbox.destroy(handle) == ()
    with pytest.raises(SandboxError) as gone:
        await sandbox.connect(handle, "postgres")
    assert gone.value.code == "SANDBOX_LOST"


# -- what must not pass for a recovery ---------------------------------------------------------------------------------
Damage = Callable[[Scene, ProcessSandbox, SandboxHandle], None]


def hole(scene: Scene, sandbox: ProcessSandbox, handle: SandboxHandle) -> None:
    (sandbox.wal_directory(handle) / segment_of(scene.target)).unlink()


def rotten_segment(scene: Scene, sandbox: ProcessSandbox, handle: SandboxHandle) -> None:
    segment = sandbox.wal_directory(handle) / segment_of(scene.target)
    flip_byte(segment, scene.target % (1 << 20) - 40)


def no_control_file(scene: Scene, sandbox: ProcessSandbox, handle: SandboxHandle) -> None:
    (sandbox.data_directory(handle) / "global" / "pg_control").unlink()


def rotten_control_file(scene: Scene, sandbox: ProcessSandbox, handle: SandboxHandle) -> None:
    flip_byte(sandbox.data_directory(handle) / "global" / "pg_control", 16)


def nothing_restored(scene: Scene, sandbox: ProcessSandbox, handle: SandboxHandle) -> None:
    (sandbox.data_directory(handle) / "PG_VERSION").unlink()


def own_wal_missing(scene: Scene, sandbox: ProcessSandbox, handle: SandboxHandle) -> None:
    for folder in (sandbox.wal_directory(handle), sandbox.data_directory(handle) / "pg_wal"):
        for path in folder.glob("0*"):
            path.unlink()


def a_link_outside(scene: Scene, sandbox: ProcessSandbox, handle: SandboxHandle) -> None:
    data = sandbox.data_directory(handle)
    (data / "base" / "1" / "leak").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("damage", "kind", "code", "words"),
    [
        (hole, ArchiveError, "RECOVERY_ENDED_EARLY", "after segment"),
        (rotten_segment, ArchiveError, "RECOVERY_ENDED_EARLY", "checksum|invalid|incorrect"),
        (no_control_file, BackupError, "BACKUP_FILE_MISSING", "pg_control"),
        (rotten_control_file, BackupError, "SERVER_START_FAILED", "control file"),
        (nothing_restored, SandboxError, "SANDBOX_LOST", "Restore them again"),
        (own_wal_missing, BackupError, "BACKUP_WAL_MISSING", "checkpoint record"),
        (a_link_outside, BackupError, "SERVER_START_FAILED", "outside of the sandbox"),
    ],
)
async def test_damage_is_told_apart(
    scene: Scene, sandbox: ProcessSandbox, damage: Damage, kind: type[DrillError], code: str, words: str
) -> None:
    """A hole with a target never promotes in silence (TRAP 2); each damage has its own name; no server is left."""
    coordinate = scene.coordinate()
    handle = await sandbox.provision(sandbox.handle("drill-1"), coordinate)
    scene.restore(sandbox, handle)
    damage(scene, sandbox, handle)
    with pytest.raises(kind, match=words) as raised:
        await sandbox.recover(handle, coordinate)
    assert raised.value.code == code
    assert not await sandbox.alive(handle)
    assert await sandbox.destroy(handle) == ()


@pytest.mark.parametrize(
    ("target", "kind", "code"),
    [
        ({"lsn": Lsn("0/7F000000")}, ArchiveError, "RECOVERY_ENDED_EARLY"),  # beyond the archive
        ({"lsn": Lsn("0/100")}, BackupError, "SERVER_START_FAILED"),  # before the backup is consistent (TRAP 3)
        ({"timeline": 7}, ArchiveError, "TIMELINE_MISMATCH"),
    ],
)
async def test_a_target_that_cannot_be(
    scene: Scene, sandbox: ProcessSandbox, target: dict[str, Any], kind: type[DrillError], code: str
) -> None:
    coordinate = scene.coordinate(target=target)
    with pytest.raises(kind) as raised:
        await recovered(sandbox, scene, coordinate)
    assert raised.value.code == code
    assert await sandbox.destroy(sandbox.handle("drill-1")) == ()


# -- places and programs -----------------------------------------------------------------------------------------------
async def test_a_long_path(scene: Scene, workdir: Path) -> None:
    """A socket's path ends at 107 bytes; the work folder's doesn't."""
    deep = workdir / ("d" * 60) / ("e" * 60)
    for isolation in ("required", "off"):
        sandbox = ProcessSandbox(Settings(isolation=isolation), workdir=deep)
        handle, _ = await recovered(sandbox, scene)
        before = set(os.listdir("/proc/self/fd"))
        assert await ask(sandbox, handle, "SELECT count(*) FROM t") == [(scene.rows,)]
        assert set(os.listdir("/proc/self/fd")) == before
        assert await sandbox.destroy(handle) == ()


@pytest.mark.parametrize("isolation", ["required", "off"])
async def test_programs_that_the_account_cannot_reach(scene: Scene, workdir: Path, place: Path, isolation: Isolation) -> None:
    """A virtual environment under root's home: bound into the sandbox's root, or linked into its directory."""
    closed = scene.production.programs.copied_to(place / "closed")
    (place / "closed").chmod(0o700)
    sandbox = ProcessSandbox(Settings(isolation=isolation, bin=closed.bin), workdir=workdir)
    handle, _ = await recovered(sandbox, scene)
    assert (Path(handle.place) / "programs").exists() is (isolation == "off")
    modes = closed.bin.stat().st_mode
    assert await sandbox.destroy(handle) == ()
    assert closed.bin.stat().st_mode == modes
    assert (closed.bin / "postgres").exists()


async def test_what_a_callers_environment_says_is_not_heard(
    scene: Scene, sandbox: ProcessSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(scene.production.port),
        "PGOPTIONS": "-c search_path=nowhere",
        "PGSSLMODE": "require",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
    }.items():
        monkeypatch.setenv(name, value)
    handle, _ = await recovered(sandbox, scene)
    assert await ask(sandbox, handle, "SELECT count(*) FROM t") == [(scene.rows,)]
    assert await sandbox.destroy(handle) == ()


async def test_no_room(scene: Scene, sandbox: ProcessSandbox, workdir: Path) -> None:
    with pytest.raises(SandboxError, match="MiB free") as raised:
        await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate(size_bytes=1 << 60))
    assert raised.value.code == "DISK_FULL"
    assert raised.value.facts["needed_bytes"] > raised.value.facts["free_bytes"]
    assert not workdir.exists()


async def test_no_programs(scene: Scene, sandbox: ProcessSandbox, workdir: Path) -> None:
    with pytest.raises(ConfigurationError, match="PostgreSQL 9") as raised:
        await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate(server_version=9))
    assert raised.value.code == "PROGRAMS_NOT_FOUND"
    assert not workdir.exists()


async def test_side_by_side(scene: Scene, workdir: Path) -> None:
    """Two sandboxes of one work folder know nothing of each other, and it goes with the second."""
    sandbox = ProcessSandbox(Settings(), workdir=workdir)
    coordinate = scene.coordinate()

    async def one(name: str) -> SandboxHandle:
        handle = await sandbox.provision(sandbox.handle(name), coordinate)
        scene.restore(sandbox, handle)
        return (await sandbox.recover(handle, coordinate))[0]

    first, second = await asyncio.gather(one("first"), one("second"))
    assert await sandbox.destroy(first) == ()
    assert not await sandbox.alive(first)
    assert await sandbox.alive(second)
    assert await ask(sandbox, second, "SELECT count(*) FROM t") == [(scene.rows,)]
    assert await sandbox.destroy(second) == ()
    assert not workdir.exists()
