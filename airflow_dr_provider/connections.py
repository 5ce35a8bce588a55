"""Named connections: one small port, so that stages need no Airflow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from airflow_dr_provider.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What a connection holds; its ``repr`` shows no password."""

    conn_id: str
    conn_type: str = ""
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, repr=False)


ConnectionPort = Callable[[str], Connection]
"""Finds a connection by its id.

:raises ConfigurationError: ``CONNECTION_UNKNOWN``.
"""


def variable(conn_id: str) -> str:
    """The environment variable of a connection, as Airflow names it."""
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def from_environment(conn_id: str) -> Connection:
    """Read a connection as Airflow does: a URI or a JSON object (Airflow manual, "Managing Connections").

    :raises ConfigurationError: ``CONNECTION_UNKNOWN`` when the variable is missing or can't be read. The message never
        repeats the value, which may hold a password.
    """
    name = variable(conn_id)
    text = os.environ.get(name)
    if not text:
        raise ConfigurationError(
            f"The connection {conn_id} isn't defined. Export {name}='postgresql://user:password@host:5432/database', or define "
            f"it in Airflow.",
            code="CONNECTION_UNKNOWN",
        )
    try:
        return _from_json(conn_id, text) if text.lstrip().startswith("{") else _from_uri(conn_id, text)
    except (ValueError, TypeError, AttributeError):
        raise ConfigurationError(
            f"{name} is neither a connection URI nor a JSON object. Write it like "
            f"postgresql://user:password@host:5432/database, special characters percent-encoded.",
            code="CONNECTION_UNKNOWN",
        ) from None


def _from_json(conn_id: str, text: str) -> Connection:
    given = json.loads(text)
    extra = given.get("extra") or {}
    if isinstance(extra, str):
        extra = json.loads(extra)
    port = given.get("port")
    return Connection(
        conn_id=conn_id,
        conn_type=_type(str(given.get("conn_type") or given.get("connection_type") or "")),
        host=given.get("host"),
        port=int(port) if port not in (None, "") else None,
        login=given.get("login"),
        password=given.get("password"),
        database=given.get("schema"),
        extra=dict(extra),
    )


def _from_uri(conn_id: str, text: str) -> Connection:
    if "://" not in text:
        raise ValueError("no URI")
    parts = urlsplit(text)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    extra = json.loads(query["__extra__"]) if "__extra__" in query else query
    return Connection(
        conn_id=conn_id,
        conn_type=_type(parts.scheme),
        host=unquote(_host(parts.netloc)) or None,
        port=parts.port,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=unquote(parts.path[1:]) or None,
        extra=dict(extra),
    )


def _host(netloc: str) -> str:
    """The host as it was written: ``urlsplit`` would make it lower case, and a socket's folder is no host."""
    place = netloc.rpartition("@")[2]
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.partition(":")[0]


def _type(text: str) -> str:
    return "postgres" if text == "postgresql" else text.replace("-", "_")


_LIBPQ = (
    "channel_binding",
    "connect_timeout",
    "gssencmode",
    "hostaddr",
    "keepalives",
    "passfile",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
)


def libpq(connection: Connection) -> dict[str, Any]:
    """Keywords for psycopg: a read-only session with a bounded wait. Only options that libpq knows pass from ``extra``."""
    known = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.database,
        "connect_timeout": 10,
        **{name: connection.extra[name] for name in _LIBPQ if name in connection.extra},
        "application_name": "airflow-dr",
        "options": "-c default_transaction_read_only=on",
    }
    return {name: value for name, value in known.items() if value is not None}
