"""Make a production of a shape: its contents, its backups, its work, its promotions, and the points that can be recovered to."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from airflow_dr_provider.demo.production import SCHEMA, DemoProduction
from airflow_dr_provider.postgresql.command import environment
from tests.scenarios.shapes.features import BUSY, FEATURES
from tests.scenarios.shapes.shape import Shape

_STANZA = "main"
_COMPRESS = {"": 'cp "%p" "{to}.part"', ".gz": 'gzip -1 -c "%p" > "{to}.part"', ".zst": 'zstd -1 -q -c "%p" > "{to}.part"'}
_ACCOUNTS = """
CREATE ROLE reader LOGIN PASSWORD 'reader';
GRANT pg_read_all_data, pg_monitor TO reader;
CREATE ROLE stranger LOGIN PASSWORD 'stranger';
CREATE TABLE busy_truncated (n int) WITH (fillfactor = 70);
"""


class _Production(DemoProduction):
    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        connection = super().connect(database)
        # A database without an encoding would give bytes.
        connection.execute("SET client_encoding TO UTF8")
        return connection


@dataclass(frozen=True)
class Point:
    """Something to recover to, as a spec's target.

    :param moment: the moment of a disaster that it fits.
    """

    target: str
    moment: datetime


@dataclass
class World:
    """A production whose work is done, and its repository.

    :param points: by the round of work after which they were made, each after the end of the first backup.
    :param refused: statements of a busy production that another one's work made fail.
    """

    shape: Shape
    folder: Path
    production: DemoProduction
    points: list[Point] = field(default_factory=list)
    refused: int = 0
    disaster: datetime = field(default_factory=lambda: datetime.now(UTC))
    _busy: _Busy | None = None

    @property
    def repository(self) -> str:
        """The spec's part."""
        if self.shape.tool == "pgbackrest":
            return f"{{kind: pgbackrest, stanza: {_STANZA}, config: {self.folder}/pgbackrest.conf}}"
        return "{kind: basebackup, backups: ./backups, archive: ./archive}"

    @property
    def connection(self) -> str:
        """Production's connection URI for the shape's account."""
        user = {"superuser": "postgres"}.get(self.shape.account, self.shape.account)
        host = str(self.production.socket).replace("/", "%2F")
        return f"postgresql://{user}:{user}@{host}:{self.production.port}/postgres"

    def later(self, chance: random.Random) -> None:
        """What production does when all that is restorable was archived: a random part of what its features can do."""
        for name in self.shape.features:
            for statement in FEATURES[name].later:
                if chance.random() < 0.5:
                    self._try(statement, FEATURES[name].database)

    def _try(self, statement: str, database: str = "postgres") -> None:
        with contextlib.suppress(psycopg.Error):
            self.production.sql(statement, database)


