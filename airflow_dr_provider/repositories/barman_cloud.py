"""What the barman-cloud programs wrote to a bucket.

``barman-cloud-backup-list`` tells of the backups. Their tar files and the WAL are read from the bucket itself, each byte once:
written, decompressed and compared with the bucket's own checksum on its way, which ``barman-cloud-restore`` doesn't do.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, Catalog
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import BackupFault, FileReport
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.errors import BackupError, ConfigurationError, RepositoryError
from airflow_dr_provider.postgresql import backup_label, controlfile
from airflow_dr_provider.postgresql.manifest import NAME as MANIFEST
from airflow_dr_provider.postgresql.manifest import read_manifest
from airflow_dr_provider.postgresql.programs import find_programs
from airflow_dr_provider.repositories.barman_backup import BarmanBackup
from airflow_dr_provider.repositories.barman_catalog import KIND, Entry, judge_told, make_catalog
from airflow_dr_provider.repositories.barman_cloud_items import list_objects, read_objects
from airflow_dr_provider.repositories.barman_documents import check_version, read_cloud_list
from airflow_dr_provider.repositories.bucket import Bucket, StoredObject, checkable, is_checksum
from airflow_dr_provider.repositories.compression import compression_of, content_of, without_suffix
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.materialise import TABLESPACE_MAP, empty, link_tablespace, unpack_stream
from airflow_dr_provider.repositories.tool import Tool, find_program
from airflow_dr_provider.repositories.verification import tree_files, verify_tree
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, sort_in

_LIST = "barman-cloud-backup-list"
_TAR = re.compile(r"(data|\d+)(?:_(\d{4,}))?\.tar(?:\.\w+)?")
_INFO = "backup.info"
_TRIED = 3
"""How many objects are tried to learn whether this service's ETags are checksums: one of them may be damaged."""
_HEADERS = 16
"""How many segments' headers a catalog reads, from the newest back: each is a request."""


@dataclass
class Parts:
    """The objects of a backup.

    :param tars: by what they hold, ``data`` or a tablespace's oid, in order.
    :param info: Barman's notes.
    """

    tars: dict[str, list[StoredObject]] = field(default_factory=lambda: defaultdict(list))
    info: StoredObject | None = None


def sort_parts(objects: Iterator[StoredObject]) -> Parts:
    """Sort a backup's objects."""
    parts = Parts()
    for stored in sorted(objects, key=lambda found: found.key):
        if stored.name == _INFO:
            parts.info = stored
        elif match := _TAR.fullmatch(stored.name):
            parts.tars[match[1]].append(stored)
    for tars in parts.tars.values():
        tars.sort(key=_number)
    return parts


def _number(stored: StoredObject) -> int:
    match = _TAR.fullmatch(stored.name)
    return int(match[2] or 0) if match is not None else 0


def judge_parts(entry: Entry, parts: Parts) -> None:
    """What is missing of a backup that Barman calls good."""
    if entry.flaws:
        return
    for wanted in ("data", *(str(space.oid) for space in entry.told.tablespaces)):
        numbers = [_number(stored) for stored in parts.tars.get(wanted, ())]
        if not numbers:
            entry.flaw(BackupFlaw.INCOMPLETE, f"{wanted}.tar is not there")
        elif numbers != list(range(len(numbers))):
            entry.flaw(BackupFlaw.INCOMPLETE, f"{wanted}.tar lies there in parts, of which some are missing")


