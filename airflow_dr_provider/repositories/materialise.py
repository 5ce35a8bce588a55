"""Write a backup's files to a directory: plain folders copied, tar files unpacked, tablespaces beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.manifest import NAME, TEMPORARY_NAME, safe_path
from airflow_dr_provider.repositories.compression import open_file
from airflow_dr_provider.repositories.halting import carried, check_halt
from airflow_dr_provider.repositories.transfer import copy_content, copy_file

_WRITERS = 2
# What the backup would order a server to do, or says of a server that runs elsewhere, is never carried over.
_LEFT_OUT = frozenset(
    {NAME, TEMPORARY_NAME, "postmaster.pid", "postmaster.opts", "recovery.signal", "standby.signal", "postgresql.auto.conf"}
)
# From it a server would make links to where production's tablespaces lie.
TABLESPACE_MAP = "tablespace_map"


def tablespaces_of(destination: Path) -> Path:
    """Where a data directory's tablespaces go: a folder beside it."""
    return destination.with_name(destination.name + ".tablespaces")


def empty(destination: Path) -> None:
    """Make sure that a data directory is there and holds nothing: an interrupted try may have left something."""
    for place in (destination, tablespaces_of(destination)):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for entry in place.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def link_tablespace(destination: Path, oid: str) -> Path:
    """Make a tablespace's folder and the link to it; relative, so that it holds wherever both are mounted."""
    place = tablespaces_of(destination) / oid
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    link = destination / "pg_tblspc" / oid
    link.parent.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(Path("..", "..", place.parent.name, oid))
    return place


def settle(destination: Path) -> None:
    """Make of what another program wrote what this module writes: no orders to the server, tablespaces beside the directory."""
    for name in (*_LEFT_OUT, TABLESPACE_MAP):
        (destination / name).unlink(missing_ok=True)
    tablespaces = destination / "pg_tblspc"
    for entry in sorted(tablespaces.iterdir()) if tablespaces.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            tablespaces_of(destination).mkdir(mode=0o700, exist_ok=True)
            entry.rename(tablespaces_of(destination) / entry.name)
        link_tablespace(destination, entry.name)


# -- plain -------------------------------------------------------------------------------------------------------------
def copy_plain(source: Path, destination: Path, *, beside: Mapping[str, Path] | None = None) -> int:
    """Copy a plain backup.

    :param beside: where its tablespaces lie, by oid; None for where the links in it lead.
    :return: bytes written.
    """
    empty(destination)
    jobs: list[tuple[Path, Path]] = []
    _plan(source, destination, jobs, top=True)
    links = source / "pg_tblspc"
    if beside is None:
        beside = {entry.name: entry for entry in links.iterdir() if entry.is_dir()} if links.is_dir() else {}
    return _copy(jobs) + copy_tablespaces(beside, destination)


def copy_tablespaces(places: Mapping[str, Path], destination: Path) -> int:
    """Copy tablespaces of a backup that lies in its data directory already.

    :param places: where they lie, by oid.
    :return: bytes written.
    """
    jobs: list[tuple[Path, Path]] = []
    for oid, place in sorted(places.items()):
        _plan(place, link_tablespace(destination, oid), jobs)
    return _copy(jobs)


def _copy(jobs: list[tuple[Path, Path]]) -> int:
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="restore") as pool:
        return sum(pool.map(carried(_copy_job), jobs))


def _plan(source: Path, destination: Path, jobs: list[tuple[Path, Path]], *, top: bool = False) -> None:
    """Make the folders, list the files. Links are not followed: a tablespace's are handled by their own."""
    for entry in sorted(os.scandir(source), key=lambda found: found.name):
        check_halt()
        target = destination / entry.name
        if top and entry.name in (*_LEFT_OUT, TABLESPACE_MAP):
            continue
        if top and entry.name == "pg_tblspc":
            target.mkdir(mode=0o700, exist_ok=True)  # what lies in it is a tablespace, as a link or, copied so, as a folder
            continue
        if entry.is_symlink() and not (top and entry.name == "pg_wal"):
            continue
        if entry.is_dir():
            target.mkdir(mode=0o700, exist_ok=True)
            _plan(Path(entry.path), target, jobs)
        elif entry.is_file():
            jobs.append((Path(entry.path), target))


def _copy_job(job: tuple[Path, Path]) -> int:
    source, target = job
    with source.open("rb") as reader, _create(target) as writer:
        return copy_file(reader, writer)


def _create(target: Path) -> BinaryIO:
    return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR), "wb")


# -- tar ---------------------------------------------------------------------------------------------------------------
def unpack_tars(tars: dict[str, Path], destination: Path) -> int:
    """Unpack the tar files of a backup.

    :param tars: ``base``, tablespaces by oid, and ``pg_wal``.
    :return: bytes written.
    :raises BackupError: ``BACKUP_UNREADABLE`` when one is cut off, or holds something that leads out of its folder.
    """
    empty(destination)
    total = _unpack(tars["base"], destination, top=True)
    for name, path in sorted(tars.items()):
        if name.isdigit():
            total += _unpack(path, link_tablespace(destination, name))
        elif name == "pg_wal":
            (destination / "pg_wal").mkdir(mode=0o700, exist_ok=True)
            total += _unpack(path, destination / "pg_wal")
    return total


def _unpack(path: Path, destination: Path, *, top: bool = False) -> int:
    with open_file(path) as stream:
        return unpack_stream(stream, path, destination, top=top)


def unpack_stream(
    stream: BinaryIO, path: Path, destination: Path | None, *, top: bool = False, manifest: Path | None = None
) -> int:
    """Unpack one tar file.

    :param stream: its content, decompressed.
    :param path: where it lies, for messages.
    :param destination: None to read it only.
    :param top: whether it holds the data directory itself.
    :param manifest: where to put a manifest that lies in it; None to leave it out.
    :return: bytes written.
    :raises BackupError: ``BACKUP_UNREADABLE`` when it is cut off, or holds something that leads out of its folder.
    """
    total = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                check_halt()
                if destination is None:
                    continue
                if top and manifest is not None and member.name.removeprefix("./") == NAME and member.isfile():
                    _extract(archive, member, manifest)
                else:
                    total += _member(archive, member, path, destination, top=top)
            # Reading on to the end shows whether the file was cut off behind its last member.
            while stream.read(1 << 20):
                check_halt()
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{path} can't be unpacked: {error}. Its content is lost.", code="BACKUP_UNREADABLE") from error
    return total


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, destination: Path, *, top: bool) -> int:
    name = member.name.removeprefix("./").rstrip("/")
    if name in ("", "."):
        return 0
    if not safe_path(name):
        raise BackupError(f"{path} holds {member.name!r}, which lies outside of a backup.", code="BACKUP_UNREADABLE")
    if top and (name in _LEFT_OUT or name == TABLESPACE_MAP):
        return 0
    target = destination / name
    if member.isdir():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return 0
    if not member.isfile():
        # Links are tablespaces' and made anew; nothing else belongs into a data directory.
        return 0
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _extract(archive, member, target)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> int:
    content = archive.extractfile(member)
    if content is None:
        return 0
    with _create(target) as writer:
        return copy_content(cast("BinaryIO", content), writer)
