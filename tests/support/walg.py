"""A stand-in for WAL-G, for want of the real program: as much of it as the adapter calls, on a folder as the storage.

It is a program of its own: ``tests/support/walg_storage.py`` writes a script that starts it. What it prints, where it keeps
what and how it restores follow WAL-G's source (3.0): names of objects, Go's column layout and times, JSON documents, the
format of a delta's pages, which settings it obeys, and that it follows the sentinel's tablespaces unless told otherwise.

Beyond WAL-G's own variables it takes ``STANDIN_VERSION`` (what ``--version`` prints), ``STANDIN_ANSWERS`` (a folder of
recorded answers that it plays: a file named after the command, spaces as dashes), ``STANDIN_CALLS`` (a file that each call
is added to), ``STANDIN_VERSIONED`` (a listing tells of replaced objects, too, as one of a versioned S3 bucket does) and
``STANDIN_FULL`` (a restore finds no room).
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import re
import struct
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

BACKUPS, WAL, TARS = "basebackups_005", "wal_005", "tar_partitions"
SENTINEL = "_backup_stop_sentinel.json"
PAGE = 8192
INCREMENT = b"wi1U"
TABLESPACE_MAP = "tablespace_map"
ZERO_TIME = "0001-01-01 00:00:00 +0000 UTC"
_UTILITY = {"global/pg_control", "backup_label", TABLESPACE_MAP}


def fatal(message: str, code: int = 1) -> NoReturn:
    """End as WAL-G does: its words on the standard error."""
    sys.stderr.write(f"ERROR: {datetime.now(UTC):%Y/%m/%d %H:%M:%S.%f} {message}\n")
    sys.exit(code)


# -- storage -----------------------------------------------------------------------------------------------------------
def root() -> Path:
    """The storage's folder, by the one setting that names it."""
    prefix = os.environ.get("WALG_FILE_PREFIX", "")
    if not prefix:
        fatal("Failed to find any configured storage")
    place = Path(prefix.removeprefix("file://localhost"))
    if not place.is_dir():
        fatal(f"unable to list FS folder {str(place)!r}: no such file or directory")
    return place


