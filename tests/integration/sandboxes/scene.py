"""A production with a backup and WAL behind it, and sandboxes to recover it in, without a repository's adapter between them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget
from airflow_dr_provider.sandboxes.process import ProcessSandbox

SEGMENT_SIZE = 1 << 20
Isolation = Literal["required", "preferred", "off"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a spec's ``sandbox`` says."""

    isolation: Isolation = "required"
    bin: Path | None = None
    account: str | None = None
    libraries: Sequence[str] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What was made once, and is only copied from.

    :param target: the record that commits the last row that has to be there.
    :param rows: of the table ``t`` at the target.
    :param next_transaction: production's, at the target.
    """

    production: DemoProduction
    target: Lsn
    rows: int
    next_transaction: int

    @property
    def folder(self) -> Path:
        return self.production.folder

    def coordinate(self, **changes: Any) -> RestoreCoordinate:
        names = sorted(path.name for path in self.production.archive.iterdir() if len(path.name) == 24)
        numbers = [int(name[8:16], 16) * ((1 << 32) // SEGMENT_SIZE) + int(name[16:], 16) for name in names]
        target = {"timeline": 1, "lsn": self.target, "requested": RecoveryTarget(), **changes.pop("target", {})}
        values = {
            "backup_id": "base",
            "server_version": self.production.programs.major,
            "target": ResolvedTarget.model_validate(target),
            "segment_size": SEGMENT_SIZE,
            "wal": (SegmentRange(timeline=1, first=numbers[0], last=numbers[-1]),),
            "size_bytes": 30 << 20,
        }
        return RestoreCoordinate.model_validate({**values, **changes})

    def restore(self, sandbox: ProcessSandbox, handle: SandboxHandle) -> None:
        """What the restore stage does before recovery: files and WAL, as this process's own."""
        copy(self.production.backups / "base", sandbox.data_directory(handle))
        copy(self.production.archive, sandbox.wal_directory(handle))


def copy(source: Path, destination: Path) -> None:
    """The content of a folder into another one."""
    subprocess.run(["cp", "-R", f"{source}/.", str(destination)], check=True)


def segment_of(lsn: Lsn) -> str:
    """The name of the segment in which a position lies."""
    number = lsn // SEGMENT_SIZE
    per_file = (1 << 32) // SEGMENT_SIZE
    return f"00000001{number // per_file:08X}{number % per_file:08X}"


def make(folder: Path, major: int) -> Scene:
    """A production of that version with one backup, and the rows that only WAL has."""
    production = DemoProduction(folder, major=major, tcp=True, port=free_port())
    production.create(initdb=(f"--wal-segsize={SEGMENT_SIZE >> 20}",))
    production.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 10) n")
    production.backup("base")
    for _ in range(3):
        production.sql("INSERT INTO t SELECT n FROM generate_series(1, 100) n")
        production.switch_wal()
    # The function gives the position after its record: where the record of its transaction's commit begins.
    target = Lsn(str(production.sql("SELECT pg_logical_emit_message(true, 'dr', 'target')")[0][0]))
    xid = int(production.sql("SELECT txid_snapshot_xmax(txid_current_snapshot())")[0][0])
    production.sql("INSERT INTO t VALUES (0)")
    production.switch_wal()
    (folder / "scene.json").write_text(json.dumps({"target": str(target), "rows": 310, "next": xid}))
    return Scene(production=production, target=target, rows=310, next_transaction=xid)


def new_folder(prefix: str) -> Path:
    """A new folder that the account can enter, in memory where there is enough of it: most of a test's time is copying."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 3 << 30
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=memory if roomy else None))
    made.chmod(0o755)
    return made


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def remove(folder: Path) -> None:
    """Remove a folder, whoever owns what is in it."""
    shutil.rmtree(folder)
