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


_TEXTS = ("host", "login", "password", "schema")


def _from_json(conn_id: str, text: str) -> Connection:
    given = json.loads(text)
    port = given.get("port")
    if isinstance(port, bool) or any(not isinstance(given.get(name, ""), str | None) for name in _TEXTS):
        raise ValueError("a field has the wrong type")
    return Connection(
        conn_id=conn_id,
        conn_type=_type(str(given.get("conn_type") or given.get("connection_type") or "")),
        host=given.get("host"),
        port=int(port) if port not in (None, "") else None,
        login=given.get("login"),
        password=given.get("password"),
        database=given.get("schema"),
        extra=_extra(given.get("extra")),
    )


def _from_uri(conn_id: str, text: str) -> Connection:
    parts = urlsplit(text.strip())
    # Airflow's second form, type://protocol://host, means nothing to PostgreSQL.
    if "://" not in text or (parts.netloc.endswith(":") and parts.path.startswith("//")):
        raise ValueError("no URI")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Connection(
        conn_id=conn_id,
        conn_type=_type(parts.scheme),
        host=unquote(_host(parts.netloc)) or None,
        port=parts.port,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=unquote(parts.path[1:]) or None,
        extra=_extra(query.get("__extra__", query)),
    )


def _extra(given: Any) -> dict[str, Any]:
    """The extra field: a mapping, or one in JSON.

    :raises ValueError: for anything else.
    """
    found = json.loads(given) if isinstance(given, str) and given else given or {}
    if not isinstance(found, dict):
        raise ValueError("extra is no mapping")
    return found


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
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "passfile",
    "require_auth",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
)
_PATIENCE = 10
_MOST_PATIENCE = 60


def libpq(connection: Connection) -> dict[str, Any]:
    """Keywords for psycopg: a read-only session with a bounded wait. Only options that libpq knows pass from ``extra``.

    ``options`` and ``service`` don't pass: either could take the read-only setting back. ``connect_timeout`` is in seconds, 60 at
    most; 0, which means for ever to libpq (manual, "Parameter Key Words"), becomes 10.

    :raises ConfigurationError: ``CONNECTION_UNKNOWN`` when the connection isn't PostgreSQL's, or its timeout is no number.
    """
    if connection.conn_type not in ("", "postgres", "postgresql"):
        raise ConfigurationError(
            f"The connection {connection.conn_id} is of type {connection.conn_type}; a drill needs one of type postgres.",
            code="CONNECTION_UNKNOWN",
        )
    known = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.database,
        **{name: connection.extra[name] for name in _LIBPQ if isinstance(connection.extra.get(name), str | int)},
        "connect_timeout": _patience(connection),
        # A database without an encoding (SQL_ASCII) would answer in bytes.
        "client_encoding": "utf8",
        "application_name": "airflow-dr",
        "options": "-c default_transaction_read_only=on",
    }
    return {name: value for name, value in known.items() if value is not None}


def _patience(connection: Connection) -> int:
    try:
        seconds = int(connection.extra.get("connect_timeout", _PATIENCE))
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"The connection {connection.conn_id} has a connect_timeout that is no whole number of seconds.",
            code="CONNECTION_UNKNOWN",
        ) from None
    return min(seconds, _MOST_PATIENCE) if seconds > 0 else _PATIENCE
