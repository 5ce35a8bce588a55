"""Make a WAL-G storage from what a real PostgreSQL wrote: plain base backups and a WAL archive."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.postgresql.backup_label import parse_label
from airflow_dr_provider.postgresql.controlfile import PATH as CONTROL_FILE
from airflow_dr_provider.postgresql.controlfile import read_system_identifier
from airflow_dr_provider.postgresql.manifest import read_manifest
from tests.support import walg

_LEFT_OUT = {"backup_manifest", "postmaster.pid", "postmaster.opts", "standby.signal", "recovery.conf"}
_EMPTIED = {
    "pg_wal",
    "pg_replslot",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_dynshmem",
    "log",
}
_PAGED = re.compile(r"(base|pg_tblspc)/.*/\d+(\.\d+)?")


@dataclass
class Storage:
    """A storage, and the settings file for it.

    :param ending: of the compression, "" for none.
    :param key: encrypts all but the documents; "" for none.
    """

    folder: Path
    ending: str = "lz4"
    key: str = ""

    @property
    def backups(self) -> Path:
        return self.folder / "walg" / walg.BACKUPS

    @property
    def wal(self) -> Path:
        return self.folder / "walg" / walg.WAL

    @property
    def settings(self) -> Path:
        return self.folder / "walg.env"

    @property
    def program(self) -> Path:
        return self.folder / "wal-g"

    def make(self, **more: str) -> Storage:
        """Make folders, program and settings."""
        self.backups.mkdir(parents=True)
        self.wal.mkdir()
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{walg.__file__}" "$@"\n')
        self.program.chmod(0o755)
        self.configure(**more)
        return self

    def configure(self, **more: str) -> None:
        """Write the settings file."""
        settings = {"WALG_FILE_PREFIX": str(self.folder / "walg"), **more}
        if self.key:
            settings["WALG_LIBSODIUM_KEY"] = self.key
        self.settings.write_text("# settings\n" + "".join(f"export {name}='{value}'\n" for name, value in settings.items()))

    # -- WAL -----------------------------------------------------------------------------------------------------------
    def push_wal(self, archive: Path) -> None:
        """Push every file of a WAL archive."""
        for path in sorted(archive.iterdir()):
            self.put_wal(path.name, path.read_bytes())

    def put_wal(self, name: str, data: bytes) -> Path:
        """Put one file into the WAL folder."""
        path = self.wal / self._named(name)
        path.write_bytes(self._stored(data))
        return path

    def wal_file(self, name: str) -> Path:
        """Where a WAL file lies."""
        return self.wal / self._named(name)

    def _named(self, name: str) -> str:
        return f"{name}.{self.ending}" if self.ending else name

    def _stored(self, data: bytes) -> bytes:
        compressed = walg.compress(data, self.ending)
        if not self.key:
            return compressed
        os.environ["WALG_LIBSODIUM_KEY"] = self.key
        try:
            return walg.crypt(compressed)
        finally:
            del os.environ["WALG_LIBSODIUM_KEY"]

    # -- backups -------------------------------------------------------------------------------------------------------
    def push_backup(
        self, plain: Path, *, delta_from: tuple[str, Path] | None = None, spaces: dict[str, Path] | None = None
    ) -> str:
        """Push a plain base backup as WAL-G would have pushed the data directory.

        :param delta_from: name and plain backup of the one to build on.
        :param spaces: where production's tablespaces lie, by oid.
        :return: its name.
        """
        label = parse_label((plain / "backup_label").read_text())
        name = f"base_{label.start_segment}"
        since = None
        if delta_from is not None:
            base = parse_label((delta_from[1] / "backup_label").read_text())
            name, since = f"{name}_D_{base.start_segment}", base.start_lsn
        folder = self.backups / name
        (folder / walg.TARS).mkdir(parents=True)
        files, sets = self._tars(folder / walg.TARS, plain, delta_from[1] if delta_from else None, since)
        (folder / "files_metadata.json").write_text(json.dumps({"Files": files, "TarFileSets": sets}))
        finish = max(part.end for part in read_manifest(plain / "backup_manifest").wal_ranges)
        self._documents(name, plain, label.start_lsn, finish, delta_from[0] if delta_from else None, since, spaces or {})
        return name

    def _tars(
        self, place: Path, plain: Path, base: Path | None, since: Lsn | None
    ) -> tuple[dict[str, Any], dict[str, list[str]]]:
        files: dict[str, Any] = {"/": described()}
        sets: dict[str, list[str]] = {}
        # Removed between the walk and the packing: only the set tells of it.
        parts: list[list[Member]] = [[Member("", None), Member("base/1/99999", None, packed=False)], []]
        control: list[Member] = []
        for number, (name, path) in enumerate(tree(plain)):
            if path.is_symlink() or path.is_dir():
                files[f"/{name}"] = described()
                parts[0].append(Member(name, None, link=path.is_symlink() and not name.startswith("pg_tblspc/")))
            elif name == CONTROL_FILE:
                control.append(Member(name, path.read_bytes()))
            elif name not in ("backup_label", walg.TABLESPACE_MAP):
                member, files[f"/{name}"] = packed(name, path.read_bytes(), base / name if base is not None else None, since)
                parts[number % 2] += [member] if member is not None else []
        labels = [
            Member(name, (plain / name).read_bytes() if (plain / name).exists() else b"")
            for name in ("backup_label", walg.TABLESPACE_MAP)
        ]
        tars = {"part_001": parts[0], "part_002": parts[1], "pg_control": control, "backup_label": labels}
        for tar, members in tars.items():
            stored = self._named(f"{tar}.tar")
            slash = "" if tar == "backup_label" else "/"
            sets[stored] = [f"{slash}{member.name}" for member in members]
            (place / stored).write_bytes(self._stored(tar_of(members, slash)))
        return files, sets

    def _documents(
        self, name: str, plain: Path, start: Lsn, finish: Lsn, base: str | None, since: Lsn | None, spaces: dict[str, Path]
    ) -> None:
        major = int((plain / "PG_VERSION").read_text().split(".")[0])
        sizes = sum(path.stat().st_size for _, path in tree(plain) if path.is_file())
        times = (plain / "backup_label").stat().st_mtime, (plain / "backup_manifest").stat().st_mtime
        started, finished = (f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%S.%fZ}" for time in times)
        identifier = read_system_identifier(plain)
        metadata = {
            "start_time": started,
            "finish_time": finished,
            "date_fmt": "%Y-%m-%dT%H:%M:%S.%fZ",
            "hostname": "db1",
            "data_dir": "/production/data",
            "pg_version": major * 10_000 + 6,
            "start_lsn": int(start),
            "finish_lsn": int(finish),
            "is_permanent": False,
            "system_identifier": identifier,
            "uncompressed_size": sizes,
            "compressed_size": sizes // 3,
        }
        (self.backups / name / "metadata.json").write_text(json.dumps(metadata))
        sentinel: dict[str, Any] = {
            "LSN": int(start),
            "PgVersion": major * 10_000 + 6,
            "FinishLSN": int(finish),
            "SystemIdentifier": identifier,
            "UncompressedSize": sizes,
            "CompressedSize": sizes // 3,
            "Spec": {
                "base_prefix": "/production/data",
                "tablespaces": list(spaces),
                **{oid: {"loc": str(place), "link": f"pg_tblspc/{oid}"} for oid, place in spaces.items()},
            },
            "ChkpNum": None,
            "Version": 2,
        }
        if base is not None and since is not None:
            full = json.loads((self.backups / f"{base}{walg.SENTINEL}").read_text())
            sentinel |= {
                "DeltaLSN": int(since),
                "DeltaFrom": base,
                "DeltaFullName": full.get("DeltaFullName", base),
                "DeltaCount": full.get("DeltaCount", 0) + 1,
            }
        (self.backups / f"{name}{walg.SENTINEL}").write_text(json.dumps(sentinel))


@dataclass(frozen=True)
class Member:
    """One entry of a tar file.

    :param data: None for a folder or a link.
    :param packed: False for what is in its set only.
    """

    name: str
    data: bytes | None
    link: bool = False
    packed: bool = True


def described(**more: bool) -> dict[str, Any]:
    """What WAL-G notes of a file."""
    return {"IsIncremented": False, "IsSkipped": False, "MTime": "2026-11-22T21:13:43Z", "UpdatesCount": 0, **more}


def packed(name: str, data: bytes, before: Path | None, since: Lsn | None) -> tuple[Member | None, dict[str, Any]]:
    """A file as a backup holds it: whole, as the pages that changed since its base, or not at all."""
    if before is None or since is None or not before.is_file():
        return Member(name, data), described()
    if before.read_bytes() == data:
        return None, described(IsSkipped=True)
    if _PAGED.fullmatch(name) and data and len(data) % walg.PAGE == 0:
        return Member(name, walg.make_increment(data, since)), described(IsIncremented=True)
    return Member(name, data), described()


def tree(plain: Path) -> list[tuple[str, Path]]:
    """What a push walks through: paths below the data directory, tablespaces followed."""
    found: list[tuple[str, Path]] = []
    for folder, folders, files in os.walk(plain, followlinks=True):
        relative = os.path.relpath(folder, plain)
        prefix = "" if relative == "." else f"{relative}/"
        if prefix and not os.path.islink(folder):
            found.append((prefix.rstrip("/"), Path(folder)))
        if prefix.rstrip("/") in _EMPTIED:
            folders.clear()
            continue
        folders.sort()
        found += [(f"{prefix}{name}", Path(folder, name)) for name in sorted(files) if f"{prefix}{name}" not in _LEFT_OUT]
    return found


def tar_of(members: list[Member], slash: str) -> bytes:
    """A tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            if not member.packed:
                continue
            entry = tarfile.TarInfo(f"{slash}{member.name}")
            entry.mode = 0o700 if member.data is None else 0o600
            entry.type = tarfile.SYMTYPE if member.link else tarfile.DIRTYPE if member.data is None else tarfile.REGTYPE
            entry.linkname = Path(member.name).name if member.link else ""
            entry.size = len(member.data or b"")
            archive.addfile(entry, io.BytesIO(member.data or b""))
    return buffer.getvalue()
