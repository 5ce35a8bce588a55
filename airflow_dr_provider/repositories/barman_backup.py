"""What Barman's catalog says of a backup, whichever of its programs says it."""

from __future__ import annotations

from datetime import datetime

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.value import Value

COPIED = frozenset({"DONE", "WAITING_FOR_WALS"})
"""Statuses of a backup whose files are all there. Whether its WAL is, only the archive can tell."""

UNFINISHED = frozenset({"EMPTY", "STARTED", "SYNCING"})
FAILED = "FAILED"


class Tablespace(Value):
    """A tablespace of the server, at the time of the backup."""

    name: str
    oid: int


class BarmanBackup(Value):
    """What Barman's catalog says of a backup.

    :param mode: ``postgres`` (pg_basebackup), ``rsync-…``, ``snapshot-…``.
    :param parent: the backup that it builds on, "" for none.
    :param stored_bytes: of its files, as Barman counted them when it was done; None when it did not tell.
    :param cluster_bytes: of the running cluster then; None when it did not tell.
    """

    id: str
    status: str
    error: str = ""
    mode: str = ""
    compression: str = ""
    encryption: str = ""
    parent: str = ""
    system_identifier: int | None = None
    server_version: int | None = None
    timeline: int | None = None
    start_lsn: Lsn | None = None
    stop_lsn: Lsn | None = None
    start_time: datetime | None = None
    stop_time: datetime | None = None
    stored_bytes: int | None = None
    cluster_bytes: int | None = None
    tablespaces: tuple[Tablespace, ...] = ()

    @property
    def major(self) -> int | None:
        """PostgreSQL's major version."""
        return self.server_version // 10000 if self.server_version is not None else None
