"""The connection to the state database: opened, migrated, and its errors in plain words."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.pool import NullPool

from airflow_dr_provider.errors import StateError

VERSION_TABLE = "dr_alembic_version"
HEAD = "0005"
_LOCK = 0x6472_6C6C  # any number that nobody else takes an advisory lock on
_POSTGRESQL = {"postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"}
# SQLAlchemy 1.4, which Airflow 3.1's own constraints pin, knows no psycopg 3; Airflow's provider for PostgreSQL brings psycopg2.
_DRIVER = "postgresql+psycopg2" if sa.__version__.startswith("1.") else "postgresql+psycopg"


def database_url(text: str) -> sa.URL:
    """A URL as this package uses it: SQLite, or PostgreSQL through psycopg 3, with SQLAlchemy 1.4 through psycopg2.

    :raises StateError: for anything else.
    """
    try:
        # Airflow's own connections say postgres://, which SQLAlchemy refuses.
        url = make_url(text.replace("postgres://", "postgresql://", 1) if text.startswith("postgres://") else text)
    except (sa.exc.ArgumentError, ValueError):
        raise StateError(
            "The state store's address is no URL. Write it like sqlite:////var/lib/airflow-dr/state.db or "
            "postgresql://user:password@host/database."
        ) from None
    if url.drivername in _POSTGRESQL:
        return url.set(drivername=_DRIVER)
    if url.get_backend_name() == "sqlite":
        return url.set(drivername="sqlite")
    raise StateError(f"The state store can't be a {url.get_backend_name()} database; it is SQLite or PostgreSQL.")


def shown(url: sa.URL) -> str:
    """A URL without its password."""
    return url.set(password=None).render_as_string(hide_password=True)


def connect(url: sa.URL) -> Engine:
    """An engine; nothing is opened yet but SQLite's folder made."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    return sa.create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=4, connect_args={"connect_timeout": 10})


def _sqlite(url: sa.URL) -> Engine:
    path = Path(url.database or "")
    if url.database and url.database != ":memory:":
        _prepare(path)
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={"timeout": 30.0})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: Any) -> None:
        # The driver must not begin transactions of its own: a write has to take its lock at once, or it may be refused later.
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")

    return engine


def _prepare(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made before SQLite makes it, so that nobody else can read it at any moment.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StateError(
            f"The state store sqlite:///{path} can't be opened: {error.strerror}. Name a file that this account may write, in "
            f"--state or AIRFLOW_DR_STATE."
        ) from error


def could_be_made(text: str) -> str:
    """Where a store would be made, for a message. Nothing is made to find out.

    :raises StateError: when it couldn't be: a SQLite file in a folder that this account may not write to.
    """
    url = database_url(text)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        path = Path(url.database)
        above = path if path.exists() else next(folder for folder in path.absolute().parents if folder.exists())
        if not os.access(above, os.W_OK) or path.is_dir() or (above != path and not above.is_dir()):
            raise StateError(f"The state store {shown(url)} can't be made: this account may not write to {above}.")
    return shown(url)


@contextmanager
def plainly(url: sa.URL) -> Iterator[None]:
    """Turn the database's errors into one sentence.

    :raises StateError: ``STATE_UNREACHABLE``.
    """
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise StateError(
            f"The state store {shown(url)} can't be used: {cause}. Check that the database runs, that the address in --state "
            f"or AIRFLOW_DR_STATE is right, and that this account may use it."
        ) from error


class Database:
    """The one way into the database: each block is one transaction, and its errors are plain words.

    :raises StateError: from both blocks when the database can't be used.
    """

    def __init__(self, engine: Engine, url: sa.URL) -> None:
        self._engine = engine
        self.url = url

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with plainly(self.url), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose changes are there together, or not at all."""
        with (
            plainly(self.url),
            self._engine.connect().execution_options(write=True) as connection,
            connection.begin(),
        ):
            yield connection


def migrate(engine: Engine) -> None:
    """Bring the schema up to date, one process at a time.

    :raises StateError: when the database was made by a newer version of this package.
    """
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        revision = _revision(connection)
        if revision == HEAD:
            return
        _upgrade(connection, revision)


def is_made(url: sa.URL) -> bool:
    """Whether a store of this package lies at an address. Nothing is made to find out."""
    return made_revision(url) is not None


def is_current(url: sa.URL) -> bool:
    """Whether a store lies there, of this package's version. Nothing is made to find out."""
    return made_revision(url) == HEAD


def made_revision(url: sa.URL) -> str | None:
    """The version of the store at an address; None where none is."""
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        # Even an empty file would be written to by the first connection.
        if not url.database or url.database == ":memory:" or not path.exists() or path.stat().st_size == 0:
            return None
    engine = connect(url)
    try:
        with engine.connect() as connection:
            return _revision(connection)
    finally:
        engine.dispose()


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _upgrade(connection: Connection, revision: str | None) -> None:
    # Alembic takes longer to import than everything else here, and an up-to-date store doesn't need it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    # A store that is made on first use is no news for whoever watches a drill.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with resources.as_file(resources.files("airflow_dr_provider.state") / "migrations") as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if revision is not None and revision not in known:
            raise StateError(
                f"The state store's schema is at revision {revision}, which this version of airflow-dr-provider doesn't know. "
                f"Install the version that made it, or a newer one."
            )
        command.upgrade(config, "head")
