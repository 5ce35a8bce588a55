"""Cut off anywhere: the next call goes on, or destroys all of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.reports import Probe
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.sandboxes import processes, server
from airflow_dr_provider.sandboxes.place import Place
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from airflow_dr_provider.sandboxes.replay import Door
from tests.integration.sandboxes.scene import Isolation, Scene, Settings
from tests.integration.sandboxes.test_recovery import ask, recovered

pytestmark = pytest.mark.postgres
BOTH = pytest.mark.parametrize("isolation", ["required", "off"])


async def kill(running: processes.Running) -> None:
    """kill -9, and wait for the end."""
    os.kill(running.pid, signal.SIGKILL)
    assert await processes.ended(running, 10)


def postmaster(sandbox: ProcessSandbox) -> processes.Running:
    """The server's first process."""
    found = server.find(Place.of(Path(sandbox.handle("drill-1").place).parent, "drill-1"))
    assert found is not None
    return found.postmaster


@BOTH
async def test_a_server_killed_on_the_way_goes_on(
    scene: Scene, workdir: Path, isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SERVER_DIED, which another try may cure: it does, from the last restartpoint, to the same target."""
    sandbox = ProcessSandbox(Settings(isolation=isolation), workdir=workdir)
    original = Door.enter

    async def killing(self: Door) -> Any:
        entered = await original(self)
        if entered is not None:
            await kill(postmaster(sandbox))
        return entered

    with monkeypatch.context() as patched:
        patched.setattr(Door, "enter", killing)
        with pytest.raises(SandboxError) as raised:
            await recovered(sandbox, scene)
    assert raised.value.code == "SERVER_DIED"
    assert raised.value.retryable
    handle, _ = await sandbox.recover(
        await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate()), scene.coordinate()
    )
    assert await ask(sandbox, handle, "SELECT count(*) FROM t") == [(scene.rows,)]
    assert await sandbox.destroy(handle) == ()


@BOTH
async def test_an_open_server_that_is_killed(scene: Scene, workdir: Path, isolation: Isolation) -> None:
    """It is noticed at once; recover brings it back as it was; destroy finds nothing of it in shared memory."""
    sandbox = ProcessSandbox(Settings(isolation=isolation), workdir=workdir)
    handle, recovery = await recovered(sandbox, scene)
    await kill(postmaster(sandbox))
    assert not await sandbox.alive(handle)
    with pytest.raises(SandboxError) as raised:
        await sandbox.connect(handle, "postgres")
    assert raised.value.code == "SERVER_DIED"
    results = await sandbox.probe(handle, [Probe(label="x", address="127.0.0.1", port=1)])
    assert results[0].reached is None
    handle, again = await sandbox.recover(handle, scene.coordinate())
    assert again.replayed_lsn == recovery.replayed_lsn
    assert await ask(sandbox, handle, "SELECT count(*) FROM t") == [(scene.rows,)]
    segment = server.shared_memory(Place.of(workdir, "drill-1"))
    await kill(postmaster(sandbox))
    assert await sandbox.destroy(handle) == ()
    if isolation == "off":
        listed = [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
        assert str(segment) not in listed


async def test_cancelled_while_it_recovers(scene: Scene, sandbox: ProcessSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server goes on; destroy finds it, and the next recover would have."""
    reached = asyncio.Event()

    async def waiting(self: Door) -> None:
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(Door, "enter", waiting)
        task = asyncio.create_task(recovered(sandbox, scene))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    handle = sandbox.handle("drill-1")
    assert await sandbox.alive(handle)
    handle, _ = await sandbox.recover(handle, scene.coordinate())
    assert await ask(sandbox, handle, "SELECT count(*) FROM t") == [(scene.rows,)]
    assert await sandbox.destroy(handle) == ()


KILLED_AT = ("prepare", "start", "enter", "create_roles", "close_door", "wait_until_closed")


@pytest.mark.parametrize("moment", KILLED_AT)
async def test_the_starter_is_killed(scene: Scene, sandbox: ProcessSandbox, workdir: Path, moment: str) -> None:
    """kill -9 of the process that recovers, anywhere: another one takes over and ends with the same server, or a working one."""
    coordinate = scene.coordinate()
    handle = await sandbox.provision(sandbox.handle("drill-1"), coordinate)
    scene.restore(sandbox, handle)
    journey = Path(__file__).with_name("journey.py")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(journey), "die", str(workdir), moment],
        input=coordinate.model_dump_json().encode(),
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    handle, recovery = await sandbox.recover(handle, coordinate)
    assert recovery.next_transaction is not None
    assert await ask(sandbox, handle, "SELECT count(*) FROM t") == [(scene.rows,)]
    assert await ask(sandbox, handle, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'dr\\_%'") == [(2,)]
    assert await sandbox.destroy(handle) == ()


async def test_destroyed_while_nobody_noted_the_server(scene: Scene, sandbox: ProcessSandbox) -> None:
    """Killed between starting and noting: the server is found without a note."""
    handle, _ = await recovered(sandbox, scene)
    place = Place.of(Path(handle.place).parent, "drill-1")
    place.note(server=None)
    assert await sandbox.alive(handle)
    assert await sandbox.destroy(sandbox.handle("drill-1")) == ()


async def test_notes_of_another_boot(scene: Scene, sandbox: ProcessSandbox) -> None:
    """After a restart of the machine nothing says that unsynced files are whole: they are restored again."""
    handle, _ = await recovered(sandbox, scene)
    Place.of(Path(handle.place).parent, "drill-1").note(boot="another")
    with pytest.raises(SandboxError) as raised:
        await sandbox.recover(handle, scene.coordinate())
    assert raised.value.code == "SANDBOX_LOST"
    assert await sandbox.destroy(handle) == ()
