"""One real repository, made once, and for each fault a copy of it by hard links in which only what is damaged is new."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.postgresql.command import environment
from airflow_dr_provider.postgresql.programs import Programs
from airflow_dr_provider.runner import run_drill
from airflow_dr_provider.spec.loader import load_text
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.store import Store
from tests.support.drills import QUIET

PAGE = 8192
SEGMENT = 1 << 20
SPEC = """\
version: 1
drill: matrix
objectives: {rto: 30m, rpo: 1h, mtd: 4h}
source:
  repository: {kind: basebackup, backups: ./backups, archive: ./archive}
  heartbeat: {table: public.dr_heartbeat, column: beat_at}
  reference: last_good_run
target: {recover_to: latest}
selection: {lookback: 7d}
tiers:
  - {name: primary, role: staging, sandbox: {kind: process}, timeout: 3m, profile: full}
  - {name: secondary, role: isolated, sandbox: {kind: process}, timeout: 3m, profile: light}
limits: {unreachable: 30s}
smoke:
  - {name: orders_present, database: postgres, sql: "SELECT count(*) > 0 FROM shop.orders"}
"""
SCHEMA = """
CREATE EXTENSION pg_trgm;
CREATE SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('new', 'paid', 'sent');
CREATE ROLE clerk;
CREATE TABLE shop.customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL, born date);
CREATE INDEX customers_by_name ON shop.customers USING gin (name gin_trgm_ops);
CREATE SEQUENCE shop.numbers START 1000;
CREATE TABLE shop.orders (
  id bigint PRIMARY KEY DEFAULT nextval('shop.numbers'), customer_id bigint NOT NULL REFERENCES shop.customers (id),
  placed_at timestamptz NOT NULL DEFAULT clock_timestamp(), state shop.state NOT NULL DEFAULT 'new',
  amount numeric(12, 2) NOT NULL CHECK (amount >= 0), note varchar(40) COLLATE "C");
CREATE INDEX orders_by_customer ON shop.orders (customer_id, placed_at);
CREATE TABLE shop.documents (id int PRIMARY KEY, body text);
CREATE TABLE shop.events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE shop.events_old PARTITION OF shop.events FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE shop.events_new PARTITION OF shop.events FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
CREATE VIEW shop.revenue AS SELECT customer_id, sum(amount) AS amount FROM shop.orders GROUP BY customer_id;
CREATE MATERIALIZED VIEW shop.totals AS SELECT count(*) FROM shop.orders;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note = 'seen'; RETURN NEW; END$$;
CREATE TRIGGER touched BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touch();
ALTER TABLE shop.documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers ON shop.documents FOR SELECT TO clerk USING (true);
GRANT USAGE ON SCHEMA shop TO clerk;
GRANT SELECT ON shop.orders TO clerk;
CREATE TABLE dr_heartbeat (id int PRIMARY KEY, beat_at timestamptz NOT NULL);
INSERT INTO dr_heartbeat VALUES (1, clock_timestamp());
INSERT INTO shop.customers (email, name) SELECT 'c' || n || '@example.com', 'Customer ' || n FROM generate_series(1, 1000) n;
INSERT INTO shop.orders (customer_id, amount) SELECT 1 + n % 1000, n % 500 FROM generate_series(1, 12000) n;
INSERT INTO shop.documents SELECT n, (SELECT string_agg(md5(n || '.' || m), '') FROM generate_series(1, 300) m)
  FROM generate_series(1, 60) n;
INSERT INTO shop.events SELECT '2025-12-01'::timestamptz + n * interval '1 hour', 'x' FROM generate_series(1, 1500) n;
REFRESH MATERIALIZED VIEW shop.totals;
CREATE DOMAIN shop.cents AS int CONSTRAINT cents_check CHECK (VALUE >= 0);
CREATE CAST (text AS shop.state) WITH INOUT;
CREATE OPERATOR shop.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE TEXT SEARCH CONFIGURATION shop.words (COPY = simple);
CREATE COLLATION shop.plain (provider = libc, locale = 'C');
CREATE STATISTICS shop.together ON customer_id, state FROM shop.orders;
CREATE RULE kept AS ON DELETE TO shop.documents WHERE OLD.id < 0 DO INSTEAD NOTHING;
CREATE FUNCTION shop.watched() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN NULL; END$$;
CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION shop.watched();
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER away FOREIGN DATA WRAPPER nowhere;
CREATE USER MAPPING FOR PUBLIC SERVER away OPTIONS (name 'x');
SELECT lo_from_bytea(0, '\\x00') FROM generate_series(1, 9);
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE SUBSCRIPTION elsewhere CONNECTION 'host=192.0.2.1 dbname=x' PUBLICATION p
  WITH (connect = false, enabled = false, slot_name = NONE);
