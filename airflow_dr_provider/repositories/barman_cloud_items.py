"""The objects that barman-cloud wrote, as items of the verification ledger."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any, BinaryIO, cast

from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.repositories.bucket import Bucket, StoredObject, checkable
from airflow_dr_provider.repositories.compression import compression_of, content_of, without_suffix
from airflow_dr_provider.repositories.halting import in_thread
from airflow_dr_provider.repositories.materialise import unpack_stream
from airflow_dr_provider.repositories.wal_files import ArchiveListing
from airflow_dr_provider.repositories.wal_items import needed_by_backups, read_segments, segment_items
from airflow_dr_provider.repositories.wal_reader import WalReader


async def list_objects(
    catalog: Catalog, listing: ArchiveListing, backups: dict[str, list[StoredObject]]
) -> AsyncIterator[RepositoryItem]:
    """Every segment, then every object of every backup; an ETag changes with what is stored.

    :param backups: their objects, by id.
    """
    for item in segment_items(listing, catalog.archive.segment_size, prefix="wals"):
        yield item
    for identifier, objects in backups.items():
        for stored in objects:
            name = f"base/{identifier}/{stored.name}"
            yield RepositoryItem(name=name, size=stored.size, stamp=stored.etag, backup_id=identifier)


async def read_objects(
    catalog: Catalog,
    items: Sequence[RepositoryItem],
    bucket: Bucket,
    listing: ArchiveListing,
    backups: dict[str, list[StoredObject]],
    *,
    check: bool,
) -> AsyncIterator[ItemReport]:
    """Read items whole and compare them.

    :param check: whether this service's ETags are checksums.
    """
    segments = [item for item in items if item.segment is not None]
    if segments:
        async for report in read_segments(WalReader(catalog, listing), segments, needed=needed_by_backups(catalog)):
            yield report
    held = {f"base/{identifier}/{stored.name}": stored for identifier, objects in backups.items() for stored in objects}
    for item in items:
        if item.segment is None:
            stored = held.get(item.name)
            if stored is None:
                yield ItemReport(name=item.name, checksum="", compared=False)  # expired since it was listed
            else:
                yield await in_thread(_read, bucket, item, stored, check=check)


def _read(bucket: Bucket, item: RepositoryItem, stored: StoredObject, *, check: bool) -> ItemReport:
    path = bucket.place(stored)
    hashed = _Hashed(bucket.open(stored, check=check))
    fault = None
    try:
        with cast("BinaryIO", io.BufferedReader(hashed, 1 << 18)) as raw:
            if without_suffix(stored.name).endswith(".tar"):
                with content_of(raw, compression_of(stored.name), path) as content:
                    unpack_stream(content, path, None)
            else:
                while raw.read(1 << 20):
                    pass
    except BackupError as error:
        fault = BackupFault(code=error.code, path=item.name, detail=error.message)
    return ItemReport(
        name=item.name,
        checksum=f"sha256:{hashed.digest.hexdigest()}" if fault is None else "",
        compared=check and checkable(stored),
        bytes_read=hashed.length,
        fault=fault,
    )


class _Hashed(io.RawIOBase):
    """A stream that is hashed while it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.length = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        self.digest.update(content)
        self.length += len(content)
        return len(content)

    def close(self) -> None:
        self._stream.close()
        super().close()
