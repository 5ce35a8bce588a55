"""What WAL-G prints and stores, taken as input to be checked: its version, listings, and JSON documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, NamedTuple

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import RepositoryError

BACKUP_NAME = re.compile(r"base_([0-9A-F]{8})[0-9A-F]{16}(_D_[0-9A-F]{24})?(_[0-9A-F]{8})?")
"""A backup's name: its first segment, and that of the backup that a delta builds on. WAL-E's names end with an offset."""

EXTENSIONS = ("lz4", "lzma", "zst", "br", "gz", "lzo")
"""Endings of what WAL-G compresses; without compression there is none."""

_VERSION = re.compile(r"version[ \t]+v?(\d+)\.(\d+)(?:\.(\d+))?")
_HEADER = ["type", "size", "last", "modified", "name"]
_ROW = re.compile(r"(obj|dir) +(\d{1,19}) +(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})? [+-]\d{4} \S+) +(\S.*?) *")
_UNSET_YEAR = 1

Bits64 = Annotated[int, Field(ge=0, lt=1 << 64)]
Time = AwareDatetime | None


class StoredObject(NamedTuple):
    """One row of a listing.

    :param name: relative to the listed folder, without slashes at its ends.
    :param modified: as WAL-G prints it: changes when the object is replaced.
    """

    name: str
    size: int
    modified: str
    is_folder: bool = False


class _Document(BaseModel):
    """Strict about what is read, silent about what later versions add."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Metadata(_Document):
    """A backup's ``metadata.json``; in a ``backup-list`` each entry holds the same.

    :param start_lsn: as a number; 0 where an old version noted none.
    """

    pg_version: Annotated[int, Field(ge=0, lt=10_000_000)]
    start_lsn: Bits64
    finish_lsn: Bits64
    start_time: Time = None
    finish_time: Time = None
    system_identifier: Bits64 | None = None
    uncompressed_size: Annotated[int, Field(ge=0, lt=1 << 63)] = 0

    @property
    def major(self) -> int | None:
        """PostgreSQL's major version: 150004 is 15.4, 90603 is 9.6.3."""
        return self.pg_version // 10_000 or None

    @property
    def started(self) -> Time:
        """When it started; Go writes the year 1 for a time that was never set."""
        return self.start_time if self.start_time is not None and self.start_time.year > _UNSET_YEAR else None

    @property
    def finished(self) -> Time:
        """When it finished."""
        return self.finish_time if self.finish_time is not None and self.finish_time.year > _UNSET_YEAR else None


class ListedBackup(Metadata):
    """An entry of ``backup-list --detail --json``."""

    backup_name: Annotated[str, StringConstraints(max_length=255)]
    storage_name: Annotated[str, StringConstraints(max_length=255)] = "default"


class Tablespaces(BaseModel):
    """A sentinel's tablespaces: their names (oids) in a list, and under each name where it lies.

    :param base_prefix: production's data directory.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    base_prefix: str
    tablespaces: tuple[Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,9}$")], ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The tablespaces' oids."""
        return self.tablespaces or ()


class Sentinel(_Document):
    """A backup's ``…_backup_stop_sentinel.json``: the last thing that a push writes, and what ``backup-fetch`` goes by.

    :param start_lsn: as a number.
    :param delta_from: the backup that this one builds on; None for a full one.
    :param tablespaces: None where nothing is noted; WAL-E's key is in small letters.
    """

    start_lsn: Bits64 | None = Field(default=None, alias="LSN")
    delta_from: str | None = Field(default=None, alias="DeltaFrom")
    tablespaces: Tablespaces | None = Field(default=None, validation_alias=AliasChoices("Spec", "spec"))
    files_metadata_disabled: bool = Field(default=False, alias="FilesMetadataDisabled")
    version: int = Field(default=0, alias="Version")


class FilesMetadata(_Document):
    """A backup's ``files_metadata.json``: neither sizes nor checksums.

    :param files: every file of the cluster by its path; in a delta also those that lie in its base. None where it isn't noted.
    :param tar_sets: paths by the name of the tar file that holds them; None where it isn't noted.
    """

    files: dict[str, dict[str, object]] | None = Field(default=None, alias="Files")
    tar_sets: dict[str, tuple[str, ...] | None] | None = Field(default=None, alias="TarFileSets")


BACKUP_LIST: TypeAdapter[list[ListedBackup]] = TypeAdapter(list[ListedBackup])
METADATA = TypeAdapter(Metadata)
SENTINEL = TypeAdapter(Sentinel)
FILES_METADATA = TypeAdapter(FilesMetadata)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The version that ``wal-g --version`` tells; None for a build without one.

    :raises RepositoryError: when it is a WAL-G for another database.
    """
    if "version" in text and "PostgreSQL" not in text:
        raise RepositoryError(
            f"This WAL-G is not the one for PostgreSQL (it says {text.strip()[:200]!r}). Name the right program in "
            f"source.repository.program."
        )
    match = _VERSION.search(text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def parse_listing(text: str, what: str) -> tuple[list[StoredObject], list[str]]:
    """The rows of ``wal-g st ls``.

    :param what: the folder, for the message.
    :return: the objects, and names that hold blanks: nothing of WAL-G's does, and where such a name ends can't be told.
    :raises RepositoryError: when it is no listing, or was cut off.
    """
    lines = text.split("\n")
    if not lines or lines[0].split() != _HEADER:
        raise _no_listing(what, "its first line is not the one of a listing")
    if lines[-1]:
        raise _no_listing(what, "it is cut off")
    found: list[StoredObject] = []
    strangers: list[str] = []
    for row in _rows(lines[1:-1], what):
        if " " in row.name:
            strangers.append(row.name)
        else:
            found.append(row)
    return found, strangers


def _rows(lines: list[str], what: str) -> Iterator[StoredObject]:
    seen: set[tuple[str, bool]] = set()
    for number, line in enumerate(lines, start=2):
        match = _ROW.fullmatch(line)
        if match is None:
            raise _no_listing(what, f"line {number} is none of a listing's")
        row = StoredObject(match[4].strip("/"), int(match[2]), match[3], match[1] == "dir")
        if not row.name or (row.name, row.is_folder) in seen:
            raise _no_listing(what, f"line {number} names nothing, or something for the second time")
        seen.add((row.name, row.is_folder))
        yield row


def _no_listing(what: str, why: str) -> RepositoryError:
    return RepositoryError(
        f"WAL-G's listing of {what} can't be understood: {why}. Check that this version of it is supported, and that nothing "
        f"else writes to its output."
    )


def without_extension(name: str) -> str:
    """A stored object's name without the ending of its compression."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and ending in EXTENSIONS else name


def position(number: int | None) -> Lsn | None:
    """A position that WAL-G noted; None for none."""
    return Lsn(number) if number else None
