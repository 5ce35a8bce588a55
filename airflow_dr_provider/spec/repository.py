"""The repositories that a spec may name. Another kind is another class here and another file in ``repositories/``."""

from __future__ import annotations

from typing import Literal

from airflow_dr_provider.spec.base import FilePath, SpecPart


class BaseBackupSpec(SpecPart):
    """A folder of pg_basebackup backups beside a WAL archive."""

    kind: Literal["basebackup"]
    """The kind of repository."""
    backups: FilePath
    """The folder that holds one folder for each backup; relative to the spec's own folder."""
    archive: FilePath
    """The folder into which archive_command copies WAL; relative to the spec's own folder."""


RepositorySpec = BaseBackupSpec
REPOSITORY_KINDS: dict[str, type[SpecPart]] = {"basebackup": BaseBackupSpec}
