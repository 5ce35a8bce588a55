"""What ``pgbackrest info --output=json`` tells, as a model that takes nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.wal import parse_segment
from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.pgbackrest_manifest import LABEL
from airflow_dr_provider.repositories.tool import parse

_ARCHIVE_ID = r"^\d{1,2}(\.\d)?-\d{1,9}$"
_KINDS = {"full": "F", "diff": "D", "incr": "I"}


def _label(value: str) -> str:
    if LABEL.fullmatch(value) is None:
        raise ValueError(f"{value[:80]!r} is no backup's label")
    return value


def _segment(value: str) -> str:
    if parse_segment(value, 1 << 20) is None:
        raise ValueError(f"{value[:80]!r} is no WAL segment's name")
    return value


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("a position is written as text")
    return value


def _moment(value: int) -> datetime:
    return datetime.fromtimestamp(value, UTC)


Position = Annotated[Lsn, BeforeValidator(_text)]
Label = Annotated[str, AfterValidator(_label)]
Segment = Annotated[str, AfterValidator(_segment)]
Seconds = Annotated[int, Field(ge=0, le=253402300799), AfterValidator(_moment)]
Key = Annotated[int, Field(ge=1, le=256)]
Identifier = Annotated[int, Field(ge=0, lt=1 << 64)]
Bytes = Annotated[int, Field(ge=0, lt=1 << 63)]


class _Part(BaseModel):
    """An object of the document; what a newer version adds to it is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Status(_Part):
    """How a stanza or a repository is, as pgBackRest sees it."""

    code: int
    message: str = ""


class RepositoryStatus(_Part):
    """One repository of the stanza."""

    key: Key
    cipher: str = "none"
    status: Status


class Reference(_Part):
    """Which cluster, in which repository."""

    id: int
    key: Key = Field(default=1, alias="repo-key")


class Database(Reference):
    """A cluster that the stanza has been of: a major upgrade makes another one."""

    system_identifier: Identifier = Field(alias="system-id")
    version: Annotated[str, Field(pattern=r"^\d{1,2}(\.\d)?$")]

    @property
    def major(self) -> int:
        """PostgreSQL's major version."""
        return int(self.version.partition(".")[0])


class Archive(_Part):
    """The WAL of one cluster in one repository."""

    database: Reference
    id: Annotated[str, Field(pattern=_ARCHIVE_ID)]


class _Segments(_Part):
    start: Segment | None = None
    stop: Segment | None = None


class _Positions(_Part):
    start: Position
    stop: Position


class _Times(_Part):
    start: Seconds
    stop: Seconds


class _Sizes(_Part):
    size: Bytes


class InfoBackup(_Part):
    """One backup."""

    label: Label
    type: Literal["full", "diff", "incr"]
    database: Reference
    prior: Label | None = None
    reference: tuple[Label, ...] | None = None
    archive: _Segments = _Segments()
    lsn: _Positions | None = None
    timestamp: _Times
    info: _Sizes
    error: bool | None = None

    @model_validator(mode="after")
    def _agree(self) -> InfoBackup:
        if not self.label.endswith(_KINDS[self.type]):
            raise ValueError(f"{self.label} is said to be a {self.type} backup")
        if (self.type == "full") != (self.prior is None):
            raise ValueError(f"{self.label} is a {self.type} backup and builds on {self.prior or 'nothing'}")
        foreign = [label for label in (self.prior, *(self.reference or ())) if label and label[:16] != self.label[:16]]
        if foreign:
            raise ValueError(f"{self.label} is said to build on {foreign[0]}, which is of another full backup")
        if self.lsn is not None and self.lsn.start > self.lsn.stop:
            raise ValueError(f"{self.label} stops before it starts")
        return self


class Stanza(_Part):
    """Everything that is known of a stanza."""

    name: str
    status: Status
    repo: tuple[RepositoryStatus, ...] = ()
    db: tuple[Database, ...] = ()
    archive: tuple[Archive, ...] = ()
    backup: tuple[InfoBackup, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Stanza:
        labels = [(backup.database.key, backup.label) for backup in self.backup]
        if len(set(labels)) != len(labels):
            raise ValueError("a backup is listed twice")
        keys = [repository.key for repository in self.repo]
        if len(set(keys)) != len(keys):
            raise ValueError("a repository is listed twice")
        return self

    def database(self, reference: Reference) -> Database | None:
        """The cluster that is meant."""
        return next((db for db in self.db if (db.id, db.key) == (reference.id, reference.key)), None)


_DOCUMENT: TypeAdapter[list[Stanza]] = TypeAdapter(list[Stanza])
_EMPTY = 2
_ABSENT = (1, 3)


def parse_info(document: str, stanza: str) -> Stanza:
    """The stanza of a document; nothing is judged but that it is one.

    :raises RepositoryError: when the document is damaged, or of another stanza.
    """
    found = [entry for entry in parse(_DOCUMENT, document, tool="pgbackrest", what="an inventory") if entry.name == stanza]
    if len(found) != 1:
        raise RepositoryError(
            f"pgbackrest's inventory has {len(found) or 'no'} entries for the stanza {stanza}. Check source.repository.stanza."
        )
    return found[0]


def usable_repositories(stanza: Stanza) -> tuple[tuple[RepositoryStatus, ...], tuple[str, ...]]:
    """The repositories that can be read, and a sentence about each of the others.

    ``info`` ends with 0 whatever it finds: the status codes tell (``INFO_STANZA_STATUS_CODE_…`` in ``info.c``).

    :raises RepositoryError: when none is usable: ``REPOSITORY_EMPTY`` when all are there and hold no backup.
    """
    good = tuple(repository for repository in stanza.repo if repository.status.code == 0)
    bad = tuple(repository for repository in stanza.repo if repository.status.code != 0)
    if good:
        return good, tuple(f"repo{repository.key} can't be used: {_said(repository.status)}" for repository in bad)
    codes = {repository.status.code for repository in bad} or {stanza.status.code}
    said = "; ".join(f"repo{repository.key}: {_said(repository.status)}" for repository in bad) or _said(stanza.status)
    if codes <= {_EMPTY}:
        raise RepositoryError(
            f"The stanza {stanza.name} holds no backup ({said}). Take one with `pgbackrest backup`.", code="REPOSITORY_EMPTY"
        )
    if codes <= {*_ABSENT, _EMPTY}:
        raise RepositoryError(
            f"There is no stanza {stanza.name} in this repository ({said}). Check source.repository.stanza and config; "
            f"`pgbackrest info` lists what is there."
        )
    raise RepositoryError(f"The repository of stanza {stanza.name} can't be read: {said}.")


def _said(status: Status) -> str:
    message = re.sub(r"\s+", " ", status.message).strip()[:500]
    return f"{message or 'no reason given'} (status {status.code})"
