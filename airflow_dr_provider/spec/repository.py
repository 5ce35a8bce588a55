"""The repositories that a spec may name. Another kind is another class here and another file in ``repositories/``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt, StringConstraints

from airflow_dr_provider.spec.base import CONNECTION_ID, FilePath, SpecPart, ToolName


class BaseBackupSpec(SpecPart):
    """A folder of pg_basebackup backups beside a WAL archive."""

    kind: Literal["basebackup"]
    """The kind of repository."""
    backups: FilePath
    """The folder that holds one folder for each backup; relative to the spec's own folder."""
    archive: FilePath
    """The folder into which archive_command copies WAL; relative to the spec's own folder."""


class PgBackRestSpec(SpecPart):
    """A stanza of pgBackRest, 2.45 or newer, with all its repositories."""

    kind: Literal["pgbackrest"]
    """The kind of repository."""
    stanza: ToolName
    """The stanza's name."""
    config: FilePath | None = None
    """pgBackRest's configuration file; its own default place when left out."""
    repo: StrictInt | None = Field(default=None, ge=1, le=256)
    """Only this one of its repositories (1 for repo1); all of them when left out."""
    program: FilePath | None = None
    """The program, when it isn't on PATH."""


class BarmanCloudSpec(SpecPart):
    """A bucket that barman-cloud-backup and barman-cloud-wal-archive fill."""

    url: Annotated[str, StringConstraints(strict=True, pattern=r"^(s3|gs|azure|https)://[^\s?#@]{1,1000}$")]
    """Where it is: s3://bucket/path."""
    provider: Literal["aws-s3", "azure-blob-storage", "google-cloud-storage"] = "aws-s3"
    """Who runs it."""
    endpoint_url: Annotated[str, StringConstraints(strict=True, pattern=r"^https?://[^\s?#@]{1,1000}$")] | None = None
    """The address of an S3 service that isn't AWS's."""


class BarmanSpec(SpecPart):
    """A server of Barman 3, on this machine or in a bucket."""

    kind: Literal["barman"]
    """The kind of repository."""
    server: ToolName
    """The server's name."""
    config: FilePath | None = None
    """Barman's configuration file; its own default place when left out."""
    cloud: BarmanCloudSpec | None = None
    """The bucket, for what the barman-cloud programs wrote; left out for a Barman on this machine."""
    bin: FilePath | None = None
    """The folder of Barman's programs, when they aren't on PATH."""


class WalGSpec(SpecPart):
    """What WAL-G wrote, read by WAL-G 3.0 or newer."""

    kind: Literal["walg"]
    """The kind of repository."""
    env_file: FilePath
    """A file of NAME=value lines: WAL-G's settings (WALG_S3_PREFIX and the like)."""
    program: FilePath | None = None
    """The program, when it isn't on PATH."""


class ConnectionRepositorySpec(SpecPart):
    """A repository whose kind and place a connection holds. It is looked up when a run opens, which keeps what it found."""

    kind: Literal["connection"]
    """The kind of repository."""
    conn_id: Annotated[str, StringConstraints(strict=True, pattern=CONNECTION_ID)]
    """A connection of type airflow_dr_repository; without Airflow read from AIRFLOW_CONN_…"""


PlacedRepositorySpec = Annotated[BaseBackupSpec | PgBackRestSpec | BarmanSpec | WalGSpec, Field(discriminator="kind")]
RepositorySpec = Annotated[
    BaseBackupSpec | PgBackRestSpec | BarmanSpec | WalGSpec | ConnectionRepositorySpec, Field(discriminator="kind")
]
REPOSITORY_KINDS: dict[str, type[SpecPart]] = {
    "basebackup": BaseBackupSpec,
    "pgbackrest": PgBackRestSpec,
    "barman": BarmanSpec,
    "walg": WalGSpec,
}
SOURCE_KINDS: dict[str, type[SpecPart]] = {**REPOSITORY_KINDS, "connection": ConnectionRepositorySpec}
"""What a spec may say: the kinds that have an adapter, and a connection that names one of them."""