def crypt(data: bytes) -> bytes:
    """Encrypt or decrypt, where a key is set."""
    key = os.environ.get("WALG_LIBSODIUM_KEY", "").encode()
    if not key:
        return data
    stream = (key * (len(data) // len(key) + 1))[: len(data)]
    return (int.from_bytes(data, "little") ^ int.from_bytes(stream, "little")).to_bytes(len(data), "little")


def compress(data: bytes, ending: str) -> bytes:
    """Compress by an ending; "" for none."""
    if ending == "gz":
        return gzip.compress(data, 1, mtime=0)
    if ending == "lzma":
        return lzma.compress(data, lzma.FORMAT_ALONE, preset=0)
    if ending == "lz4":
        import lz4.frame

        return bytes(lz4.frame.compress(data, content_checksum=True))
    if ending == "zst":
        import zstandard

        return zstandard.ZstdCompressor(write_checksum=True).compress(data)
    return data


def decompress(data: bytes, ending: str) -> bytes:
    """Decompress by an ending.

    :raises Exception: of the library, for data that is damaged or cut off.
    """
    if ending == "gz":
        return gzip.decompress(data)
    if ending == "lzma":
        return lzma.decompress(data, lzma.FORMAT_ALONE)
    if ending == "lz4":
        import lz4.frame

        return bytes(lz4.frame.decompress(data))
    if ending == "zst":
        import zstandard

        return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return data


def ending_of(name: str) -> str:
    """The ending that stands for a compression, "" for none."""
    ending = name.rpartition(".")[2]
    return ending if ending in ("gz", "lzma", "lz4", "zst") else ""


def content(path: Path) -> bytes:
    """An object's content."""
    return decompress(crypt(path.read_bytes()), ending_of(path.name))


def go_time(seconds: float) -> str:
    """A time as Go prints it."""
    text = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
    return f"{text} +0000 UTC"


# -- st ----------------------------------------------------------------------------------------------------------------
def st_ls(arguments: list[str]) -> None:
    recursive = "-r" in arguments
    names = [argument for argument in arguments if argument != "-r"]
    place = root() / (names[0] if names else "")
    place.mkdir(parents=True, exist_ok=True)  # WAL-G makes a folder of a file system by looking at it
    rows: list[tuple[str, str, str, str]] = []
    if recursive:
        files = sorted(path for path in place.rglob("*") if path.is_file())
        rows = [
            ("obj", str(path.stat().st_size), go_time(path.stat().st_mtime), str(path.relative_to(place))) for path in files
        ]
    else:
        entries = sorted(place.iterdir())
        rows = [("dir", "0", ZERO_TIME, f"{entry.name}/") for entry in entries if entry.is_dir()]
        rows += [
            ("obj", str(entry.stat().st_size), go_time(entry.stat().st_mtime), entry.name)
            for entry in entries
            if entry.is_file()
        ]
    versioned = os.environ.get("STANDIN_VERSIONED") and os.environ.get("S3_ENABLE_VERSIONING") != "disabled"
    table = [("type", "size", "last modified", "name"), *rows]
    widths = [max(len(row[column]) for row in table) + 1 for column in range(3)]
    for row in table:
        line = "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[3]
        sys.stdout.write(f"{line}\n")
        if versioned and row[0] == "obj":
            sys.stdout.write(f"{line} nullversion LATEST\n")


def st_cat(arguments: list[str]) -> None:
    names = [argument for argument in arguments if not argument.startswith("--")]
    path = root() / names[0]
    if not path.is_file():
        fatal(f"download the file: object '{path}' not found in storage")
    data = path.read_bytes()
    if "--decrypt" in arguments:
        data = crypt(data)
    if "--decompress" in arguments:
        try:
            data = decompress(data, ending_of(path.name))
        except Exception as error:
            fatal(f"download the file: {error}")
    sys.stdout.buffer.write(data)


# -- backups -----------------------------------------------------------------------------------------------------------
def backup_list() -> None:
    folder = root() / BACKUPS
    listed = []
    for path in folder.glob(f"*{SENTINEL}"):
        name = path.name.removesuffix(SENTINEL)
        try:
            metadata = json.loads((folder / name / "metadata.json").read_text())
        except (OSError, ValueError) as error:
            fatal(f"failed to fetch dto from {name}/metadata.json: {error}")
        listed.append(
            {
                "backup_name": name,
                "time": f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
                "wal_file_name": (re.findall("[0-9A-F]{24}", name) or ["Z" * 24])[0],
                "storage_name": "default",
                **metadata,
            }
        )
    listed.sort(key=lambda entry: entry["start_time"])
    print(json.dumps(listed))


def backup_fetch(arguments: list[str]) -> None:
    options = {"--restore-spec": ""}
    places: list[str] = []
    while arguments:
        argument = arguments.pop(0)
        if argument in options:
            options[argument] = arguments.pop(0)
        else:
            places.append(argument)
    destination, name = Path(places[0]), places[1]
    if not (root() / BACKUPS / f"{name}{SENTINEL}").is_file():
        fatal(f"Backup '{name}' does not exist.")
    if any(destination.iterdir()):
        fatal(f"Directory {destination} for delta base must be empty")
    given = json.loads(Path(options["--restore-spec"]).read_text()) if options["--restore-spec"] else None
    files = {plain(file) for file in documents(name)[1].get("Files", {})} | _UTILITY
    if given is not None:
        files.discard(TABLESPACE_MAP)
    if os.environ.get("STANDIN_FULL"):
        fatal(f"failed to extract files:\npart_001: write {destination}/base/1/1259: no space left on device")
    fetch_one(name, destination, given, files)


def documents(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A backup's sentinel and its files' metadata."""
    folder = root() / BACKUPS
    sentinel = json.loads((folder / f"{name}{SENTINEL}").read_text())
    if sentinel.get("FilesMetadataDisabled"):
        return sentinel, {}
    try:
        return sentinel, json.loads((folder / name / "files_metadata.json").read_text())
    except (OSError, ValueError) as error:
        fatal(f"failed to fetch files metadata: {error}")


def fetch_one(name: str, destination: Path, spec: dict[str, Any] | None, wanted: set[str]) -> None:
    """A backup, after the one that it builds on."""
    sentinel, metadata = documents(name)
    spec = spec if spec is not None else sentinel.get("Spec")
    described = {plain(file): text for file, text in metadata.get("Files", {}).items()}
    if sentinel.get("DeltaFrom"):
        needed = {
            file for file in wanted if described.get(file, {}).get("IsSkipped") or described.get(file, {}).get("IsIncremented")
        }
        fetch_one(sentinel["DeltaFrom"], destination, spec, needed)
    make_tablespaces(spec)
    for tar in sorted(
        (root() / BACKUPS / name / TARS).iterdir(), key=lambda path: (path.name.startswith("pg_control"), path.name)
    ):
        try:
            unpack(io.BytesIO(content(tar)), destination, described, wanted if described else None)
        except Exception as error:
            fatal(f"failed to extract files:\n{tar.name}: {error}")


def make_tablespaces(spec: dict[str, Any] | None) -> None:
    for oid in (spec or {}).get("tablespaces") or ():
        place, link = Path(spec[oid]["loc"]), Path(spec["base_prefix"], spec[oid]["link"])
        place.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(place)
        elif Path(os.readlink(link)) != place:
            fatal(f"error creating correct tablespace symlink symlink {link} having incorrect target")


def unpack(stream: BinaryIO, destination: Path, described: dict[str, Any], wanted: set[str] | None) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            name = plain(member.name)
            target = destination / name
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.issym():
                target.symlink_to(member.name)  # to its own name, as WAL-G does it
            elif member.isfile() and (wanted is None or name in wanted):
                data = archive.extractfile(member)
                assert data is not None
                target.parent.mkdir(parents=True, exist_ok=True)
                if described.get(name, {}).get("IsIncremented"):
                    apply_increment(target, data.read())
                else:
                    target.write_bytes(data.read())


def plain(name: str) -> str:
    """A path without the slash that WAL-G writes before it."""
    return name.removeprefix("./").lstrip("/")


# -- deltas ------------------------------------------------------------------------------------------------------------
def make_increment(data: bytes, since: int) -> bytes:
    """The pages of a file that changed after a position, as WAL-G writes them."""
    blocks = [block for block in range(len(data) // PAGE) if page_lsn(data, block) >= since]
    head = INCREMENT + struct.pack("<QI", len(data), len(blocks)) + struct.pack(f"<{len(blocks)}I", *blocks)
    return head + b"".join(data[block * PAGE : (block + 1) * PAGE] for block in blocks)


def page_lsn(data: bytes, block: int) -> int:
    high, low = struct.unpack_from("<II", data, block * PAGE)
    return int(high) << 32 | int(low)


def apply_increment(target: Path, increment: bytes) -> None:
    if increment[:4] != INCREMENT:
        raise ValueError("Invalid increment file header")
    size, count = struct.unpack_from("<QI", increment, 4)
    blocks = struct.unpack_from(f"<{count}I", increment, 16)
    with target.open("r+b") as file:
        file.truncate(size)
        for index, block in enumerate(blocks):
            start = 16 + 4 * count + index * PAGE
            file.seek(block * PAGE)
            file.write(increment[start : start + PAGE])


# -- the program -------------------------------------------------------------------------------------------------------
def played(arguments: list[str]) -> bool:
    """Play a recorded answer, where there is one."""
    folder = os.environ.get("STANDIN_ANSWERS")
    if not folder:
        return False
    name = "-".join(argument.strip("-/").replace("/", "_") for argument in arguments)
    path = Path(folder, name)
    if not path.is_file():
        return False
    sys.stdout.buffer.write(path.read_bytes())
    return True


def main(arguments: list[str]) -> None:
    calls = os.environ.get("STANDIN_CALLS")
    if calls:
        with open(calls, "a") as file:
            file.write(" ".join(arguments) + "\n")
    if arguments == ["--version"]:
        print(os.environ.get("STANDIN_VERSION", "wal-g version v3.0.7\t7e2fa73\t2025.03.18_11:14:24\tPostgreSQL"))
    elif not played(arguments):
        command, rest = (arguments[:2], arguments[2:]) if arguments[:1] == ["st"] else (arguments[:1], arguments[1:])
        match command:
            case ["st", "ls"]:
                st_ls(rest)
            case ["st", "cat"]:
                st_cat(rest)
            case ["backup-list"]:
                backup_list()
            case ["backup-fetch"]:
                backup_fetch(rest)
            case _:
                fatal(f'unknown command {" ".join(arguments)!r} for "wal-g"')


if __name__ == "__main__":
    main(sys.argv[1:])
