"""A backup repository behind a connection."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook

from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.wal import range_text
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.hooks.connections import airflow_connection
from airflow_dr_provider.hooks.forms import behaviour, widgets
from airflow_dr_provider.repositories.base import Repository, repository
from airflow_dr_provider.spec.repository_connection import repository_of_connection

_NEVER = datetime.min.replace(tzinfo=UTC)


class DrillRepositoryHook(BaseHook):
    """Reads a backup repository whose kind and place a connection holds.

    A spec names it by ``source: {repository: {kind: connection, conn_id: …}}``. Credentials are not in it: each tool takes its
    own from its configuration or the environment.

    :param repository_conn_id: a connection of type ``airflow_dr_repository``.
    """

    conn_name_attr = "repository_conn_id"
    default_conn_name = "airflow_dr_repository_default"
    conn_type = "airflow_dr_repository"
    hook_name = "Disaster recovery drills: backup repository"

    def __init__(self, *, repository_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repository_conn_id = repository_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The form's fields, for Airflow 3.1."""
        return widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The form's standard fields, for Airflow 3.1."""
        return behaviour(cls.conn_type)

    def get_conn(self) -> Repository:
        """The repository's adapter.

        :raises ConfigurationError: when the connection doesn't say where it is.
        """
        settings = repository_of_connection(airflow_connection(self.repository_conn_id))
        return repository(settings.kind, settings, base=Path("/"))

    def test_connection(self) -> tuple[bool, str]:
        """Read the catalog as a drill would: names, sizes and headers, no content."""
        try:
            catalog = asyncio.run(self.get_conn().catalog())
        except DrillError as error:
            return False, error.message
        return _judge(catalog)


def _judge(catalog: Catalog) -> tuple[bool, str]:
    """Whether a drill could begin with it, and what is there."""
    sound = [backup for backup in catalog.backups if not backup.flaws]
    if not sound:
        notes = "; ".join(f"{backup.id}: {', '.join(backup.flaws)}" for backup in catalog.backups[:3])
        return False, f"{len(catalog.backups)} backups, none of which can be used: {notes or 'there is none'}."
    flawed = len(catalog.backups) - len(sound)
    newest = max(sound, key=lambda backup: (backup.stop_time or backup.start_time or _NEVER, backup.id))
    at = f" of {newest.stop_time.isoformat(timespec='seconds')}" if newest.stop_time else ""
    archive = catalog.archive
    reach = f"; WAL up to {range_text(archive.ranges[-1], archive.segment_size)}" if archive.ranges else "; no archived WAL"
    spoilt = f", {flawed} more that can't be used" if flawed else ""
    return True, f"{len(sound)} usable backup{'s' if len(sound) > 1 else ''}{spoilt}; newest {newest.id}{at}{reach}."
