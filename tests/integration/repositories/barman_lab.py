"""A real Barman with real servers of a real PostgreSQL, made once a session; each test gets a copy of its home."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_dr_provider.demo.production import DemoProduction, flip_byte
from airflow_dr_provider.repositories.barman import BarmanRepository

BIN = Path(sys.executable).parent
SERVERS = ("main", "copied", "packed")
"""Backups by pg_basebackup; by rsync; by pg_basebackup as compressed tar files, with every compression of WAL."""

COMPRESSIONS = ("gzip", "bzip2", "xz", "lz4", "zstd")

_GLOBAL = """\
[barman]
barman_user = {user}
barman_home = {home}
barman_lock_directory = {home}
log_file = {home}/barman.log
configuration_files_directory = {home}/none
"""
_SERVER = """
[{name}]
description = {name}
conninfo = host={socket} user=postgres dbname=postgres
streaming_conninfo = host={socket} user=postgres dbname=postgres
backup_method = {method}
archiver = on
backup_options = concurrent_backup
immediate_checkpoint = true
path_prefix = {bin}
{more}
"""


@dataclass(frozen=True)
class Barman:
    """A home of Barman and its configuration, in a folder of their own.

    :param production: the server that it backs up.
    """

    folder: Path
    production: DemoProduction
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def config(self) -> Path:
        return self.folder / "barman.conf"

    def write_config(self, *, wal: str = "", bin: Path | None = None) -> None:
        """Write the configuration.

        :param wal: how *packed* compresses WAL.
        """
        text = _GLOBAL.format(user=getpass.getuser(), home=self.home)
        for name in SERVERS:
            packed = f"backup_compression = gzip\nbackup_compression_format = tar\n{f'compression = {wal}' if wal else ''}"
            text += _SERVER.format(
                name=name,
                socket=self.production.socket,
                method="local-rsync" if name == "copied" else "postgres",
                bin=bin or self.production.programs.bin,
                more=packed if name == "packed" else "",
            )
        self.config.write_text(text)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``barman …``"""
        done = subprocess.run(
            [BIN / "barman", "-c", self.config, *arguments], capture_output=True, text=True, check=False, cwd="/", timeout=120
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        return done

    def switch(self, *servers: str) -> str:
        """End a segment and let Barman take it; its name."""
        production = self.production
        production.sql("SELECT pg_logical_emit_message(false, 'dr', 'switch')")
        name = str(production.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
        production._await_archived(name)
        for server in servers or SERVERS:
            self.run("archive-wal", server)
        return name

    def backup(self, server: str, *arguments: str) -> str:
        """Take a backup; its id."""
        before = set(self.ids(server))
        self.run("backup", server, "--wait", *arguments)
        return (set(self.ids(server)) - before).pop()

    def backups(self, *servers: str) -> list[str]:
        """Take one of each server at the same time."""
        with ThreadPoolExecutor(len(servers)) as pool:
            return list(pool.map(self.backup, servers))

    def ids(self, server: str) -> list[str]:
        """Ids of a server's backups, oldest first."""
        return sorted(path.name.removesuffix("-backup.info") for path in (self.home / server / "meta").glob("*-backup.info"))

    # -- what lies there -----------------------------------------------------------------------------------------------
    def data(self, server: str, backup: str) -> Path:
        return self.home / server / "base" / backup / "data"

    def info(self, server: str, backup: str) -> Path:
        return self.home / server / "meta" / f"{backup}-backup.info"

    def segment(self, server: str, name: str) -> Path:
        return self.home / server / "wals" / name[:16] / name

    def repository(self, server: str, **options: Any) -> BarmanRepository:
        settings = {"server": server, "config": self.config, "bin": BIN, "cloud": None, **options}
        return BarmanRepository(SimpleNamespace(**settings), base=Path("/"))

    # -- damage --------------------------------------------------------------------------------------------------------
    def own(self, path: Path) -> Path:
        """Break a file's hard link, so that a test may change it."""
        content, status = path.read_bytes(), path.stat()
        path.unlink()
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return path

    def damage(self, path: Path, offset: int = -1) -> None:
        """Flip one byte."""
        flip_byte(self.own(path), offset)

    def tell(self, server: str, backup: str, **fields: str) -> None:
        """Change what Barman has noted about a backup."""
        path = self.own(self.info(server, backup))
        lines = [line for line in path.read_text().splitlines() if line.partition("=")[0] not in fields]
        path.write_text("\n".join([*lines, *(f"{name}={value}" for name, value in fields.items())]) + "\n")

    def copy(self, folder: Path) -> Barman:
        """The same in another folder; files are hard links."""
        shutil.copytree(self.home, folder / "home", symlinks=True, copy_function=os.link)
        for name in SERVERS:
            for path in (folder / "home" / name / "wals").glob("*xlog.db"):
                self.own(path)  # the one file that is written to
        copied = Barman(folder, self.production, self.facts)
        copied.write_config()
        return copied


class BackedUpProduction(DemoProduction):
    """A production that archives into the homes of Barman's servers."""

    def archives_to(self, folders: list[Path]) -> None:
        """Set archive_command."""
        self._last = folders[-1]
        for folder in folders:
            folder.mkdir(parents=True)
            self.account.own(folder)
        command = " && ".join(f'cp "%p" "{folder}/%f"' for folder in folders)
        self.settings["archive_command"] = command

    def _await_archived(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute("SET statement_timeout = '30s'")
            connection.execute(
                b'DO $$ BEGIN WHILE (SELECT last_archived_wal IS NULL OR last_archived_wal COLLATE "C" < \''
                + name.encode()
                + b"' FROM pg_stat_archiver) LOOP PERFORM pg_sleep(0.02); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
            )


@contextlib.contextmanager
def barman_lab() -> Iterator[Barman]:
    """PostgreSQL 18 with a tablespace, and the three servers with backups of each kind."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    try:
        (folder / "home").mkdir()
        with BackedUpProduction(folder) as production:
            production.archives_to([folder / "home" / name / "incoming" for name in SERVERS])
            production.create(initdb=("--wal-segsize=1",))
            made = Barman(folder, production)
            made.write_config()
            _work(made)
            yield made
    finally:
        shutil.rmtree(folder)


def _work(made: Barman) -> None:
    production, facts = made.production, made.facts
    space = made.folder / "space"
    space.mkdir()
    production.account.own(space)
    production.sql(f"CREATE TABLESPACE beside LOCATION '{space}'")
    production.sql("CREATE TABLE placed (n int) TABLESPACE beside")
    production.sql("INSERT INTO placed SELECT generate_series(1, 500)")
    made.switch()
    facts["first"], facts["copied"] = made.backups("main", "copied")
    production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 7 FROM generate_series(1, 300) n")
    facts["after_first"] = made.switch()
    facts["second"], facts["packed"] = made.backups("main", "packed")
    production.sql("UPDATE placed SET n = n + 1 WHERE n < 50")
    facts["step"] = made.backup("main", "--incremental", facts["second"])
    facts["failed"] = _failed(made)
    for number, compression in enumerate(COMPRESSIONS):
        made.write_config(wal=compression)
        production.sql(f"INSERT INTO placed VALUES (-{number + 1})")
        facts[compression] = made.switch("packed")
    made.write_config()
    production.sql("SELECT pg_create_restore_point('before_the_mistake')")
    production.beat()
    facts["heartbeat"] = production.sql("SELECT beat_at FROM dr_heartbeat")[0][0]
    facts["rows"] = production.sql("SELECT count(*) FROM placed")[0][0]
    facts["last"] = made.switch()


def _failed(made: Barman) -> str:
    """A backup during which pg_basebackup failed; its id."""
    broken = made.folder / "broken"
    broken.mkdir()
    program = broken / "pg_basebackup"
    real = made.production.programs.path("pg_basebackup")
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*|*--help*) exec {real} "$@";; esac\necho "no space left" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    before = set(made.ids("main"))
    made.write_config(bin=broken)
    done = made.run("backup", "main", check=False)
    made.write_config()
    assert done.returncode != 0
    return (set(made.ids("main")) - before).pop()


def shown_statuses(made: Barman, server: str) -> dict[str, str]:
    """What Barman calls each of its backups."""
    listed = json.loads(made.run("-f", "json", "list-backups", server).stdout)[server]
    return {entry["backup_id"]: entry["status"] for entry in listed}