class CloudBarman:
    """See :class:`airflow_dr_provider.repositories.barman.Store`."""

    def __init__(self, settings: Any, base: Path) -> None:
        self._server: str = settings.server
        self._cloud: Any = settings.cloud
        self._bin: Path | None = base / settings.bin if settings.bin is not None else None
        if self._cloud.provider != "aws-s3" or not self._cloud.url.startswith("s3://"):
            raise ConfigurationError(
                f"source.repository.cloud: {self._cloud.url} at {self._cloud.provider} can't be drilled; only buckets of S3 and "
                f"of what speaks its protocol can. Copy the backups to one, or drill Barman's own home."
            )

    async def catalog(self) -> Catalog:
        """What Barman lists, held against what is in the bucket."""
        note, told = await self._listed()
        return await in_thread(self._catalog, told, note)

    async def _listed(self) -> tuple[str, tuple[BarmanBackup, ...]]:
        tool = Tool(name=_LIST, command=(str(find_program(_LIST, self._bin, kind=KIND)),), passed=("AWS_", "BARMAN_"))
        note = check_version((await tool.call("--version")).out.removeprefix(_LIST))
        endpoint = ("--endpoint-url", self._cloud.endpoint_url) if self._cloud.endpoint_url else ()
        arguments = ("--cloud-provider", "aws-s3", *endpoint, "--format", "json", self._cloud.url, self._server)
        return note, read_cloud_list((await tool.call(*arguments)).out)

    def _catalog(self, told: tuple[BarmanBackup, ...], note: str) -> Catalog:
        bucket = self._bucket()
        held = {name: sort_parts(bucket.objects(self._server, "base", name)) for name in bucket.folders(self._server, "base")}
        if not told and not held:
            raise self._nothing(bucket)
        entries = [judge_told(backup) for backup in told]
        for entry in entries:
            judge_parts(entry, held.get(entry.told.id, Parts()))
        for name in sorted(held.keys() - {backup.id for backup in told}):
            # Barman's list leaves out, without a word, what it can't read.
            lost = Entry(BarmanBackup(id=name, status=""))
            lost.flaw(BackupFlaw.UNREADABLE, "its backup.info is not there or can't be read")
            entries.append(lost)
        listing = self._list_wals(bucket)
        return make_catalog(
            entries,
            listing,
            identity=f"{KIND}:{self._server}:{bucket.url}",
            notes=(note,) if note else (),
            headers=_HEADERS,
        )

    def _nothing(self, bucket: Bucket) -> RepositoryError:
        others = bucket.folders()
        known = f"There are {', '.join(others[:10])}" if others else "Nothing is there"
        return RepositoryError(
            f"{bucket.url} holds no backup of a server {self._server}. {known}. Take one with barman-cloud-backup, or name "
            f"another server or url.",
            code="REPOSITORY_EMPTY",
        )

    def _bucket(self) -> Bucket:
        return Bucket(self._cloud.url, self._cloud.endpoint_url)

    async def listing(self) -> ArchiveListing:
        """The archive's objects, as they are now."""
        return await in_thread(lambda: self._list_wals(self._bucket()))

    def _list_wals(self, bucket: Bucket) -> ArchiveListing:
        listing = ArchiveListing(bucket.folder(self._server, "wals"))
        strangers: list[str] = []
        for stored in bucket.objects(self._server, "wals"):
            source = partial(bucket.open, stored)
            compression = compression_of(stored.name)
            file = ArchiveFile(bucket.place(stored), stored.size, compression, source, tag=stored.etag)
            if not sort_in(listing, file, stored.name):
                strangers.append(stored.name)
        if strangers:
            shown = ", ".join(strangers[:5])
            listing.notes.append(
                f"{len(strangers)} objects under {listing.folder} are no WAL that can be read here and were passed over: {shown}"
            )
        return listing

    # -- files ---------------------------------------------------------------------------------------------------------
    async def verify(self, backup: Backup) -> FileReport:
        """Read every object of a backup to its end."""
        return await in_thread(self._unpack, backup.id, None, Path())

    async def inventory(self, catalog: Catalog) -> AsyncIterator[RepositoryItem]:
        """Every segment and every object."""
        bucket = self._bucket()
        async for item in list_objects(catalog, await self.listing(), await in_thread(self._objects, bucket, catalog)):
            yield item

    async def read_items(self, catalog: Catalog, items: Sequence[RepositoryItem]) -> AsyncIterator[ItemReport]:
        """Read items whole and compare them."""
        bucket = self._bucket()
        objects = await in_thread(self._objects, bucket, catalog)
        notes = [stored for found in objects.values() for stored in found if stored.name == _INFO][:_TRIED]
        check = bool(notes) and any([await in_thread(self._has_checksums, bucket, stored) for stored in notes])
        async for report in read_objects(catalog, items, bucket, await self.listing(), objects, check=check):
            yield report

    def _objects(self, bucket: Bucket, catalog: Catalog) -> dict[str, list[StoredObject]]:
        return {backup.id: list(bucket.objects(self._server, "base", backup.id)) for backup in catalog.backups}

    async def restore(self, coordinate: RestoreCoordinate, destination: Path) -> FileReport:
        """Unpack a backup's objects, compared with their checksums and, where it has one, with its manifest."""
        await in_thread(empty, destination)
        path = destination.with_name(f".{destination.name}.{MANIFEST}")
        path.unlink(missing_ok=True)
        try:
            report = await in_thread(self._unpack, coordinate.backup_id, destination, path)
            if report.faults or not path.exists():
                return report
            manifest = await in_thread(read_manifest, path)
            programs = find_programs(coordinate.server_version)
            return await verify_tree(destination, manifest, path, programs, left_out=(TABLESPACE_MAP,))
        except BackupError as error:
            return FileReport(faults=(BackupFault(code=error.code, path=MANIFEST, detail=error.message),))
        finally:
            path.unlink(missing_ok=True)

    def _unpack(self, backup_id: str, destination: Path | None, manifest: Path) -> FileReport:
        bucket = self._bucket()
        parts = sort_parts(bucket.objects(self._server, "base", backup_id))
        check = parts.info is not None and self._has_checksums(bucket, parts.info)
        read = 0
        for holds, tars in sorted(parts.tars.items(), key=lambda item: (item[0] != "data", item[0])):
            top = holds == "data"
            place = destination if top or destination is None else link_tablespace(destination, holds)
            for stored in tars:
                try:
                    self._unpack_one(bucket, stored, place, top=top, manifest=manifest, check=check)
                except BackupError as error:
                    fault = BackupFault(code=error.code, path=f"{backup_id}/{stored.name}", detail=error.message)
                    return FileReport(bytes_read=read, faults=(fault,))
                read += stored.size
        faults = _structure(destination) if destination is not None else ()
        every = [stored for tars in parts.tars.values() for stored in tars]
        files = len(every) if destination is None else sum(1 for _ in tree_files(destination))
        verified = check and bool(every) and all(checkable(stored) for stored in every) and not faults
        return FileReport(files=files, bytes_read=read, verified=verified, faults=faults)

    def _unpack_one(
        self, bucket: Bucket, stored: StoredObject, place: Path | None, *, top: bool, manifest: Path, check: bool
    ) -> None:
        compression = compression_of(stored.name)
        if not without_suffix(stored.name).endswith(".tar"):
            raise BackupError(f"{bucket.place(stored)} is compressed in a way that can't be read here.")
        path = bucket.place(stored)
        with bucket.open(stored, check=check) as raw, content_of(raw, compression, path) as stream:
            unpack_stream(stream, path, place, top=top, manifest=manifest if top else None)

    def _has_checksums(self, bucket: Bucket, info: StoredObject) -> bool:
        """Whether this service's ETags are checksums, tried on the smallest object."""
        with bucket.open(info) as stream:
            return is_checksum(info, stream.read(1 << 24))


def _structure(destination: Path) -> tuple[BackupFault, ...]:
    missing = [name for name in ("PG_VERSION", controlfile.PATH, backup_label.NAME) if not (destination / name).is_file()]
    return tuple(
        BackupFault(code="BACKUP_FILE_MISSING", path=name, detail="it is in no tar file of the backup") for name in missing
    )
