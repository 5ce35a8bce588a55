"""Objects of an S3 bucket: listed, and read with their checksums compared.

An object's ETag is the MD5 of its bytes, or, sent in parts, the MD5 of the parts' (with ``-`` and their number behind it): with
AWS unless a key of KMS encrypts it, and with most other services. Whoever reads tells whether it holds here.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import urlsplit

from airflow_dr_provider.errors import BackupError, ConfigurationError, DrillError, RepositoryError

_ETAG = re.compile(r"([0-9a-f]{32})(?:-(\d{1,5}))?")
_CONNECT_SECONDS, _READ_SECONDS, _TRIES = 10, 60, 4


class StoredObject(NamedTuple):
    """One object.

    :param etag: without quotes.
    """

    key: str
    size: int
    etag: str
    modified: datetime

    @property
    def name(self) -> str:
        """The end of its key."""
        return self.key.rpartition("/")[2]


class Bucket:
    """A folder of a bucket. Credentials come from the environment, as every client of AWS takes them.

    :param url: ``s3://bucket/path``.
    :param endpoint_url: of a service that isn't AWS's.
    :raises ConfigurationError: when boto3 isn't installed.
    """

    def __init__(self, url: str, endpoint_url: str | None = None) -> None:
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self._name = parts.netloc
        self._prefix = parts.path.strip("/")
        try:
            boto3, config = import_module("boto3"), import_module("botocore.config")
            self._errors: tuple[type[Exception], ...] = (
                import_module("botocore.exceptions").BotoCoreError,
                import_module("botocore.exceptions").ClientError,
                import_module("urllib3.exceptions").HTTPError,
            )
        except ImportError as error:
            raise ConfigurationError(
                f"{url} can't be read: the Python package boto3 is not installed. Install airflow-dr-provider[amazon]."
            ) from error
        options = config.Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "max_attempts": _TRIES},
            max_pool_connections=16,
        )
        try:
            self._client: Any = boto3.client("s3", endpoint_url=endpoint_url, config=options)
        except (*self._errors, ValueError) as error:
            raise ConfigurationError(f"{url} can't be read: {error}. Check endpoint_url and AWS's settings.") from error

    def key(self, *parts: str) -> str:
        """The key of something in this folder."""
        return "/".join(part for part in (self._prefix, *parts) if part)

    def objects(self, *folder: str) -> Iterator[StoredObject]:
        """Every object below a folder.

        :raises RepositoryError: when it can't be listed.
        """
        for page in self._pages(Prefix=f"{self.key(*folder)}/"):
            for entry in page.get("Contents", ()):
                yield StoredObject(entry["Key"], int(entry["Size"]), str(entry["ETag"]).strip('"'), entry["LastModified"])

    def folders(self, *folder: str) -> list[str]:
        """The names of the folders in a folder.

        :raises RepositoryError: when it can't be listed.
        """
        prefix = f"{self.key(*folder)}/".lstrip("/")
        pages = self._pages(Prefix=prefix, Delimiter="/")
        return [str(entry["Prefix"])[len(prefix) :].rstrip("/") for page in pages for entry in page.get("CommonPrefixes", ())]

    def _pages(self, **options: str) -> Iterator[Any]:
        try:
            yield from self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, **options)
        except self._errors as error:
            raise RepositoryError(
                f"{self.url} can't be listed: {error}. Check the bucket, the endpoint and the credentials in AWS_…, and that "
                f"they may list it."
            ) from error

    def open(self, stored: StoredObject, *, check: bool = False) -> BinaryIO:
        """An object's bytes, from beginning to end.

        :param check: compare its checksum when it was read to its end, where its ETag is one.
        :raises BackupError: from reading: ``BACKUP_CHECKSUM_MISMATCH``, or ``BACKUP_UNREADABLE`` when it can't be fetched.
        """
        return cast("BinaryIO", io.BufferedReader(_Reading(self, stored, check=check), 1 << 18))

    def part(self, stored: StoredObject, number: int) -> Any:
        """One part of an object that was sent in parts, or, with number 0, the whole of it.

        :raises DrillError: when it can't be fetched, or was replaced.
        """
        options = {"PartNumber": number} if number else {}
        try:
            return self._client.get_object(Bucket=self._name, Key=stored.key, IfMatch=f'"{stored.etag}"', **options)
        except self._errors as error:
            raise self.unreadable(stored, error) from error

    def read(self, body: Any, size: int, stored: StoredObject) -> bytes:
        """Bytes of an answer's body."""
        try:
            return bytes(body.read(size))
        except self._errors as error:
            raise self.unreadable(stored, error) from error

    def unreadable(self, stored: StoredObject, error: Exception) -> DrillError:
        """The error for an object that can't be fetched."""
        return BackupError(f"{self.place(stored)} can't be read: {error}.", code="BACKUP_UNREADABLE")

    def folder(self, *parts: str) -> Path:
        """Where a folder lies, for messages."""
        return Path(self._name, self.key(*parts))

    def place(self, stored: StoredObject) -> Path:
        """Where an object lies, for messages."""
        return Path(self._name, stored.key)


def checkable(stored: StoredObject) -> bool:
    """Whether an ETag has the form of a checksum."""
    return _ETAG.fullmatch(stored.etag) is not None


def is_checksum(stored: StoredObject, content: bytes) -> bool:
    """Whether the ETag of an object that was read whole is its checksum."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == stored.etag


class _Reading(io.RawIOBase):
    """An object's bytes; part by part where its checksum is of parts."""

    def __init__(self, bucket: Bucket, stored: StoredObject, *, check: bool) -> None:
        self._bucket = bucket
        self._stored = stored
        match = _ETAG.fullmatch(stored.etag) if check else None
        self._check = match is not None
        self._parts = int(match[2] or 0) if match is not None else 0
        self._number = 1 if self._parts else 0
        self._body: Any = None
        self._digests: list[bytes] = []
        self._digest = hashlib.md5(usedforsecurity=False)
        self._ended = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._ended:
            if self._body is None:
                self._body = self._bucket.part(self._stored, self._number)["Body"]
            content = self._bucket.read(self._body, len(buffer), self._stored)
            if content:
                self._digest.update(content)
                buffer[: len(content)] = content
                return len(content)
            self._next_part()
        return 0

    def _next_part(self) -> None:
        self._body.close()
        self._body = None
        self._digests.append(self._digest.digest())
        self._digest = hashlib.md5(usedforsecurity=False)
        self._number += 1
        if self._number > self._parts:
            self._ended = True
            if self._check and self._found() != self._stored.etag:
                raise BackupError(
                    f"{self._bucket.place(self._stored)} does not hold what was stored there: its checksum is another one.",
                    code="BACKUP_CHECKSUM_MISMATCH",
                )

    def _found(self) -> str:
        if not self._parts:
            return self._digests[0].hex()
        return f"{hashlib.md5(b''.join(self._digests), usedforsecurity=False).hexdigest()}-{self._parts}"
