"""Read pgBackRest's ``backup.manifest``: which files a backup has, where each is stored, and what it must hold.

The file is made of sections of ``key=value`` lines whose values are JSON. It ends with the SHA-1 of all of them, written as one
JSON object. A key may hold ``=``: it ends at the first one behind which there is JSON (``iniValueNext`` in ``ini.c``).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.manifest import safe_path
from airflow_dr_provider.repositories.compression import ZLIB

NAME = "backup.manifest"
COPY_NAME = "backup.manifest.copy"
SIZE_LIMIT = 1 << 30
"""Bytes; a manifest of four million files is about as large."""
LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?", re.ASCII)

_FORMAT = 5
_SHA1 = re.compile(r"[0-9a-f]{40}")
_EMPTY = hashlib.sha1(usedforsecurity=False).hexdigest()
_SUFFIXES = {"none": "", "gz": ".gz", "lz4": ".lz4", "zst": ".zst", "bz2": ".bz2"}
_BLOCKS = ".pgbi"
_FILES = "target:file"
_TABLESPACE = re.compile(r"pg_tblspc/(\d{1,10})", re.ASCII)


class StoredFile(NamedTuple):
    """One file of the cluster, and where the repository keeps its bytes.

    :param path: relative to the data directory, with ``/``.
    :param size: of its content.
    :param checksum: SHA-1 of its content; "" where the manifest has none.
    :param holder: label of the backup that stores it.
    :param place: of the stored object, relative to that backup's folder; "" for an empty file.
    :param offset: where it begins in that object, and
    :param stored_size: how many bytes it takes there.
    :param stored_checksum: SHA-1 of those; "" where the manifest has none.
    :param compression: of those: the ending that stands for it, "" for none.
    :param bundled: whether the object holds other files too.
    :param blocks: whether it is an increment of blocks, of which only the stored bytes can be compared.
    """

    path: str
    size: int
    checksum: str
    holder: str
    place: str
    offset: int
    stored_size: int
    stored_checksum: str
    compression: str
    bundled: bool
    blocks: bool


@dataclass(frozen=True, kw_only=True)
class BackupManifest:
    """A manifest whose own checksum holds.

    :param major: PostgreSQL's major version.
    :param raw_bundles: whether compression and encryption of the parts of its bundles go without headers.
    :param passphrase: for the backup's files in an encrypted repository; "" in a plain one.
    :param entries: the lines of its files, key and value, not yet taken apart.
    """

    label: str
    system_identifier: int
    major: int
    start_lsn: Lsn | None
    stop_lsn: Lsn | None
    raw_bundles: bool
    passphrase: str = field(repr=False)
    suffix: str
    tablespaces: tuple[str, ...]
    entries: tuple[tuple[bytes, bytes], ...]

    @cached_property
    def files(self) -> tuple[StoredFile, ...]:
        """Every file, in the manifest's order.

        :raises BackupError: ``BACKUP_MANIFEST_DAMAGED`` for an entry that pgBackRest doesn't write.
        """
        files = tuple(self._file(key, value) for key, value in self.entries)
        if len({file.path for file in files}) != len(files):
            raise damaged("it lists a file twice")
        return files

    def _file(self, key: bytes, value: bytes) -> StoredFile:
        name = os.fsdecode(key)
        entry = _object(name, value)
        path = _inside(name)
        size, checksum = _number(name, entry, "size"), _checksum(name, entry, "checksum")
        stored_size = _number(name, entry, "repo-size", size)
        holder = entry.get("reference", self.label)
        if not isinstance(holder, str) or LABEL.fullmatch(holder) is None:
            raise damaged(f"{name!r} refers to {holder!r}, which is no backup's label")
        bundle, blocks = _number(name, entry, "bni", 0), _number(name, entry, "bi", 0) > 0
        place = f"bundle/{bundle}" if bundle else f"{name}{_BLOCKS if blocks else self.suffix}"
        if size == 0:
            # With bundles nothing is stored of it; without, something that no restore needs.
            place, checksum, stored_size = "", _EMPTY, 0
        return StoredFile(
            path=path,
            size=size,
            checksum=checksum,
            holder=holder,
            place=place,
            offset=_number(name, entry, "bno", 0),
            stored_size=stored_size,
            stored_checksum=_checksum(name, entry, "rck"),
            # From 2.46 on the parts of a bundle are written without gzip's header; the other kinds keep theirs.
            compression=ZLIB if bundle and self.raw_bundles and self.suffix == ".gz" else self.suffix,
            bundled=bundle > 0,
            blocks=blocks,
        )


def parse_manifest(content: bytes) -> BackupManifest:
    """Check a manifest's own checksum and read what it says of the backup as a whole.

    :raises BackupError: ``BACKUP_MANIFEST_DAMAGED``, with what is wrong.
    """
    if len(content) > SIZE_LIMIT:
        raise damaged(f"it has {len(content)} bytes, more than the {SIZE_LIMIT} that are read")
    sections = _checked(content)
    backup, database, options = (_values(sections, name) for name in ("backup", "backup:db", "backup:option"))
    if _values(sections, "backrest").get("backrest-format") != _FORMAT:
        raise damaged(f"its format is not {_FORMAT}, the only one known")
    label, identifier, version = backup.get("backup-label"), database.get("db-system-id"), database.get("db-version")
    if not isinstance(label, str) or LABEL.fullmatch(label) is None:
        raise damaged(f"its label {label!r} is not one that pgBackRest gives")
    if type(identifier) is not int or not 0 <= identifier < 1 << 64:
        raise damaged("its system identifier is no 64-bit number")
    if not isinstance(version, str) or re.fullmatch(r"\d{1,2}(\.\d)?", version, re.ASCII) is None:
        raise damaged(f"its PostgreSQL version {version!r} is not one")
    if "target:file" not in sections:
        raise damaged("it lists no file")
    return BackupManifest(
        label=label,
        system_identifier=identifier,
        major=int(version.partition(".")[0]),
        start_lsn=_lsn(backup.get("backup-lsn-start")),
        stop_lsn=_lsn(backup.get("backup-lsn-stop")),
        raw_bundles=backup.get("backup-bundle-raw") is True,
        passphrase=str(_values(sections, "cipher").get("cipher-pass", "")),
        suffix=_suffix(options),
        tablespaces=tuple(
            match[1] for key, _ in sections.get("backup:target", ()) if (match := _TABLESPACE.fullmatch(os.fsdecode(key)))
        ),
        entries=tuple(sections[_FILES]),
    )


# -- the document ------------------------------------------------------------------------------------------------------
def _checked(content: bytes) -> dict[str, list[tuple[bytes, bytes]]]:
    """The lines of each section, when the checksum over all of them is the one at the end."""
    if not content.endswith(b"\n"):
        raise damaged("it is cut off")
    sections: dict[str, list[tuple[bytes, bytes]]] = {}
    promised: Any = None
    digest = hashlib.sha1(b"{", usedforsecurity=False)
    for name, lines in _sections(content):
        if name == "backrest" and len(lines) == 1 and lines[0][0] == b"backrest-checksum":
            promised = _json(name, lines[0][1])
            continue
        if promised is not None or name in sections:
            raise damaged(f"its section [{name}] is out of place")
        digest.update(b"%s%s:{" % (b"}," if sections else b"", _quoted(os.fsencode(name))))
        digest.update(b",".join(b"%s:%s" % (_quoted(key), value) for key, value in lines))
        sections[name] = lines
    digest.update(b"}}")
    if promised is None:
        raise damaged("its own checksum is missing: it is cut off")
    if promised != digest.hexdigest():
        raise damaged("its own checksum does not match")
    return sections


def _sections(content: bytes) -> Iterator[tuple[str, list[tuple[bytes, bytes]]]]:
    name = ""
    lines: list[tuple[bytes, bytes]] = []
    for line in content.split(b"\n"):
        if line.startswith(b"[") and line.endswith(b"]"):
            if lines:
                yield name, lines
            name, lines = os.fsdecode(line[1:-1]), []
        elif line:
            if not name:
                raise damaged("it begins without a section")
            lines.append(_split(line))
    if lines:
        yield name, lines


def _split(line: bytes) -> tuple[bytes, bytes]:
    """A line's key and value."""
    key, separator, value = line.partition(b"=")
    if line.count(b"=") > 1:
        while separator and not _is_json(value):
            more, separator, value = value.partition(b"=")
            key += b"=" + more
    if not separator or not key:
        raise damaged(f"the line {line[:80]!r} is no key and value")
    return key, value


