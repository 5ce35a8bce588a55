"""The demonstration's scene: production, three base backups, an archive, and the newest backup damaged."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_dr_provider.demo.production import DemoProduction, flip_byte, relation_file

BACKUPS = ("sunday", "monday", "tuesday")
DAMAGED = BACKUPS[-1]
METADATA_SETTINGS = {
    "archive_mode": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "summarize_wal": "off",
    "synchronous_commit": "off",
}

SPEC = """\
version: 1
drill: orders
description: Proves every night that the orders database can be restored.
schedule: "0 3 * * *"
objectives: {rto: 30m, rpo: 1h, mtd: 4h}
source:
  repository: {kind: basebackup, backups: ./backups, archive: ./archive}
  production_conn_id: orders_ro
  heartbeat: {table: public.dr_heartbeat, column: beat_at}
  reference: production
target: {recover_to: latest}
selection: {lookback: 7d}
tiers:
  - name: primary
    role: staging
    sandbox: {kind: process, isolation: preferred}
    timeout: 10m
    retries: 1
    profile: full
    cache_warming: full
  - name: secondary
    role: isolated
    sandbox: {kind: process, isolation: preferred}
    timeout: 10m
    profile: standard
    cache_warming: full
  - name: cold
    role: cold_storage
    sandbox: {kind: process}
    timeout: 20m
    profile: light
    cache_warming: none
    rpo: 1d
smoke:
  - {name: orders_present, sql: "SELECT count(*) > 0 FROM orders"}
  - name: every_order_has_a_customer
    sql: SELECT NOT EXISTS (SELECT FROM orders o LEFT JOIN customers c ON c.id = o.customer_id WHERE c.id IS NULL)
triage: {response_timeout: 8h}
"""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What was made.

    :param folder: everything lies under it.
    :param metadata: the server of Airflow's metadata database and of the state store.
    :param damaged: the file of the newest backup in which one byte was inverted.
    :param last_beat: the newest heartbeat that reached the archive, ISO 8601.
    """

    folder: Path
    production: DemoProduction
    metadata: DemoProduction
    damaged: Path
    last_beat: str

    @property
    def spec(self) -> Path:
        """The drill's YAML."""
        return self.folder / "dags" / "orders.yaml"

    @property
    def dags(self) -> Path:
        """The folder of the generated DAGs."""
        return self.folder / "dags"

    @property
    def state(self) -> str:
        """The state store's URL."""
        return self.metadata.url("drills")

    @property
    def workdir(self) -> Path:
        """Where sandboxes live."""
        return self.folder / "sandboxes"

    def environment(self) -> dict[str, str]:
        """What the drill's processes need to be told."""
        return {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.metadata.url("airflow", "postgresql+psycopg2"),
            "AIRFLOW_DR_STATE": self.state,
            "AIRFLOW_DR_WORKDIR": str(self.workdir),
            "AIRFLOW_CONN_ORDERS_RO": self.production.uri,
        }

    def remove(self) -> None:
        """End both servers and remove the folder."""
        self.production.close()
        self.metadata.close()
        shutil.rmtree(self.folder)


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_scene(say: Callable[[str], None], *, damage: bool = True) -> Scene:
    """Make production, back it up three times while its heart beats, and damage the newest backup.

    :param say: is told what happens, a line at a time.
    """
    folder = Path(tempfile.mkdtemp(prefix="airflow-dr-demo-"))
    folder.chmod(0o755)
    for name in ("dags", "metadata", "sandboxes"):
        (folder / name).mkdir()
    production = DemoProduction(folder, port=free_port(), tcp=True)
    metadata = DemoProduction(folder / "metadata", port=free_port(), tcp=True, settings=METADATA_SETTINGS)
    try:
        metadata.create(schema="CREATE DATABASE airflow")
        metadata.sql("CREATE DATABASE drills")
        production.create()
        say(f"production: PostgreSQL {production.programs.version} with WAL archiving, a heartbeat every second")
        production.start_heartbeat(1.0)
        for name in BACKUPS:
            production.backup(name)
            say(f"base backup {name}")
            production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 7 FROM generate_series(1, 500) n")
        _await_beat(production)
        damaged = relation_file(production, production.backups / DAMAGED, "orders")
        if damage:
            flip_byte(damaged)
            say(f"damage: one byte of {damaged.relative_to(folder)} inverted")
        production.switch_wal()
        last_beat = str(production.sql("SELECT beat_at FROM dr_heartbeat")[0][0].isoformat())
    except BaseException:
        production.close()
        metadata.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / "dags" / "orders.yaml").write_text(SPEC.replace("./backups", "../backups").replace("./archive", "../archive"))
    return Scene(folder=folder, production=production, metadata=metadata, damaged=damaged, last_beat=last_beat)


def _await_beat(production: DemoProduction) -> None:
    """Wait until the heart has beaten once after the last backup."""
    before = production.sql("SELECT beat_at FROM dr_heartbeat")[0][0]
    deadline = time.monotonic() + 30
    while production.sql("SELECT beat_at FROM dr_heartbeat")[0][0] == before:
        if time.monotonic() > deadline:
            raise RuntimeError("the demo's heartbeat does not beat")
        time.sleep(0.05)


def remains(folder: Path) -> list[str]:
    """Processes that still run in or from a folder, by their number and command line."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            place = os.readlink(process / "cwd")
        except OSError:
            continue
        if str(folder) in command or place.startswith(str(folder)):
            found.append(f"{process.name} {command}")
    return found
