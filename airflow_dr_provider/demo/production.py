"""A real PostgreSQL with tables, a heartbeat, a WAL archive and base backups, in one folder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from airflow_dr_provider.postgresql.account import Account, can_reach, unprivileged_account
from airflow_dr_provider.postgresql.command import environment
from airflow_dr_provider.postgresql.programs import Programs, find_programs

SCHEMA = """
CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL);
CREATE SEQUENCE order_numbers START 1000;
CREATE TABLE orders (
  id bigint PRIMARY KEY DEFAULT nextval('order_numbers'),
  customer_id bigint NOT NULL REFERENCES customers (id),
  placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  amount numeric(12, 2) NOT NULL CHECK (amount >= 0)
);
CREATE INDEX orders_by_customer ON orders (customer_id, placed_at);
CREATE VIEW revenue AS SELECT customer_id, sum(amount) AS amount FROM orders GROUP BY customer_id;
CREATE TABLE dr_heartbeat (id int PRIMARY KEY CHECK (id = 1), beat_at timestamptz NOT NULL);
INSERT INTO dr_heartbeat VALUES (1, clock_timestamp());
INSERT INTO customers (email, name) SELECT 'customer' || n || '@example.com', 'Customer ' || n FROM generate_series(1, 2000) n;
INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, (n % 500) + 0.5 FROM generate_series(1, 20000) n;
CREATE ROLE orders_ro LOGIN PASSWORD 'orders_ro';
GRANT pg_read_all_data, pg_monitor TO orders_ro;
"""


class DemoProduction:
    """A cluster under ``<folder>/production``, its archive in ``<folder>/archive``, its backups in ``<folder>/backups``.

    It listens on a Unix socket in a short folder of its own and, when a port is asked for, on 127.0.0.1.

    :param folder: a folder that exists; the server's account has to be able to enter it.
    :param major: PostgreSQL's major version.
    :param settings: lines for postgresql.conf.
    """

    def __init__(
        self, folder: Path, *, major: int = 18, port: int = 5432, tcp: bool = False, settings: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.data = folder / "production"
        self.archive = folder / "archive"
        self.backups = folder / "backups"
        self.log = folder / "production.log"
        self.account: Account = unprivileged_account()
        programs = find_programs(major)
        if not can_reach(self.account, programs.bin / "postgres"):
            programs = programs.copied_to(folder / "programs")
        self.programs: Programs = programs
        self.port = port
        self.tcp = tcp
        self.settings = settings or {}
        self._socket = tempfile.TemporaryDirectory(prefix="drp-")
        self.socket = Path(self._socket.name)
        self.account.own(self.socket)
        self._server: subprocess.Popen[bytes] | None = None
        self._beating: threading.Event | None = None
        self._beats: threading.Thread | None = None

    # -- life ----------------------------------------------------------------------------------------------------------
    def create(self, *, schema: str = SCHEMA, initdb: tuple[str, ...] = ()) -> DemoProduction:
        """Make the cluster, start it and fill it."""
        for place in (self.archive, self.backups):
            place.mkdir(exist_ok=True)
            self.account.own(place)
        self.data.mkdir()
        self.account.own(self.data)
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-k", *initdb)
        lines = {
            "listen_addresses": "127.0.0.1" if self.tcp else "",
            "port": str(self.port),
            "unix_socket_directories": str(self.socket),
            "archive_mode": "on",
            "archive_command": f'test ! -f "{self.archive}/%f" && cp "%p" "{self.archive}/%f"',
            "wal_level": "replica",
            "fsync": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "shared_buffers": "16MB",
            **({"summarize_wal": "on"} if self.programs.major >= 17 else {}),
            **self.settings,
        }
        with (self.data / "postgresql.conf").open("a") as file:
            for name, value in lines.items():
                quoted = value.replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")
        self.start()
        if schema:
            self.sql(schema)
        return self

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [self.programs.path("postgres"), "-D", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                cwd=self.data,
                start_new_session=True,
                **self.account.as_subprocess,
            )
        deadline = time.monotonic() + 30
        while True:
            if self._server.poll() is not None:
                raise RuntimeError(f"the demo's production did not start: {self.log.read_text()[-800:]}")
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self, *, immediate: bool = False) -> None:
        """Stop heartbeat and server."""
        self.stop_heartbeat()
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            self._server.wait(30)
        self._server = None

    def close(self) -> None:
        """Stop it and remove its socket's folder; the data stay."""
        self.stop(immediate=True)
        self._socket.cleanup()

    def __enter__(self) -> DemoProduction:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- work ----------------------------------------------------------------------------------------------------------
    def url(self, database: str, driver: str = "postgresql") -> str:
        """A SQLAlchemy URL of one of its databases, for its superuser, over the loopback."""
        return f"{driver}://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def uri(self) -> str:
        """A connection URI as Airflow reads it from ``AIRFLOW_CONN_…``, for the read-only account."""
        host = "127.0.0.1" if self.tcp else str(self.socket).replace("/", "%2F")
        return f"postgresql://orders_ro:orders_ro@{host}:{self.port}/postgres"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A superuser's connection, autocommit on."""
        return psycopg.connect(
            host=str(self.socket), port=self.port, user="postgres", dbname=database, autocommit=True, connect_timeout=10
        )

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last one."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs under the server's account."""
        done = subprocess.run(
            [self.programs.path(program), *arguments],
            env=environment(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **self.account.as_subprocess,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr.strip()[-600:]}")
        return done

    def backup(self, name: str, *arguments: str, incremental_from: str | None = None) -> Path:
        """Take a base backup with pg_basebackup into ``backups/<name>``."""
        place = self.backups / name
        extra = ("-i", str(self.backups / incremental_from / "backup_manifest")) if incremental_from else ()
        self.run(
            "pg_basebackup",
            "-h",
            str(self.socket),
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-D",
            str(place),
            "-c",
            "fast",
            "--no-sync",
            *extra,
            *arguments,
        )
        return place

    def switch_wal(self) -> str:
        """Write a record, end the segment, wait until it is in the archive; its name."""
        self.sql("SELECT pg_logical_emit_message(false, 'dr', 'switch')")
        name = str(self.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
        deadline = time.monotonic() + 30
        while not (self.archive / name).exists() or (self.archive / name).stat().st_size == 0 or self._not_archived(name):
            if time.monotonic() > deadline:
                raise RuntimeError(f"segment {name} was not archived: {self.log.read_text()[-800:]}")
            time.sleep(0.02)
        return name

    def _not_archived(self, name: str) -> bool:
        last = self.sql("SELECT last_archived_wal FROM pg_stat_archiver")[0][0]
        return last is None or str(last)[8:24] < name[8:]

    def beat(self) -> None:
        """Write the heartbeat once."""
        self.sql("UPDATE dr_heartbeat SET beat_at = clock_timestamp()")

    def start_heartbeat(self, seconds: float = 1.0) -> None:
        """Write the heartbeat every so many seconds until stopped."""
        stop = threading.Event()

        def run() -> None:
            with contextlib.suppress(psycopg.OperationalError), self.connect() as connection:
                while not stop.is_set():
                    connection.execute("UPDATE dr_heartbeat SET beat_at = clock_timestamp()")
                    stop.wait(seconds)

        self._beating = stop
        self._beats = threading.Thread(target=run, name="heartbeat", daemon=True)
        self._beats.start()

    def stop_heartbeat(self) -> None:
        """End the heartbeat."""
        if self._beating is not None and self._beats is not None:
            self._beating.set()
            self._beats.join(10)
        self._beating = self._beats = None


def flip_byte(path: Path, offset: int = -1) -> None:
    """Damage a file: invert one byte, in its middle by default, and leave its size and times as they are."""
    status = path.stat()
    place = status.st_size // 2 if offset < 0 else offset
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 0xFF]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def relation_file(production: DemoProduction, backup: Path, relation: str, database: str = "postgres") -> Path:
    """The file in a plain backup that holds a relation's first segment."""
    return backup / str(production.sql(f"SELECT pg_relation_filepath('{relation}')", database)[0][0])


@contextlib.contextmanager
def demo_production(folder: Path, **options: Any) -> Iterator[DemoProduction]:
    """A created, running production that ends with the block."""
    with DemoProduction(folder, **options) as production:
        yield production.create()
