"""What a sandbox can't reach, under each way of enclosing it, and what is done where there is none."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.reports import Probe
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.postgresql.account import unprivileged_account
from airflow_dr_provider.postgresql.command import run
from airflow_dr_provider.sandboxes import isolation as namespaces
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from tests.integration.sandboxes.scene import Isolation, Scene, Settings
from tests.integration.sandboxes.test_recovery import ask, recovered

pytestmark = pytest.mark.postgres
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="starts processes under other accounts")
NO_CAPABILITY = "0000000000000000"


def ways_out(scene: Scene) -> list[Probe]:
    """Production's doors: its socket, its port, and names."""
    production = scene.production
    return [
        Probe(label="socket", address=str(production.socket), port=production.port),
        Probe(label="port", address="127.0.0.1", port=production.port),
        Probe(label="name", address="localhost.localdomain"),
    ]


@pytest.fixture
def open_workdir(workdir: Path) -> Iterator[Path]:
    """A work folder in which every account may make its sandboxes."""
    workdir.parent.chmod(0o1777)
    yield workdir
    workdir.parent.chmod(0o755)


@pytest.mark.parametrize(("isolation", "out"), [("required", False), ("off", True)])
async def test_trap_8(scene: Scene, workdir: Path, isolation: Isolation, out: bool) -> None:
    """Production's port and its socket in a folder: reached without namespaces, so that the probe is seen to work; not with."""
    sandbox = ProcessSandbox(Settings(isolation=isolation), workdir=workdir)
    handle, _ = await recovered(sandbox, scene)
    results = {result.label: result for result in await sandbox.probe(handle, ways_out(scene))}
    assert results["socket"].reached is out, results
    assert results["port"].reached is out, results
    assert results["name"].reached is not None
    report = sandbox.isolation(handle)
    assert report.wanted == isolation
    assert set(report.reached) == (set() if out else {"network", "mount", "pid", "ipc"})
    assert (report.missing == "") is not out
    if not out:
        assert handle.details["network"]["interfaces"] == ["lo"]
        assert handle.details["network"]["routes"] == 0
    assert await sandbox.destroy(handle) == ()


async def test_what_is_seen_from_inside(scene: Scene, sandbox: ProcessSandbox) -> None:
    """As the server's superuser: the system's programs and this sandbox, and no way to write to either but its own data."""
    handle, _ = await recovered(sandbox, scene)
    listed = await ask(sandbox, handle, "SELECT array_agg(f ORDER BY f) FROM pg_ls_dir('/') f")
    assert set(listed[0][0]) <= {
        *("bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sandbox", "sbin", "tmp", "usr"),
        scene.production.programs.root.parts[1],
    }
    seen = await ask(sandbox, handle, "SELECT array_agg(f ORDER BY f) FROM pg_ls_dir('/sandbox') f")
    assert seen == [(["conf", "data", "data.tablespaces", "run", "wal"],)]
    for path in ("/etc/shadow", str(scene.production.data / "PG_VERSION"), str(Path(handle.place) / "credentials.json")):
        with pytest.raises(Exception, match="No such file"):
            await ask(sandbox, handle, f"SELECT pg_read_file('{path}')")
    for path in ("/usr/mark", "/mark", "/sandbox/conf/mark", "/sandbox/wal/mark"):
        with pytest.raises(Exception, match=r"Read-only|Permission denied"):
            await ask(sandbox, handle, f"COPY (SELECT 1) TO '{path}'")
    await ask(sandbox, handle, "COPY (SELECT 1) TO '/tmp/mark'")
    assert not Path("/tmp/mark").exists()
    # A program of the server's finds no process but its own, and can't become anybody else.
    await ask(sandbox, handle, "CREATE TABLE public.said (line text)")
    await ask(sandbox, handle, "COPY said FROM PROGRAM 'ls /proc | grep -c ^[0-9]; id -u; unshare -n true 2>&1 || echo no'")
    said = [line for (line,) in await ask(sandbox, handle, "SELECT line FROM said")]
    assert int(said[0]) < 20
    assert said[1] == str(unprivileged_account().uid)
    assert said[-1] == "no"
    assert await sandbox.destroy(handle) == ()


