"""The JSON documents that Barman prints, read into one shape, or refused whole.

Of the two times that a document gives for each moment only the one with an offset, or in seconds, is used: the other is local
time without a zone. Barman writes words where a value is missing ("not available", "- (this is the oldest base backup)"), so
no text is ever taken for a reference without being looked up.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, TypeAdapter

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.barman_backup import BarmanBackup, Tablespace
from airflow_dr_provider.repositories.tool import parse

TOOL = "Barman"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.\d+)?\S*")
_LARGEST = 1 << 62
_NEWEST_MAJOR = 3


def _identifier(text: str) -> str:
    # It becomes part of a path.
    if _ID.fullmatch(text) is None or text in (".", ".."):
        raise ValueError("is no backup's id")
    return text


def _lsn(value: Any) -> Lsn:
    if not isinstance(value, str):
        raise ValueError("is no LSN")
    return Lsn(value)


def _with_offset(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.utcoffset() is None:
        raise ValueError("has no offset from UTC")
    return time.astimezone(UTC)


def _epoch(value: Any) -> datetime:
    if not isinstance(value, (str, int)) or isinstance(value, bool) or re.fullmatch(r"\d{1,12}", str(value)) is None:
        raise ValueError("is no number of seconds")
    return datetime.fromtimestamp(int(value), UTC)


def _system_identifier(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, (str, int)) or isinstance(value, bool) or re.fullmatch(r"\d{1,20}", str(value)) is None:
        raise ValueError("is no system identifier")
    return int(value) if 0 < int(value) < 1 << 64 else None


BackupId = Annotated[StrictStr, AfterValidator(_identifier)]
Position = Annotated[Lsn, BeforeValidator(_lsn)]
IsoTime = Annotated[StrictStr, AfterValidator(_with_offset)]
EpochTime = Annotated[datetime, BeforeValidator(_epoch)]
SystemIdentifier = Annotated[int | None, BeforeValidator(_system_identifier)]
Size = Annotated[StrictInt, Field(ge=0, le=_LARGEST)]
Timeline = Annotated[StrictInt, Field(ge=1, lt=1 << 32)]
ServerVersion = Annotated[StrictInt, Field(ge=80000, lt=1000000)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


# -- backup.info, as sync-info and barman-cloud-backup-list give it ---------------------------------------------------
Oid = Annotated[StrictInt, Field(gt=0, lt=1 << 32)]
TablespaceRow = tuple[StrictStr, Oid, Any]


class BackupInfo(_Document):
    """One backup."""

    backup_id: BackupId
    status: StrictStr
    mode: StrictStr | None = None
    error: StrictStr | None = None
    compression: StrictStr | None = None
    encryption: StrictStr | None = None
    parent_backup_id: BackupId | None = None
    systemid: SystemIdentifier = None
    version: ServerVersion | None = None
    timeline: Timeline | None = None
    begin_xlog: Position | None = None
    end_xlog: Position | None = None
    begin_time_iso: IsoTime | None = None
    end_time_iso: IsoTime | None = None
    size: Size | None = None
    cluster_size: Size | None = None
    tablespaces: list[TablespaceRow] | None = None

    def backup(self) -> BarmanBackup:
        """The one shape."""
        return BarmanBackup(
            id=self.backup_id,
            status=self.status,
            error=self.error or "",
            mode=self.mode or "",
            compression=self.compression or "",
            encryption=self.encryption or "",
            parent=self.parent_backup_id or "",
            system_identifier=self.systemid,
            server_version=self.version,
            timeline=self.timeline,
            start_lsn=self.begin_xlog,
            stop_lsn=self.end_xlog,
            start_time=self.begin_time_iso,
            stop_time=self.end_time_iso,
            stored_bytes=self.size,
            cluster_bytes=self.cluster_size,
            tablespaces=tuple(Tablespace(name=name, oid=oid) for name, oid, _ in self.tablespaces or ()),
        )


class _Config(_Document):
    basebackups_directory: StrictStr
    wals_directory: StrictStr
    backup_directory: StrictStr
    streaming_wals_directory: StrictStr | None = None
    xlogdb_directory: StrictStr | None = None


class SyncInfo(_Document):
    """``barman sync-info``: the configuration's folders, and every backup whose files are all there."""

    backups: dict[str, BackupInfo]
    version: StrictStr
    config: _Config


_SYNC_INFO = TypeAdapter(SyncInfo)


def read_sync_info(text: str) -> SyncInfo:
    """The document of ``barman sync-info``.

    :raises RepositoryError: when it can't be used.
    """
    document = parse(_SYNC_INFO, text, tool=TOOL, what="a catalog (sync-info)")
    for key, info in document.backups.items():
        if key != info.backup_id:
            raise RepositoryError(
                f"Barman's catalog calls one backup {key[:64]!r} and {info.backup_id!r}; nothing of it is used."
            )
    return document


# -- show-backup -------------------------------------------------------------------------------------------------------
class _BaseBackupInformation(_Document):
    backup_method: StrictStr | None = None
    compression: StrictStr | None = None
    encryption: StrictStr | None = None
    timeline: Timeline
    begin_lsn: Position
    end_lsn: Position
    begin_time_timestamp: EpochTime
    end_time_timestamp: EpochTime
    backup_size_bytes: Size | None = None


