"""Damage to the newest backup's files: the drill refuses it and takes the one before it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.scenarios.matrix.ground import PAGE, Ground, Make, Row, Seen, flip

OTHER = "secondary with first"
PASSED_OVER = "primary with first"


def on(which: str, damage: Callable[[Path], None]) -> Make:
    """Damage to one file."""

    def make(ground: Ground) -> None:
        damage(ground.file(which))

    return make


def _truncate(pages: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, path.stat().st_size - pages * PAGE)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(PAGE))


def _zero_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(bytes(PAGE))


def _swap_pages(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[PAGE : 2 * PAGE] + content[:PAGE] + content[2 * PAGE :])


def _same_length(path: Path) -> None:
    path.write_text(path.read_text().replace("1", "2", 1))


def _swap_files(ground: Ground) -> None:
    one, two = ground.file("heap"), ground.file("index")
    # Of the same size: what is longer is cut, on both sides.
    size = min(one.stat().st_size, two.stat().st_size)
    tail = one.read_bytes()[size:]
    one.write_bytes(two.read_bytes()[:size] + tail)


def _manifest_byte(ground: Ground) -> None:
    path = ground.file("backup_manifest")
    path.write_text(path.read_text().replace('"Size": 8192', '"Size": 8193', 1))


def _manifest_of_the_other(ground: Ground) -> None:
    ground.file("backup_manifest").write_bytes((ground.folder / "backups" / "first" / "backup_manifest").read_bytes())


def _manifest_without_a_file(ground: Ground) -> None:
    path = ground.file("backup_manifest")
    manifest = json.loads(path.read_text())
    manifest["Files"] = [entry for entry in manifest["Files"] if entry.get("Path") != ground.base.files["heap"]]
    path.write_text(json.dumps(manifest))


def _extra(ground: Ground) -> None:
    (ground.newest / "global" / "99999").write_bytes(bytes(PAGE))


def _folder_gone(ground: Ground) -> None:
    shutil.rmtree(ground.newest / "pg_xact")


def _link(ground: Ground) -> None:
    path = ground.file("heap")
    path.unlink()
    path.symlink_to(ground.folder / "backups" / "first" / ground.base.files["heap"])


def _other_cluster(ground: Ground) -> None:
    shutil.rmtree(ground.newest)
    shutil.copytree(ground.base.other / "backups" / "second", ground.newest, symlinks=True)


def _owner(ground: Ground) -> None:
    for path in [path for path in ground.newest.rglob("*") if path.is_file()]:
        os.chown(ground.own(path), 12345, 12345)


def _own_wal(ground: Ground) -> None:
    for path in (ground.newest / "pg_wal").glob("0*"):
        if path.is_file():
            flip(ground.own(path), 20)


def _rows(*table: tuple[str, str, Make, str, str]) -> tuple[Row, ...]:
    return tuple(Row(name, "backup", how, make, Seen(code, move)) for name, how, make, code, move in table)


def _flips(*names: str) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"byte in {name}", "backup", f"one byte of {name} inverted", on(name, flip), Seen("BACKUP_CHECKSUM_MISMATCH", OTHER)
        )
        for name in names
    )


ROWS = (
    *_flips(
        "heap", "index", "toast", "visibility map", "free space map", "catalog", "global/pg_control", "pg_xact/0000",
        "global/pg_filenode.map", "postgresql.conf",
    ),
    *_rows(
        ("version changed", "PG_VERSION says a version that isn't installed", on("PG_VERSION", _same_length), "version_not_runnable",
         PASSED_OVER),
        ("page zeroed", "a page of a table is all zeros", on("heap", _zero_page), "BACKUP_CHECKSUM_MISMATCH", OTHER),
        ("pages swapped", "two pages of a table have each other's place", on("heap", _swap_pages), "BACKUP_CHECKSUM_MISMATCH",
         OTHER),
        ("files swapped", "a table's file holds an index's, in the same size", _swap_files, "BACKUP_CHECKSUM_MISMATCH", OTHER),
        ("table missing", "a table's file is removed", on("heap", Path.unlink), "BACKUP_FILE_MISSING", OTHER),
        ("control missing", "global/pg_control is removed", on("global/pg_control", Path.unlink), "BACKUP_FILE_MISSING", OTHER),
        ("commit log missing", "the folder pg_xact is removed", _folder_gone, "BACKUP_FILE_MISSING", OTHER),
        ("file extra", "a file that the manifest doesn't list", _extra, "BACKUP_FILE_EXTRA", OTHER),
        ("table truncated", "a table's last page is cut off", on("heap", _truncate(1)), "BACKUP_FILE_SIZE", OTHER),
        ("index emptied", "an index's file is empty", on("index", lambda path: os.truncate(path, 0)), "BACKUP_FILE_SIZE", OTHER),
        ("table grown", "a table's file has a page more", on("heap", _grow), "BACKUP_FILE_SIZE", OTHER),
        ("file is a link", "a table's file is a link to another backup's", _link, "BACKUP_FILE_SIZE", OTHER),
        ("manifest edited", "a size in the manifest is another", _manifest_byte, "manifest_damaged", PASSED_OVER),
        ("manifest rewritten", "the manifest leaves a table out", _manifest_without_a_file, "manifest_damaged", PASSED_OVER),
        ("manifest cut", "the manifest ends in its middle", on("backup_manifest", lambda path: os.truncate(path, 5000)),
         "manifest_damaged", PASSED_OVER),
        ("manifest missing", "the manifest is removed", on("backup_manifest", Path.unlink), "no_manifest", PASSED_OVER),
        ("manifest of another", "the manifest is another backup's", _manifest_of_the_other, "manifest_damaged", PASSED_OVER),
        ("label missing", "backup_label is removed", on("backup_label", Path.unlink), "no_label", PASSED_OVER),
        ("other cluster's backup", "the newest backup is another cluster's", _other_cluster, "other_system", PASSED_OVER),
        ("owner changed", "every file is somebody else's: a restore by root gives files their owner itself", _owner, "RECOVERED",
         "primary with second"),
        ("own WAL damaged", "the WAL that came with the backup is damaged, the archive's is not", _own_wal, "RECOVERED",
         "primary with second"),
    ),
)  # fmt: skip