"""


@dataclass(frozen=True)
class Seen:
    """What a drill made of a fault: how it is called, and where the chain went."""

    signature: str
    move: str


@dataclass(frozen=True)
class Base:
    """The repository that every fault starts from.

    :param files: in a backup: a table's, an index's, … file.
    :param segments: the archive's, in order.
    :param needed: the segments that the newest backup itself needs.
    """

    folder: Path
    disaster: datetime
    programs: Programs
    files: dict[str, str]
    segments: tuple[str, ...]
    needed: tuple[str, ...]
    account: dict[str, Any]

    @property
    def other(self) -> Path:
        """Another cluster's repository."""
        return self.folder / "other"


@dataclass
class Ground:
    """One fault's own copy.

    :param spec: the drill, to be changed by whoever makes the fault.
    :param said: what other tools said of the fault.
    """

    base: Base
    folder: Path
    spec: str = SPEC
    inject: list[str] = field(default_factory=list)
    as_of: datetime | None = None
    said: dict[str, str] = field(default_factory=dict)

    @property
    def newest(self) -> Path:
        """The newest backup, which the drill would take."""
        return self.folder / "backups" / "second"

    @property
    def archive(self) -> Path:
        """The WAL archive."""
        return self.folder / "archive"

    def file(self, which: str) -> Path:
        """A file of the newest backup by what it holds, unlinked from the other copies'."""
        return self.own(self.newest / self.base.files.get(which, which))

    def segment(self, index: int) -> Path:
        """A segment of the archive by its place, unlinked from the other copies'."""
        return self.own(self.archive / self.base.segments[index])

    def own(self, path: Path) -> Path:
        """Make a file this copy's alone, so that a change of it is no change of the others'."""
        new = path.with_name(f"{path.name}.new")
        shutil.copy2(path, new)
        status = path.stat()
        os.chown(new, status.st_uid, status.st_gid)
        new.rename(path)
        return path

    def change(self, what: str, instead: str) -> None:
        """Write something else in the spec."""
        if what not in self.spec:
            raise AssertionError(f"the spec doesn't say {what!r}")
        self.spec = self.spec.replace(what, instead)

    def aim(self, target: str) -> None:
        """Give the drill another recovery target."""
        self.change("target: {recover_to: latest}", f"target: {target}")


Make = Callable[[Ground], None]


@dataclass(frozen=True)
class Row:
    """One fault.

    :param make: damages the copy, or says what is to be injected.
    :param how: the same in words.
    :param family: ``backup``, ``wal``, ``target``, ``server`` or ``host``: which other tools look at such a thing at all.
    """

    name: str
    family: str
    how: str
    make: Make
    expected: Seen


def make_base(folder: Path) -> Base:
    """Make production, its two backups, its WAL and another cluster; run the drill once, so that there is a reference."""
    folder.chmod(0o755)
    # A page that production writes again after the backup is healed by its image in the WAL; nothing tidies up here.
    with DemoProduction(folder, settings=QUIET) as production:
        production.create(schema=SCHEMA, initdb=("--wal-segsize=1",))
        production.sql("CREATE DATABASE reports")
        production.backup("first")
        _work(production)
        production.sql("VACUUM shop.orders")
        # Not vacuumed: a page with room would be written to, and healed by its image.
        production.sql("DELETE FROM shop.orders WHERE id % 500 = 2")
        backup = production.backup("second")
        label = (backup / "backup_label").read_text()
        history = next(production.archive.glob("*.backup"), None)
        for _ in range(4):
            _work(production)
        files = {
            name: str(production.sql(f"SELECT pg_relation_filepath({oid})")[0][0])
            for name, oid in {
                "heap": "'shop.orders'",
                "index": "'shop.orders_by_customer'",
                "key": "'shop.orders_pkey'",
                "toast": "(SELECT reltoastrelid FROM pg_class WHERE oid = 'shop.documents'::regclass)",
                "catalog": "'pg_class'",
                "twin": "'shop.events_new'",
                "part": "'shop.events_old'",
            }.items()
        }
        disaster = datetime.now(UTC)
        programs, account = production.programs, production.account.as_subprocess
    files |= {"visibility map": f"{files['heap']}_vm", "free space map": f"{files['heap']}_fsm"}
    _other(folder / "other")
    start = re.search(r"file ([0-9A-F]{24})", label)
    if start is None:
        raise AssertionError(f"no start segment in {label!r}, {history}")
    segments = tuple(sorted(path.name for path in (folder / "archive").iterdir() if re.fullmatch(r"[0-9A-F]{24}", path.name)))
    base = Base(
        folder=folder,
        disaster=disaster,
        programs=programs,
        files=files,
        segments=segments,
        needed=(start[1],),
        account=account,
    )
    record = _drill(Ground(base, folder))
    if record["outcome"] != "RECOVERED":
        raise AssertionError(f"the sound repository was not recovered: {[attempt['detail'] for attempt in record['attempts']]}")
    return base