class _CatalogInformation(_Document):
    parent_backup_id: BackupId | None = None


class _WalInformation(_Document):
    last_available: StrictStr | None = None


class _ShownTablespace(_Document):
    name: StrictStr
    oid: Oid


class ShownBackup(_Document):
    """``barman show-backup``, of one backup in any status."""

    backup_id: BackupId
    status: StrictStr
    error: StrictStr | None = None
    system_id: SystemIdentifier = None
    postgresql_version: ServerVersion | None = None
    cluster_size_bytes: Size | None = None
    tablespaces: list[_ShownTablespace] = []
    base_backup_information: _BaseBackupInformation | None = None
    catalog_information: _CatalogInformation | None = None
    wal_information: _WalInformation | None = None

    def backup(self) -> BarmanBackup:
        """The one shape."""
        files = self.base_backup_information
        if files is None:
            return BarmanBackup(id=self.backup_id, status=self.status, error=self.error or "", system_identifier=self.system_id)
        # What it shows for rsync is without the files that it has in common with the backup before.
        whole = files.backup_method == "postgres"
        return BarmanBackup(
            id=self.backup_id,
            status=self.status,
            error=self.error or "",
            mode=files.backup_method or "",
            compression=files.compression or "",
            encryption=files.encryption or "",
            parent=(self.catalog_information.parent_backup_id or "") if self.catalog_information is not None else "",
            system_identifier=self.system_id,
            server_version=self.postgresql_version,
            timeline=files.timeline,
            start_lsn=files.begin_lsn,
            stop_lsn=files.end_lsn,
            start_time=files.begin_time_timestamp,
            stop_time=files.end_time_timestamp,
            stored_bytes=files.backup_size_bytes if whole else None,
            cluster_bytes=self.cluster_size_bytes,
            tablespaces=tuple(Tablespace(name=space.name, oid=space.oid) for space in self.tablespaces),
        )


_SHOWN = TypeAdapter(dict[str, Any])
_SHOWN_BACKUP = TypeAdapter(ShownBackup)


def read_shown(text: str, *, server: str, backup_id: str = "") -> ShownBackup:
    """The document of ``barman show-backup``.

    :param backup_id: the one that was asked for; "" for any.
    :raises RepositoryError: when it can't be used, or is of another backup; with Barman's own words where it holds an error.
    """
    what = f"a backup (show-backup {backup_id})".replace(" )", ")")
    document = parse(_SHOWN, text, tool=TOOL, what=what)
    said = [str(word) for key in ("_EXCEPTION", "_ERROR") for word in _words(document.get(key))]
    if server not in document:
        raise RepositoryError(
            f"Barman does not show backup {backup_id} of {server}: {'; '.join(said)[:500] or 'it said nothing'}."
        )
    try:
        shown = _SHOWN_BACKUP.validate_python(document[server])
    except ValueError as error:
        raise RepositoryError(f"{TOOL} printed {what} that can't be understood: {_first(error)}.") from None
    if backup_id and shown.backup_id != backup_id:
        raise RepositoryError(f"Barman was asked for backup {backup_id} and showed {shown.backup_id}; nothing of it is used.")
    return shown


def _words(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _first(error: ValueError) -> str:
    return str(error).replace("\n", " ")[:300]


# -- the other ones ----------------------------------------------------------------------------------------------------
_SERVERS = TypeAdapter(dict[str, Any])


def read_servers(text: str) -> tuple[str, ...]:
    """The names of ``barman list-servers``."""
    return tuple(
        sorted(name for name in parse(_SERVERS, text, tool=TOOL, what="a list of servers") if not name.startswith("_"))
    )


class _CloudList(_Document):
    backups_list: list[BackupInfo]


_CLOUD = TypeAdapter(_CloudList)


def read_cloud_list(text: str) -> tuple[BarmanBackup, ...]:
    """The backups of ``barman-cloud-backup-list --format json``.

    :raises RepositoryError: when the document can't be used.
    """
    backups = tuple(
        info.backup() for info in parse(_CLOUD, text, tool="barman-cloud-backup-list", what="a catalog").backups_list
    )
    if len({backup.id for backup in backups}) != len(backups):
        raise RepositoryError("barman-cloud-backup-list lists a backup twice; nothing of its catalog is used.")
    return backups


def check_version(text: str) -> str:
    """Look at Barman's version.

    :return: a note, when it is newer than what this adapter was made for; else "".
    :raises RepositoryError: when it is older than 3.0, or no version.
    """
    match = _VERSION.match(text.strip())
    if match is None:
        raise RepositoryError(f"Barman calls its version {text.strip()[:40]!r}. Check that `barman` is Barman, 3.0 or newer.")
    major = int(match[1])
    if major < _NEWEST_MAJOR:
        raise RepositoryError(f"Barman {match[0]} is too old: this adapter reads the catalogs of 3.0 and newer. Upgrade it.")
    if major > _NEWEST_MAJOR:
        return f"Barman {match[0]} is newer than the 3.x that this adapter was made for; check its catalog against `barman list-backups`"
    return ""
