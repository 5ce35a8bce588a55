"""What a test does in another process: under another account, with fewer rights, or to be killed.

``journey.py whole FOLDER WORKDIR ISOLATION`` recovers the scene in FOLDER and prints what it saw as JSON.
``journey.py die WORKDIR MOMENT`` recovers what lies in the sandbox, and kills itself when that moment comes. The coordinate comes on
standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import Probe
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.sandboxes import credentials, files, server
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from airflow_dr_provider.sandboxes.replay import Door
from tests.integration.sandboxes.scene import Settings, copy


async def whole(
    folder: Path, workdir: Path, isolation: Any, probes: list[Probe], coordinate: RestoreCoordinate
) -> dict[str, Any]:
    """The whole life of a sandbox."""
    sandbox = ProcessSandbox(Settings(isolation=isolation), workdir=workdir)
    handle = sandbox.handle("drill-1")
    seen: dict[str, Any] = {}
    try:
        handle = await sandbox.provision(handle, coordinate)
        copy(folder / "backups" / "base", sandbox.data_directory(handle))
        copy(folder / "archive", sandbox.wal_directory(handle))
        handle, recovery = await sandbox.recover(handle, coordinate)
        report = sandbox.isolation(handle)
        async with await sandbox.connect(handle, "postgres") as connection:
            rows = await (await connection.execute("SELECT count(*) FROM t")).fetchone()
        results = await sandbox.probe(handle, probes)
        status = Path(f"/proc/{handle.details['server']['pid']}/status").read_text().splitlines()
        seen = {
            "rows": rows[0] if rows else None,
            "reached": report.reached,
            "missing": report.missing,
            "way": handle.details["way"],
            "account": handle.details["account"],
            "interfaces": handle.details["network"]["interfaces"],
            "probes": {result.label: result.reached for result in results},
            "details": [result.detail for result in results],
            "uid": next(line.split()[1] for line in status if line.startswith("Uid:")),
            "privileges": next(line.split()[1] for line in status if line.startswith("CapEff:")),
            "no_new": next(line.split()[1] for line in status if line.startswith("NoNewPrivs:")),
            "replayed": str(recovery.replayed_lsn),
        }
    except DrillError as error:
        seen = {"error": error.code, "message": error.message}
    return {**seen, "left": await sandbox.destroy(handle), "workdir": os.path.exists(workdir)}


def die_at(moment: str) -> None:
    """Kill this process when that function is about to be called, or when the server has just been started."""
    owners: dict[str, Any] = {
        "prepare": files,
        "start": server,
        "enter": Door,
        "create_roles": credentials,
        "close_door": credentials,
        "wait_until_closed": Door,
    }

    def kill(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    owner = owners[moment]
    if moment == "start":
        # The server's command is on its way; nobody has seen its process yet.
        owner._appeared = kill
    else:
        setattr(owner, moment, kill)


async def die(workdir: Path, coordinate: RestoreCoordinate) -> None:
    """Recover, not to the end."""
    sandbox = ProcessSandbox(Settings(), workdir=workdir)
    await sandbox.recover(sandbox.handle("drill-1"), coordinate)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    given = json.load(sys.stdin)
    if what == "die":
        die_at(arguments[1])
        asyncio.run(die(Path(arguments[0]), RestoreCoordinate.model_validate(given)))
    else:
        probing = [Probe.model_validate(probe) for probe in given["probes"]]
        chosen = RestoreCoordinate.model_validate(given["coordinate"])
        print(json.dumps(asyncio.run(whole(Path(arguments[0]), Path(arguments[1]), arguments[2], probing, chosen))))
