"""Run the command as its user does: in a process of its own, on a copy of a real repository."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.demo.scene import remains
from airflow_dr_provider.state.store import Store

ONE_TIER = """\
version: 1
drill: orders
objectives: {{rto: 30m, rpo: 1h, mtd: 4h}}
source:
  repository: {{kind: basebackup, backups: ./backups, archive: ./archive}}
  heartbeat: {{table: public.dr_heartbeat, column: beat_at}}
  {source}
target: {target}
tiers:
  - {{name: primary, role: staging, sandbox: {{kind: process, isolation: preferred}}, timeout: 5m, profile: {profile}}}
{more}
smoke:
  - {{name: orders_present, sql: "SELECT count(*) > 0 FROM orders"}}
"""
QUIET = {"autovacuum": "off", "checkpoint_timeout": "1h"}
"""Settings of a production that writes nothing of its own accord: its archive is the same however long a session takes."""
SECOND_TIER = "  - {name: secondary, role: isolated, sandbox: {kind: process}, timeout: 5m, profile: light}"


def spec_text(
    *, target: str = "{recover_to: latest}", profile: str = "standard", more: str = "", source: str = "reference: last_good_run"
) -> str:
    """A small spec."""
    return ONE_TIER.format(target=target, profile=profile, more=more, source=source)


@dataclass(frozen=True)
class Repository:
    """A repository made once, and the moments worth knowing of it."""

    folder: Path
    production: DemoProduction
    disaster: datetime
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Bench:
    """A place for one test: a copy of the repository, a spec, a state store and a work folder of its own."""

    folder: Path
    disaster: datetime
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def backups(self) -> Path:
        return self.folder / "backups"

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def spec(self) -> Path:
        return self.folder / "orders.yaml"

    @property
    def state(self) -> str:
        return f"sqlite:///{self.folder}/state.db"

    @property
    def workdir(self) -> Path:
        return self.folder / "work"

    def write(self, **options: str) -> Path:
        self.spec.write_text(spec_text(**options))
        return self.spec

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow_dr_provider.cli.main", *arguments]

    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "AIRFLOW_DR_STATE": self.state,
            "AIRFLOW_DR_WORKDIR": str(self.workdir),
            **self.environment,
        }

    def call(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.env(), capture_output=True, text=True, timeout=timeout, check=False, cwd="/"
        )

    def run(self, *arguments: str, as_of: datetime | None = None) -> dict[str, Any]:
        """``airflow-dr run --json``; its document, which has to agree with the exit code."""
        moment = as_of or self.disaster
        done = self.call("run", str(self.spec), "--json", "--as-of", moment.isoformat(), *arguments)
        try:
            document: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"no JSON on stdout: {done.stdout[:2000]!r}\n{done.stderr[-4000:]}") from None
        assert document["exit_code"] == done.returncode, (document["exit_code"], done.returncode)
        assert "Traceback" not in done.stderr, done.stderr
        document["stderr"] = done.stderr
        return document

    def plan(self, *arguments: str, as_of: datetime | None = None) -> dict[str, Any]:
        """``airflow-dr plan --json``; its document with the exit code in it."""
        moment = as_of or self.disaster
        done = self.call("plan", str(self.spec), "--json", "--as-of", moment.isoformat(), *arguments)
        assert "Traceback" not in done.stderr, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return {**document, "exit_code": done.returncode}

    def store(self) -> Store:
        return Store.open(self.state)

    def left(self) -> list[str]:
        """Everything that a drill left: processes, folders, mounts, ledger rows."""
        found = remains(self.workdir)
        if self.workdir.exists():
            found += [f"folder {path.name}" for path in self.workdir.iterdir()]
        found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.workdir) in line]
        if (self.folder / "state.db").exists():
            store = self.store()
            found += [f"ledger {resource.name} {resource.state}" for resource in store.unreleased()]
            store.close()
        return found


def copy_repository(source: Path, destination: Path) -> None:
    """A copy of backups and archive that a test may damage."""
    for name in ("backups", "archive"):
        subprocess.run(["cp", "-a", str(source / name), str(destination / name)], check=True)


def end(process: subprocess.Popen[Any], number: int = signal.SIGTERM) -> int:
    """Signal a process and wait for its end."""
    process.send_signal(number)
    return process.wait(60)


def remove(folder: Path) -> None:
    """Remove a test's folder."""
    shutil.rmtree(folder, ignore_errors=False)