class _Busy:
    """Threads that work until they are stopped."""

    def __init__(self, production: DemoProduction, seed: int) -> None:
        self._production, self._stop, self.done, self.refused = production, threading.Event(), 0, 0
        self._threads = [threading.Thread(target=self._work, args=(seed + n,), daemon=True) for n in range(2)]
        for thread in self._threads:
            thread.start()

    def _work(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stop.is_set():
            with contextlib.suppress(psycopg.Error), self._production.connect() as connection:
                connection.execute("SET statement_timeout = '5s'")
                while not self._stop.is_set():
                    try:
                        connection.execute(chance.choice(BUSY).replace("{n:.1}", str(chance.randint(0, 9)))
                                           .replace("{n}", str(chance.randint(0, 400))).encode())  # fmt: skip
                        self.done += 1
                    except psycopg.Error:
                        self.refused += 1
                        if connection.closed:
                            raise
                        with contextlib.suppress(psycopg.Error):
                            connection.execute("ROLLBACK")
                    self._stop.wait(0.03)
            self._stop.wait(0.05)

    def stop(self) -> None:
        """End them, and wait."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


@contextlib.contextmanager
def world(shape: Shape, folder: Path, seed: int) -> Iterator[World]:
    """Make a production and its repository; it lives for as long as the block does."""
    chance = random.Random(seed * 1000 + shape.number)
    with _Production(folder, major=shape.major, settings=_settings(shape, folder)) as production:
        made = World(shape, folder, production)
        try:
            _create(made)
            _fill(made)
            _history(made, chance)
            if shape.busy == "always":
                made._busy = _Busy(production, seed)
            made.later(chance)
            yield made
        finally:
            _idle(made)


def _settings(shape: Shape, folder: Path) -> dict[str, str]:
    to = f"{folder}/archive/%f{shape.archive}"
    command = f'test ! -f "{to}" && {_COMPRESS[shape.archive].format(to=to)} && mv "{to}.part" "{to}"'
    return {
        "max_wal_senders": "5",
        "max_replication_slots": "5",
        # Without a command the archiver waits for one, as pgBackRest's needs a stanza first.
        "archive_command": command if shape.tool == "basebackup" else "",
        "wal_keep_size": "256MB",
        **dict(shape.settings),
    }


def _create(made: World) -> None:
    shape, production, folder = made.shape, made.production, made.folder
    folder.chmod(0o755)
    initdb = [f"--wal-segsize={shape.segment_mb}", "-E", shape.encoding, f"--locale={shape.locale}"]
    initdb += ["--allow-group-access"] if shape.group_access else []
    if shape.tool == "pgbackrest":
        (folder / "pgbackrest.conf").write_text("\n".join([
            "[global]", f"repo1-path={folder}/repo1", "repo1-retention-full=9", f"repo1-bundle={'y' if shape.number % 2 else 'n'}",
            *(["repo1-cipher-type=aes-256-cbc", "repo1-cipher-pass=of-no-production"] if shape.number % 3 == 0 else []),
            f"log-path={folder}", f"lock-path={folder}/lock", f"spool-path={folder}/spool", "log-level-file=off",
            "start-fast=y", "compress-level=1", "io-timeout=2", f"compress-type={('gz', 'zst', 'lz4', 'none')[shape.number % 4]}",
            f"[{_STANZA}]", f"pg1-path={production.data}", f"pg1-port={production.port}", f"pg1-socket-path={production.socket}",
            "pg1-user=postgres", "",
        ]))  # fmt: skip
        production.account.own(folder)
    production.create(schema=SCHEMA + _ACCOUNTS, initdb=tuple(initdb))
    if not shape.checksums:
        production.stop()
        production.run("pg_checksums", "--disable", "-D", str(production.data))
        production.start()
    if shape.tool == "pgbackrest":
        _backrest(made, "stanza-create")
        push = f"pgbackrest --config={folder}/pgbackrest.conf --stanza={_STANZA} archive-push %p"
        production.sql(f"ALTER SYSTEM SET archive_command = '{push}'")
        production.sql("SELECT pg_reload_conf()")


def _fill(made: World) -> None:
    production = made.production
    available = {name for (name,) in production.sql("SELECT name FROM pg_available_extensions")}
    for name in made.shape.extensions:
        if name in available:
            production.sql(f'CREATE EXTENSION IF NOT EXISTS "{name}" CASCADE')
    if made.shape.tablespace:
        for name in ("space", "space two"):
            place = made.folder / name
            place.mkdir()
            production.account.own(place)
            production.sql(f"CREATE TABLESPACE \"{name}\" LOCATION '{place}'")
        production.sql('CREATE TABLE placed (n int PRIMARY KEY USING INDEX TABLESPACE "space two") TABLESPACE space')
        production.sql("INSERT INTO placed SELECT generate_series(1, 500)")
        production.sql("CREATE DATABASE elsewhere TABLESPACE space")
    for name in made.shape.features:
        for statement in FEATURES[name].make:
            if statement.startswith("-- expected to fail"):
                made._try(statement, FEATURES[name].database)
            else:
                production.sql(statement.replace("{{", "{").replace("}}", "}"), FEATURES[name].database)


def _history(made: World, chance: random.Random) -> None:
    shape, production = made.shape, made.production
    if shape.busy:
        made._busy = _Busy(production, shape.number)
    previous = None
    for number, options in enumerate(shape.backups, start=1):
        name = ("first", "second", "third")[number - 1]
        _backup(made, name, options, number, previous if shape.incremental else None)
        previous = name
        if shape.busy == "backups":
            _idle(made)
        for part in range(2):
            _work(made, number * 10 + part, chance)
        if number in shape.promotions or -number in shape.promotions:
            _idle(made)
            _promote(made, crash=-number in shape.promotions)
            previous = None  # WAL summaries of the old timeline end with it
            if shape.incremental:
                _backup(made, f"after_{name}", ("-Fp",), number, None)
                previous = f"after_{name}"
            _work(made, number * 10 + 5, chance)
        if shape.busy and number < len(shape.backups) and made._busy is None:
            made._busy = _Busy(production, shape.number + number)
    _idle(made)
    production.beat()
    _switch(made)
    made.disaster = datetime.now(UTC)
    made.points.append(Point("{recover_to: latest}", made.disaster))


def _idle(made: World) -> None:
    if made._busy is not None:
        made._busy.stop()
        made.refused += made._busy.refused
        made._busy = None


def _work(made: World, number: int, chance: random.Random) -> None:
    """A round of work, and a point of each kind that can be recovered to after it."""
    production = made.production
    production.sql(
        f"INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 7 FROM generate_series(1, {chance.randint(1, 400)}) n"
    )
    for name in made.shape.features:
        for statement in FEATURES[name].work:
            production.sql(statement.replace("{n}", str(number)), FEATURES[name].database)
    if chance.random() < 0.4:
        production.sql(
            chance.choice(("CHECKPOINT", "VACUUM", "VACUUM FREEZE", "ANALYZE", "REINDEX TABLE orders", "VACUUM FULL orders"))
        )
    production.beat()
    moment = datetime.now(UTC)
    targets = [f'{{time: "{moment.isoformat()}"}}']
    ((xid,),) = production.sql("SELECT (xmin::text)::bigint FROM dr_heartbeat")
    targets.append(f'{{xid: "{xid}"}}')
    ((lsn,),) = production.sql(f"SELECT pg_create_restore_point('round {number}')::text")
    targets += [f'{{restore_point: "round {number}"}}', f'{{lsn: "{lsn}"}}']
    made.points += [Point(target, moment) for target in targets]
    production.sql("INSERT INTO orders (customer_id, amount) VALUES (1, 1)")
    if chance.random() < 0.6:
        _switch(made)


def _backup(made: World, name: str, options: tuple[str, ...], number: int, base: str | None) -> None:
    if made.shape.tool == "pgbackrest":
        _backrest(made, f"--type={('full', 'diff', 'incr')[number - 1]}", "backup")
        return
    plain = "-Ft" not in options
    moved = [f"-T{made.folder / space}={made.folder}/backups/{name}.{space}" for space in ("space", "space two")]
    arguments = (*options, f"--manifest-checksums={made.shape.sums}", *(moved if plain and made.shape.tablespace else ()))
    made.production.backup(name, *arguments, incremental_from=base)


def _switch(made: World) -> None:
    """End the segment and wait until the archive has it."""
    production = made.production
    production.sql("SELECT pg_logical_emit_message(false, 'dr', 'switch')")
    name = str(production.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
    deadline = time.monotonic() + 60
    while True:
        last = production.sql("SELECT last_archived_wal FROM pg_stat_archiver")[0][0]
        if last is not None and str(last)[:24] >= name and len(str(last)) >= 24:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{name} was not archived: {production.log.read_text()[-2000:]}")
        time.sleep(0.02)


def _promote(made: World, *, crash: bool) -> None:
    """Go on on a new timeline, as a standby that took over would: after a clean stop, or after a crash."""
    production, folder = made.production, made.folder
    _switch(made)
    production.stop(immediate=crash)
    (production.data / "standby.signal").touch()
    production.account.own(production.data / "standby.signal")
    if made.shape.tool == "pgbackrest":
        get = f'pgbackrest --config={folder}/pgbackrest.conf --stanza={_STANZA} archive-get %f "%p"'
    else:
        unpack = {"": "cp", ".gz": "gzip -dc <", ".zst": "zstd -q -dc"}[made.shape.archive]
        source = f'"{folder}/archive/%f{made.shape.archive}"'
        get = f'cp {source} "%p"' if unpack == "cp" else f'test -f {source} && {unpack} {source} > "%p"'
    with (production.data / "postgresql.auto.conf").open("a") as file:
        file.write(f"restore_command = '{get}'\n")
    production.start()
    production.sql("SELECT pg_promote()")
    deadline = time.monotonic() + 30
    while production.sql("SELECT pg_is_in_recovery()") != [(False,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    production.sql("ALTER SYSTEM RESET restore_command")
    # The end-of-recovery checkpoint is behind: a backup of the new timeline begins at one of its own.
    production.sql("CHECKPOINT")
    _switch(made)


def _backrest(made: World, *arguments: str) -> Any:
    done = subprocess.run(
        ["pgbackrest", f"--config={made.folder}/pgbackrest.conf", f"--stanza={_STANZA}", *arguments],
        env=environment(), cwd="/", capture_output=True, text=True, check=False, timeout=120, **made.production.account.as_subprocess,
    )  # fmt: skip
    if done.returncode != 0:
        raise AssertionError(f"pgbackrest {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout) if "--output=json" in arguments else done.stdout
