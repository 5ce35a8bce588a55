"""What is removed, what never is, and that nothing stays."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.errors import ConfigurationError, SandboxError
from airflow_dr_provider.postgresql.account import unprivileged_account
from airflow_dr_provider.sandboxes import processes
from airflow_dr_provider.sandboxes.place import MARKER, Place
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from tests.integration.sandboxes.scene import Isolation, Scene, Settings

pytestmark = pytest.mark.postgres
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="starts processes under other accounts")


async def test_nothing_there_is_success(sandbox: ProcessSandbox, workdir: Path) -> None:
    handle = sandbox.handle("drill-1")
    assert not workdir.exists()
    assert await sandbox.destroy(handle) == ()
    assert not await sandbox.alive(handle)
    assert await sandbox.log_tail(handle) == ""
    with pytest.raises(SandboxError) as raised:
        sandbox.isolation(handle)
    assert raised.value.code == "SANDBOX_LOST"


async def test_a_directory_that_is_no_sandbox_stays(scene: Scene, sandbox: ProcessSandbox, workdir: Path, place: Path) -> None:
    """Somebody's folder, and somebody's link: neither provisioned into nor removed."""
    workdir.mkdir()
    (workdir / "precious").mkdir()
    (workdir / "precious" / "file").touch()
    (place / MARKER).write_text("sandbox linked\n")
    (workdir / "linked").symlink_to(place)
    for name in ("precious", "linked"):
        handle = sandbox.handle(name)
        with pytest.raises(ConfigurationError, match="no sandbox") as raised:
            await sandbox.provision(handle, scene.coordinate())
        assert raised.value.code == "WORKDIR_UNUSABLE"
        left = await sandbox.destroy(handle)
        assert len(left) == 1
        assert "no marker" in left[0]
    assert (workdir / "precious" / "file").exists()
    assert (place / MARKER).exists()
    (workdir / "precious" / "file").unlink()
    (workdir / "precious").rmdir()
    (workdir / "linked").unlink()
    workdir.rmdir()


async def test_a_work_folder_that_was_there_stays(scene: Scene, sandbox: ProcessSandbox, workdir: Path) -> None:
    workdir.mkdir()
    handle = await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate())
    assert handle.details["workdir_made"] is False
    assert await sandbox.destroy(handle) == ()
    assert list(workdir.iterdir()) == []
    workdir.rmdir()


async def test_provisioned_empty_and_again(scene: Scene, sandbox: ProcessSandbox) -> None:
    """Empty for the restore; a second time, what the restore has put there stays."""
    handle = await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate())
    assert handle.details["workdir_made"] is True
    data = sandbox.data_directory(handle)
    assert list(data.iterdir()) == []
    assert data.stat().st_uid == unprivileged_account().uid
    assert Path(handle.place).stat().st_uid == os.geteuid()
    (data / "restored").touch()
    again = await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate())
    assert again == handle
    assert (data / "restored").exists()
    with pytest.raises(SandboxError) as raised:
        await sandbox.recover(handle, scene.coordinate())
    assert raised.value.code == "SANDBOX_LOST"
    assert await sandbox.destroy(handle) == ()


async def test_every_process_of_it_and_no_other(scene: Scene, sandbox: ProcessSandbox) -> None:
    """What was started for it and forgotten is found by its mark; who only looks at its log is left alone."""
    handle = await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate())
    marked = subprocess.Popen(
        ["sleep", "600"], env={**os.environ, processes.ENVIRONMENT: handle.place}, start_new_session=True, cwd="/"
    )
    Path(handle.place, "log").touch()
    looking = subprocess.Popen(["tail", "-f", f"{handle.place}/log"], cwd=handle.place)
    other = subprocess.Popen(["sleep", "600"], env={**os.environ, processes.ENVIRONMENT: f"{handle.place}0"})
    try:
        assert await sandbox.destroy(handle) == ()
        assert marked.wait(5) == -9
        assert looking.poll() is None
        assert other.poll() is None
    finally:
        for running in (marked, looking, other):
            running.kill()
            running.wait()


@ROOT
async def test_unusable_work_folders(scene: Scene, place: Path) -> None:
    """One plain sentence for each, and nothing made."""
    (place / "file").touch()
    (place / "closed").mkdir(mode=0o700)
    cases: tuple[tuple[Path, Isolation, str], ...] = (
        (place / "file" / "work", "required", "can't be made in"),
        (place / "closed" / "work", "off", "can't enter"),
    )
    for workdir, isolation, words in cases:
        sandbox = ProcessSandbox(Settings(isolation=isolation), workdir=workdir)
        with pytest.raises(ConfigurationError, match=words) as raised:
            await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate())
        assert raised.value.code == "WORKDIR_UNUSABLE"
    assert list((place / "closed").iterdir()) == []


@ROOT
async def test_a_closed_work_folder_serves_where_there_are_namespaces(scene: Scene, workdir: Path) -> None:
    """Root's own folder, which the account can't enter: its parts are bound into the sandbox's root."""
    from tests.integration.sandboxes.test_recovery import recovered

    workdir.mkdir(mode=0o700)
    sandbox = ProcessSandbox(Settings(), workdir=workdir)
    handle, recovery = await recovered(sandbox, scene)
    assert recovery.reached
    assert await sandbox.destroy(handle) == ()
    workdir.rmdir()


def test_names_and_handles_that_lead_outside(sandbox: ProcessSandbox, workdir: Path) -> None:
    for name in ("", ".", "..", "../x", "a/b", "/etc", "-rf", "a\n", "a b", "x" * 200):
        with pytest.raises(ConfigurationError):
            sandbox.handle(name)
    for place in ("/etc", str(workdir), str(workdir / "x" / "..")):
        with pytest.raises(ConfigurationError):
            sandbox.data_directory(SandboxHandle(kind="process", name="x", place=place))


async def test_a_server_that_cannot_be_seen_from_here(scene: Scene, sandbox: ProcessSandbox) -> None:
    """It runs in another container, say: its lock is all that shows, and its files stay."""
    handle = await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate())
    lock = Place.of(Path(handle.place).parent, "drill-1").lock
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        left = await sandbox.destroy(handle)
        assert len(left) == 1
        assert "can't be seen from here" in left[0]
        assert sandbox.data_directory(handle).exists()
    assert await sandbox.destroy(handle) == ()


async def test_what_cannot_be_removed_is_said(scene: Scene, sandbox: ProcessSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate())

    def refusing(self: Place) -> None:
        raise PermissionError(1, "Operation not permitted", f"{self.root}/data/kept")

    with monkeypatch.context() as patched:
        patched.setattr(Place, "remove", refusing)
        left = await sandbox.destroy(handle)
    assert left == (f"{handle.place}/data/kept: Operation not permitted",)
    assert await sandbox.destroy(handle) == ()
