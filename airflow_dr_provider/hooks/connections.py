"""Airflow's own connections, in this package's terms."""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_dr_provider.connections import Connection
from airflow_dr_provider.errors import ConfigurationError


def airflow_connection(conn_id: str) -> Connection:
    """A connection from Airflow's secrets backends, environment or database.

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

    :raises ConfigurationError: when the connection is unknown.
    """
    found = airflow_connection(conn_id)
    if found.conn_type == "sqlite":
        return f"sqlite:///{found.host or found.database or ''}"
    password = f":{quote(found.password, safe='')}" if found.password else ""
    account = f"{quote(found.login, safe='')}{password}@" if found.login else ""
    port = f":{found.port}" if found.port else ""
    return f"postgresql://{account}{found.host or ''}{port}/{quote(found.database or '', safe='')}"