def _work(production: DemoProduction) -> None:
    production.sql("INSERT INTO shop.orders (customer_id, amount) SELECT 1 + n % 1000, 7 FROM generate_series(1, 50) n")
    production.beat()
    production.switch_wal()


def _other(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    with DemoProduction(folder) as production:
        production.create(schema="CREATE TABLE t (n int)", initdb=("--wal-segsize=1",))
        production.backup("second")
        for _ in range(12):
            production.sql("INSERT INTO t VALUES (1)")
            production.switch_wal()


@contextmanager
def ground(base: Base) -> Iterator[Ground]:
    """A copy for one fault."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    for name in ("backups", "archive"):
        subprocess.run(["cp", "-al", str(base.folder / name), str(folder / name)], check=True)
    shutil.copy(base.folder / "state.db", folder / "state.db")
    try:
        yield Ground(base, folder)
    finally:
        shutil.rmtree(folder)


def play(row: Row, base: Base, *, tools: bool = False) -> tuple[Seen, dict[str, Any], dict[str, str]]:
    """Make a fault, run the drill on it; what was seen, the record, and what other tools say of the same fault.

    :param tools: whether those are asked.
    """
    from tests.scenarios.matrix import others

    with ground(base) as place:
        row.make(place)
        if tools:
            others.ask(row, place)
        with others.looking_on(place) if tools else _nobody():
            record = _drill(place)
        left = [entry.name for entry in (place.folder / "work").iterdir()] if (place.folder / "work").exists() else []
        if left or record["leftovers"]:
            raise AssertionError(f"left behind: {left}, {record['leftovers']}")
        return seen(record), record, place.said


@contextmanager
def _nobody() -> Iterator[None]:
    yield


def _drill(place: Ground) -> dict[str, Any]:
    store = Store.open(f"sqlite:///{place.folder}/state.db")
    try:
        services = Services(store=store, workdir=place.folder / "work")
        spec = load_text(place.spec, source="matrix", base=place.folder)
        moment = place.as_of or place.base.disaster
        return asyncio.run(run_drill(services, spec, as_of=moment, inject=place.inject))
    finally:
        store.close()


def seen(record: dict[str, Any]) -> Seen:
    """A record in two words."""
    moves = [(move["from"], move["to"]) for move in record["transitions"]]
    if record.get("error"):
        return Seen(record["error"]["signature"], moves[0][1])
    first, *others = record["attempts"]
    if first["signature"] is not None:
        after = f" with {others[0]['candidate']}" if others and others[0]["candidate"] else ""
        return Seen(first["signature"], f"{moves[1][1]}{after}")
    stages = {stage["name"]: stage for stage in first["stages"]}
    found = (
        stages["teardown"]["signature"]
        or next((_called(finding) for finding in record["findings"] if _called(finding)), None)
        or _passed_over(stages["select"]["facts"]["table"])
    )
    degraded = ", degraded" if record["outcome"] == "RECOVERED_DEGRADED" else ""
    return Seen(found or record["outcome"], f"{first['tier']} with {first['candidate']}{degraded}")


def _passed_over(table: dict[str, Any]) -> str | None:
    """Why the newest backup was not eligible, None when it was."""
    entry = next(entry for entry in table["rows"] if entry["backup_id"] == "second")
    return None if entry["eligible"] else str(entry["reasons"][0][0])


def _called(finding: dict[str, Any]) -> str | None:
    flaws = finding["facts"].get("flaws") or []
    return finding["signature"] or (str(flaws[0]) if flaws else None)


def flip(path: Path, offset: int | None = None) -> None:
    """Invert a byte, in the middle by default."""
    where = path.stat().st_size // 2 if offset is None else offset
    with path.open("r+b") as file:
        file.seek(where)
        byte = file.read(1)
        file.seek(where)
        file.write(bytes([byte[0] ^ 0xFF]))


def run_program(base: Base, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs as production's account."""
    return subprocess.run(
        [base.programs.path(program), *arguments],
        env={**environment(), **variables},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **(base.account if os.geteuid() == 0 else {}),
    )