def _is_json(value: bytes) -> bool:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _quoted(key: bytes) -> bytes:
    """A key as pgBackRest writes it in JSON: bytes that JSON doesn't forbid stay as they are."""
    if b"\\" in key or b'"' in key:
        key = key.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    for byte, escaped in ((b"\t", b"\\t"), (b"\r", b"\\r"), (b"\b", b"\\b"), (b"\f", b"\\f")):
        if byte in key:
            key = key.replace(byte, escaped)
    return b'"%s"' % key


# -- values ------------------------------------------------------------------------------------------------------------
def _values(sections: dict[str, list[tuple[bytes, bytes]]], name: str) -> dict[str, Any]:
    return {os.fsdecode(key): _json(name, value) for key, value in sections.get(name, ())}


def _json(name: str, value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise damaged(f"a value of {name!r} is no JSON") from error


def _object(name: str, value: bytes) -> dict[str, Any]:
    entry = _json(name, value)
    if not isinstance(entry, dict):
        raise damaged(f"the entry of {name!r} is no object")
    return entry


def _number(name: str, entry: dict[str, Any], key: str, default: int | None = None) -> int:
    value = entry.get(key, default)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise damaged(f"the {key} of {name!r} is no size")
    return value


def _checksum(name: str, entry: dict[str, Any], key: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str) or (value and _SHA1.fullmatch(value) is None):
        raise damaged(f"the {key} of {name!r} is no SHA-1")
    return value


def _inside(name: str) -> str:
    """Where a file lies in the data directory."""
    path = name.removeprefix("pg_data/")
    if not safe_path(path) or (path == name and not name.startswith("pg_tblspc/")):
        raise damaged(f"the path {name!r} does not lie inside a cluster")
    return path


def _lsn(value: Any) -> Lsn | None:
    if value is None:
        return None
    try:
        return Lsn(value) if isinstance(value, str) else Lsn(-1)
    except ValueError as error:
        raise damaged("its start or stop is no LSN") from error


def _suffix(options: dict[str, Any]) -> str:
    kind = options.get("option-compress-type", "gz" if options.get("option-compress") else "none")
    if not isinstance(kind, str) or kind not in _SUFFIXES:
        raise damaged(f"its compression {kind!r} is unknown")
    return _SUFFIXES[kind]


def damaged(what: str) -> BackupError:
    """The error of a manifest that can't be used."""
    return BackupError(
        f"The backup's manifest is damaged: {what}. Put {COPY_NAME} in its place if that is whole, or take another backup.",
        code="BACKUP_MANIFEST_DAMAGED",
    )
