"""Airflow's own connections, in this package's terms."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlencode, urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from airflow_dr_provider.connections import Connection
from airflow_dr_provider.errors import ConfigurationError

STATE_TYPE = "airflow_dr"
_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey")


def airflow_connection(conn_id: str) -> Connection:
    """A connection from Airflow's secrets backends, environment or database. Its password is masked in logs from then on.

    :raises ConfigurationError: ``CONNECTION_UNKNOWN`` when Airflow doesn't know it.
    """
    try:
        found = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"The connection {conn_id} isn't defined in Airflow. Add it under Admin, Connections, or export "
            f"AIRFLOW_CONN_{conn_id.upper()}.",
            code="CONNECTION_UNKNOWN",
        ) from None
    if found.password:
        _mask(found.password)
    return Connection(
        conn_id=conn_id,
        conn_type=found.conn_type or "",
        host=found.host or None,
        port=found.port,
        login=found.login,
        password=found.password,
        database=found.schema or None,
        extra=dict(found.extra_dejson),
    )


def database_url(conn_id: str) -> str:
    """The URL of the database behind a connection. It may hold a password: never log it.

    :raises ConfigurationError: when the connection is unknown, or its type is none that a store can have.
    """
    found = airflow_connection(conn_id)
    if found.conn_type == "sqlite":
        return f"sqlite:///{found.host or found.database or ''}"
    if found.conn_type not in ("", STATE_TYPE, "postgres", "postgresql"):
        raise ConfigurationError(
            f"The connection {conn_id} is of type {found.conn_type}; a state store needs one of type {STATE_TYPE}, postgres or "
            f"sqlite.",
            code="CONNECTION_UNKNOWN",
        )
    file = found.extra.get("file")
    if found.conn_type == STATE_TYPE and file:
        if not str(file).startswith("/"):
            raise ConfigurationError(f"The connection {conn_id}: file: write it from / on.", code="CONNECTION_UNKNOWN")
        return f"sqlite:///{file}"
    if found.conn_type == STATE_TYPE and not found.database:
        raise ConfigurationError(
            f"The connection {conn_id} names no database. Fill in Database for PostgreSQL, or SQLite file.",
            code="CONNECTION_UNKNOWN",
        )
    password = f":{quote(found.password, safe='')}" if found.password else ""
    account = f"{quote(found.login, safe='')}{password}@" if found.login else ""
    port, host = f":{found.port}" if found.port else "", found.host or ""
    options = {name: str(found.extra[name]) for name in _TLS if found.extra.get(name)}
    if host.startswith("/"):  # a socket's folder, which has no place before the path
        options, host, port = {"host": host, **({"port": str(found.port)} if found.port else {}), **options}, "", ""
    place = f"{account}{host}{port}/{quote(found.database or '', safe='')}"
    return f"postgresql://{place}" + (f"?{urlencode(options)}" if options else "")


def masked(url: str) -> str:
    """The same URL; its password is masked in logs from then on."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return url  # no URL; whoever opens it says so
    if password:
        _mask(unquote(password))
    return url


def _mask(password: str) -> None:
    mask_secret(password)
    mask_secret(quote(password, safe=""))  # as it stands in a URL
