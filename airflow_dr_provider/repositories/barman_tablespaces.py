"""Tablespaces of Barman's backups: they lie beside the data directory, by oid, whatever the links in it say.

An rsync copy has no links; those of pg_basebackup lead to where Barman's home was when the backup was made.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

LINKS = "pg_tblspc"


def moved_tablespaces(data: Path) -> dict[str, Path] | None:
    """Where a data directory's tablespaces lie, by oid; None when its links lead there."""
    places = {path.name: path for path in data.parent.iterdir() if path.name.isdigit() and path.is_dir()}
    led = all((data / LINKS / oid).resolve() == place.resolve() for oid, place in places.items())
    return None if led else places


@contextlib.contextmanager
def laid_out(data: Path) -> Iterator[Path]:
    """A backup as one tree: its data directory, or a folder of links where the tablespaces aren't linked from it."""
    places = moved_tablespaces(data)
    if places is None or not (data / "PG_VERSION").exists():
        yield data  # a tar backup has them in files of their own
        return
    with tempfile.TemporaryDirectory(prefix="dr-barman-") as folder:
        view = Path(folder)
        for entry in data.iterdir():
            if entry.name != LINKS:
                (view / entry.name).symlink_to(entry.absolute())
        (view / LINKS).mkdir()
        for oid, place in places.items():
            (view / LINKS / oid).symlink_to(place.absolute())
        yield view
