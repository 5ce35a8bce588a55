"""The options and connection types that Airflow is told about: plain data, read by every Airflow process when it starts."""

from __future__ import annotations

from typing import Any

SECTION = "dr"


def _option(description: str, *, example: str | None = None, sensitive: bool = False, kind: str = "string") -> dict[str, Any]:
    option = {"description": description, "version_added": "0.1.0", "type": kind, "example": example, "default": None}
    return {**option, "sensitive": True} if sensitive else option


CONFIG: dict[str, Any] = {
    SECTION: {
        "description": "Backup validation and disaster recovery drills (airflow-dr-provider).",
        "options": {
            "state": _option(
                "The URL of the state store, SQLite or PostgreSQL. It may hold a password: prefer ``state_conn_id``, or give it "
                "by ``state_cmd`` or ``state_secret``. The environment variable AIRFLOW_DR_STATE goes before it.",
                example="postgresql://dr@db.example/drills",
                sensitive=True,
            ),
            "state_conn_id": _option(
                "The connection that names the state store, used where ``state`` is not set. Without either, the store is a "
                "file of the worker's user: fit for one machine only.",
                example="airflow_dr_state",
            ),
            "workdir": _option(
                "Where local sandboxes live on a worker. Every worker may have its own; a drill needs room there for a whole "
                "restored cluster. The environment variable AIRFLOW_DR_WORKDIR goes before it.",
                example="/var/lib/airflow-dr",
            ),
            "queue": _option(
                "The queue of a drill's tasks where a tier names none; with workers on several hosts it has to be one that only "
                "one host's workers serve.",
                example="dr",
            ),
            "single_worker": _option(
                "Whether there is one worker host, whatever the executor may do: then a tier need not name a queue.",
                example="True",
                kind="boolean",
            ),
            "pools": _option(
                "Slots of Airflow's pools that ``airflow-dr setup`` makes, as ``NAME=SLOTS`` with commas between.",
                example="dr_staging=4, dr_isolated=2",
            ),
        },
    }
}


def _field(label: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"], **schema}}


_STATE = {
    "connection-type": "airflow_dr",
    "hook-class-name": "airflow_dr_provider.hooks.drill.DrillHook",
    "hook-name": "Disaster recovery drills: state store",
    "ui-field-behaviour": {
        "hidden-fields": [],
        "relabeling": {"schema": "Database"},
        "placeholders": {"host": "db.example, or a socket's folder", "port": "5432", "login": "dr", "schema": "drills"},
    },
    "conn-fields": {
        "file": _field(
            "SQLite file", "The whole path of a SQLite file, instead of a PostgreSQL server. Fit for one machine only."
        ),
        "sslmode": _field(
            "TLS",
            "How much the PostgreSQL server has to prove.",
            enum=["disable", "allow", "prefer", "require", "verify-ca", "verify-full", None],
        ),
        "sslrootcert": _field("CA file", "The file of the authority that signed the server's certificate."),
        "sslcert": _field("Client certificate", "The file of the client's certificate."),
        "sslkey": _field("Client key", "The file of its key."),
    },
}

_PLACE = "A whole path, as workers see it."
_REPOSITORY = {
    "connection-type": "airflow_dr_repository",
    "hook-class-name": "airflow_dr_provider.hooks.repository.DrillRepositoryHook",
    "hook-name": "Disaster recovery drills: backup repository",
    "ui-field-behaviour": {
        "hidden-fields": ["host", "port", "login", "password", "schema"],
        "relabeling": {},
        "placeholders": {"backups": "/backups/base", "archive": "/backups/wal", "stanza": "main", "server": "main"},
    },
    "conn-fields": {
        "kind": {
            "label": "Kind",
            "description": "The tool that makes the backups; it says which of the fields below are needed.",
            "schema": {"type": "string", "enum": ["basebackup", "pgbackrest", "barman", "walg"]},
        },
        "backups": _field("Backups (basebackup)", f"The folder that holds one folder for each backup. {_PLACE}"),
        "archive": _field("WAL archive (basebackup)", f"The folder into which archive_command copies WAL. {_PLACE}"),
        "stanza": _field("Stanza (pgbackrest)", "The stanza's name."),
        "repo": {
            "label": "Repository number (pgbackrest)",
            "description": "Only this one of its repositories, 1 for repo1; all of them when empty.",
            "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 256},
        },
        "server": _field("Server (barman)", "The server's name."),
        "bin": _field("Programs (barman)", f"The folder of Barman's programs, when they aren't on PATH. {_PLACE}"),
        "config": _field("Configuration file (pgbackrest, barman)", f"Its own default place when empty. {_PLACE}"),
        "env_file": _field("Settings (walg)", f"A file of NAME=value lines, WALG_S3_PREFIX and the like. {_PLACE}"),
        "program": _field("Program (pgbackrest, walg)", f"The program, when it isn't on PATH. {_PLACE}"),
    },
}

CONNECTION_TYPES: tuple[dict[str, Any], ...] = (_STATE, _REPOSITORY)


def connection_type(name: str) -> dict[str, Any]:
    """What Airflow is told about one type."""
    return next(entry for entry in CONNECTION_TYPES if entry["connection-type"] == name)
