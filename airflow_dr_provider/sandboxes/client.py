"""Connections to a sandbox's server, through its socket, and to no other server."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

import psycopg

from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.sandboxes.place import Place
from airflow_dr_provider.sandboxes.processes import Running
from airflow_dr_provider.sandboxes.settings import PORT

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
_PATH_LIMIT = 107
"""Bytes of a Unix socket's path (unix(7): sun_path holds 108 with the final zero)."""


async def connect(
    place: Place, server: Running, *, user: str, database: str, password: str = "", options: str = "", timeout: int = 10
) -> Connection:
    """Open a connection, autocommit on, and see that it is this very server that answers.

    :param timeout: seconds.
    :raises psycopg.OperationalError: when the server refuses.
    :raises SandboxError: ``SANDBOX_LOST`` when something else answers.
    """
    host, descriptor = str(place.run), None
    if len(os.fsencode(f"{host}/.s.PGSQL.{PORT}")) > _PATH_LIMIT:
        descriptor = os.open(place.run, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        host = f"/proc/self/fd/{descriptor}"
    try:
        connection = await psycopg.AsyncConnection.connect(
            host=host,
            # What a caller's PG* variables could say otherwise.
            hostaddr="",
            port=PORT,
            user=user,
            dbname=database,
            password=password,
            passfile=str(place.root / "no-passwords"),
            options=options,
            sslmode="disable",
            gssencmode="disable",
            channel_binding="disable",
            target_session_attrs="any",
            client_encoding="utf8",
            application_name="airflow-dr",
            connect_timeout=timeout,
            autocommit=True,
        )
    finally:
        if descriptor is not None:
            os.close(descriptor)
    peer = _peer(connection)
    if peer != server.pid:
        await connection.close()
        raise SandboxError(
            f"What answers on {place.run} is not this sandbox's server (process {peer}, not {server.pid}).", code="SANDBOX_LOST"
        )
    return connection


def _peer(connection: Connection) -> int | None:
    """The process that listens at the other end (unix(7), SO_PEERCRED); None when that end is no Unix socket."""
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        if end.family != socket.AF_UNIX:
            return None
        return int(struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
