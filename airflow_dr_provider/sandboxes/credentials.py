"""Two roles of the sandbox's own, and a door that only they pass.

Passwords are made for one sandbox, kept in one file of mode 0600 in its directory, and go with it. The server is given
only their SCRAM verifiers, so that no statement, log or catalog ever holds a password.
"""

from __future__ import annotations

import json
import os
import secrets
from typing import Any, Literal

import psycopg
from psycopg import sql

from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.postgresql.account import Account
from airflow_dr_provider.sandboxes.place import Place, write
from airflow_dr_provider.sandboxes.settings import OUR_SETTINGS, session_settings

Role = Literal["admin", "smoke"]
SMOKE_CONNECTIONS = 16
PREFIXES = {"admin": "dr_admin_", "smoke": "dr_smoke_"}


class Credential(Value):
    """A role's name and password."""

    user: str
    password: str


def load(place: Place) -> dict[Role, Credential] | None:
    """The sandbox's credentials, None before they are made."""
    try:
        kept = json.loads(place.credentials.read_text())
    except FileNotFoundError:
        return None
    return {role: Credential.model_validate(kept[role]) for role in ("admin", "smoke")}


def make(place: Place) -> dict[Role, Credential]:
    """The sandbox's credentials, made when there are none; written before any role exists, so that a retry uses the same."""
    known = load(place)
    if known is not None:
        return known
    suffix = secrets.token_hex(4)
    made: dict[Role, Credential] = {
        "admin": Credential(user=PREFIXES["admin"] + suffix, password=secrets.token_urlsafe(24)),
        "smoke": Credential(user=PREFIXES["smoke"] + suffix, password=secrets.token_urlsafe(24)),
    }
    write(place.credentials, json.dumps({role: credential.model_dump() for role, credential in made.items()}), 0o600)
    return made


async def create_roles(
    connection: psycopg.AsyncConnection[tuple[Any, ...]], credentials: dict[Role, Credential], *, major: int
) -> None:
    """Make the two roles, or set them right when an earlier try was cut off.

    :param connection: a superuser's, opened with :func:`~airflow_dr_provider.sandboxes.settings.session_options`.

    ``smoke`` may read every table, whatever its row security says, and has no way to a file or a program of the server.
    """
    attributes = {
        "admin": "SUPERUSER CREATEDB CREATEROLE NOREPLICATION BYPASSRLS CONNECTION LIMIT -1",
        "smoke": f"NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS INHERIT CONNECTION LIMIT {SMOKE_CONNECTIONS}",
    }
    for role, credential in credentials.items():
        known = await connection.execute("SELECT FROM pg_catalog.pg_roles WHERE rolname = %s", (credential.user,))
        verb = "ALTER" if known.rowcount else "CREATE"
        verifier = connection.pgconn.encrypt_password(
            credential.password.encode(), credential.user.encode(), b"scram-sha-256"
        ).decode()
        user = sql.Identifier(credential.user)
        await connection.execute(
            sql.SQL("{} ROLE {} LOGIN {} PASSWORD {}").format(
                sql.SQL(verb), user, sql.SQL(attributes[role]), sql.Literal(verifier)
            )
        )
        for name in session_settings(major):
            # This session has them all from its options. Written out, an empty list would be kept as one empty name.
            await connection.execute(sql.SQL("ALTER ROLE {} SET {} FROM CURRENT").format(user, sql.Identifier(name)))
    admin, smoke = (sql.Identifier(credentials[role].user) for role in ("admin", "smoke"))
    for name, value in OUR_SETTINGS.items():
        await connection.execute(sql.SQL("ALTER ROLE {} SET {} = {}").format(admin, sql.Identifier(name), sql.SQL(value)))
    await connection.execute(sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(smoke))
    if major >= 14:
        await connection.execute(sql.SQL("GRANT pg_read_all_data TO {}").format(smoke))


def open_door(place: Place, account: Account) -> None:
    """Before the roles exist: whoever can enter the socket's folder (mode 0700: the account and root) may come in."""
    _write_hba(place, account, ["local all all trust"])


def close_door(place: Place, account: Account, credentials: dict[Role, Credential]) -> None:
    """From now on only the two roles, with their passwords; every role of production's is refused."""
    _write_hba(place, account, [f'local all "{credential.user}" scram-sha-256' for credential in credentials.values()])


def _write_hba(place: Place, account: Account, lines: list[str]) -> None:
    write(place.conf / "pg_hba.conf", "\n".join((*lines, "")), 0o640, group=account.gid)


def door_is_closed(place: Place) -> bool:
    """Whether the written rules are the closed ones."""
    try:
        return "trust" not in (place.conf / "pg_hba.conf").read_text()
    except FileNotFoundError:
        return False


def redacted(place: Place, text: str) -> str:
    """A text without the sandbox's passwords."""
    known = load(place) if os.path.lexists(place.credentials) else None
    for credential in (known or {}).values():
        text = text.replace(credential.password, "…")
    return text