def journey(scene: Scene, workdir: Path, isolation: Isolation, *before: str) -> dict[str, Any]:
    """The whole life of a sandbox in a process that was started in another way."""
    script = Path(__file__).with_name("journey.py")
    given = {
        "coordinate": scene.coordinate().model_dump(mode="json"),
        "probes": [probe.model_dump() for probe in ways_out(scene)],
    }
    top = Path(__file__).parents[3]
    done = subprocess.run(
        [*before, sys.executable, str(script), "whole", str(scene.folder), str(workdir), isolation],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=top,
        env={**os.environ, "PYTHONPATH": str(top), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(done.stdout)
    assert (seen["left"], seen["workdir"]) == ([], False)
    return seen


AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
WITHOUT_ADMIN = ("setpriv", "--inh-caps=-sys_admin", "--bounding-set=-sys_admin")


@ROOT
@pytest.mark.parametrize(
    ("before", "account"), [(AS_POSTGRES, "postgres"), (WITHOUT_ADMIN, "postgres")], ids=["not-root", "root-that-may-not-mount"]
)
async def test_in_a_user_namespace(scene: Scene, open_workdir: Path, before: tuple[str, ...], account: str) -> None:
    """Who isn't root, or a root that may not mount, gets the same walls by way of a user namespace."""
    seen = await asyncio.to_thread(journey, scene, open_workdir, "required", *before)
    assert seen.get("error") is None, seen
    assert seen["rows"] == scene.rows
    assert seen["way"] == "user"
    assert set(seen["reached"]) == {"network", "mount", "pid", "ipc", "user"}
    assert seen["interfaces"] == ["lo"]
    assert seen["probes"] == {"socket": False, "port": False, "name": False}, seen["details"]
    assert seen["account"] == account
    assert seen["uid"] != "0"
    assert seen["privileges"] == NO_CAPABILITY
    assert seen["no_new"] == "1"


@ROOT
async def test_without_isolation_as_another_account(scene: Scene, open_workdir: Path) -> None:
    seen = await asyncio.to_thread(journey, scene, open_workdir, "off", *AS_POSTGRES)
    assert seen["rows"] == scene.rows
    assert (seen["way"], seen["probes"]["socket"], seen["probes"]["port"]) == ("none", True, True)


@ROOT
@pytest.mark.parametrize("mode", [0o755, 0o700])
async def test_a_work_folder_that_another_account_may_not_use(scene: Scene, workdir: Path, mode: int) -> None:
    """Neither written to nor looked into: one sentence, nothing made."""
    workdir.parent.chmod(mode)
    seen = await asyncio.to_thread(journey, scene, workdir, "preferred", *AS_POSTGRES)
    assert seen["error"] == "WORKDIR_UNUSABLE"
    assert str(workdir) in seen["message"]


@ROOT
async def test_inside_another_ones_namespaces(scene: Scene, workdir: Path) -> None:
    """Airflow itself may run in mount and process namespaces of its own."""
    outer = ("unshare", "--mount", "--pid", "--fork", "--mount-proc")
    seen = await asyncio.to_thread(journey, scene, workdir, "required", *outer)
    assert (seen["rows"], seen["way"]) == (scene.rows, "root")
    assert seen["probes"]["port"] is False


@pytest.mark.parametrize("isolation", ["required", "preferred"])
async def test_where_nothing_can_be_unshared(
    scene: Scene, workdir: Path, isolation: Isolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Required: refused before anything is made, and nothing stays. Preferred: it runs, and says what is missing."""
    monkeypatch.setattr(namespaces, "TOOLS", (*namespaces.TOOLS, "a-tool-that-is-nowhere"))
    sandbox = ProcessSandbox(Settings(isolation=isolation), workdir=workdir)
    if isolation == "required":
        with pytest.raises(SandboxError, match="a-tool-that-is-nowhere") as raised:
            await sandbox.provision(sandbox.handle("drill-1"), scene.coordinate())
        assert raised.value.code == "ISOLATION_UNAVAILABLE"
        assert not workdir.exists()
        return
    handle, _ = await recovered(sandbox, scene)
    report = sandbox.isolation(handle)
    assert report.reached == ()
    assert "a-tool-that-is-nowhere" in report.missing
    assert await sandbox.destroy(handle) == ()


@ROOT
@pytest.mark.parametrize("way", [namespaces.Way.ROOT_BARE, namespaces.Way.USER_BARE])
async def test_where_mounting_is_forbidden(
    scene: Scene, workdir: Path, way: namespaces.Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network and processes at least: production's port is out of reach, its socket isn't, and the record says so."""

    async def forbidding(command: tuple[str, ...], **how: Any) -> Any:
        forbidden = "--mount" in command or (way.has_user and "--user" not in command)
        return await run(("false",) if forbidden else command, **how)

    monkeypatch.setattr(namespaces, "run", forbidding)
    sandbox = ProcessSandbox(Settings(isolation="preferred"), workdir=workdir)
    handle, _ = await recovered(sandbox, scene)
    assert handle.details["way"] == way
    report = sandbox.isolation(handle)
    assert "network" in report.reached
    assert "mount" not in report.reached
    assert "user: " in report.missing
    results = {result.label: result.reached for result in await sandbox.probe(handle, ways_out(scene))}
    assert results["port"] is False
    assert results["socket"] is True
    assert await ask(sandbox, handle, "SELECT count(*) FROM t") == [(scene.rows,)]
    assert await sandbox.destroy(handle) == ()
