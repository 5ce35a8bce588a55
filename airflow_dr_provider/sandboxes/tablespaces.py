"""Tablespaces that production made after the backup.

Replaying ``CREATE TABLESPACE`` makes a folder at production's own path, and empties one that is there. In a root directory
of the sandbox's own that path is given a folder of the sandbox. Where the server sees the host's files it must not happen at
all: on production's host it would be production's tablespace that is emptied. So the WAL is read first.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.postgresql.command import run
from airflow_dr_provider.postgresql.programs import Programs
from airflow_dr_provider.sandboxes.place import Place

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_CREATE = re.compile(r'rmgr: Tablespace .*\blsn: ([0-9A-F]+/[0-9A-F]+), .*desc: CREATE \d+ "(.*)"')
_START = re.compile(r"^START WAL LOCATION: ([0-9A-F]+/[0-9A-F]+) ", re.MULTILINE)


async def refuse_outside(programs: Programs, place: Place, coordinate: RestoreCoordinate) -> None:
    """See that no WAL between the backup and the target makes a tablespace.

    :raises SandboxError: ``ISOLATION_UNAVAILABLE`` when some does.
    """
    between = (_backup_start(place.data), coordinate.target.lsn)
    for folder in (place.wal, place.data / "pg_wal"):
        names = sorted(path.name for path in folder.iterdir() if _SEGMENT.fullmatch(path.name)) if folder.is_dir() else []
        for first, last in runs(names, segment_size=coordinate.segment_size):
            locations = await _created(programs, folder, first, last, between)
            if locations is None:
                # A record that can't be read ends the walk; recovery would end there too, but not the segments behind it.
                for name in (name for name in names if first <= name <= last):
                    locations = await _created(programs, folder, name, name, between)
                    _refuse(locations or ())
            _refuse(locations or ())


def _backup_start(data: Path) -> Lsn:
    """Where replay begins (``backup_label``); the very beginning when nothing says so."""
    try:
        match = _START.search((data / "backup_label").read_text())
    except OSError:
        match = None
    return Lsn(match[1] if match else 0)


def _refuse(locations: tuple[str, ...]) -> None:
    if locations:
        raise SandboxError(
            f"The WAL up to the target makes a tablespace at {locations[0]}, and this sandbox sees the host's own folders: "
            "replayed here it could empty what lies there. Run this tier where mount namespaces are possible "
            "(sandbox.isolation: required).",
            code="ISOLATION_UNAVAILABLE",
            facts={"locations": list(locations)},
        )


async def _created(programs: Programs, folder: Path, first: str, last: str, between: tuple[Lsn, Lsn]) -> tuple[str, ...] | None:
    done = await run((programs.path("pg_waldump"), "-p", str(folder), "-r", "Tablespace", first, last), cwd=folder)
    made = ((Lsn(position), location) for position, location in _CREATE.findall(done.out))
    locations = tuple(location for position, location in made if between[0] <= position <= between[1])
    return locations if locations or done.code == 0 else None


def runs(names: list[str], *, segment_size: int) -> list[tuple[str, str]]:
    """The first and last name of each run of consecutive segments of one timeline, of sorted names."""
    if not names:
        return []
    per_file = (1 << 32) // segment_size
    numbers = [(int(name[:8], 16), int(name[8:16], 16) * per_file + int(name[16:], 16)) for name in names]
    cuts = [0]
    for index, (one, next_one) in enumerate(pairwise(numbers), 1):
        if next_one != (one[0], one[1] + 1):
            cuts.append(index)
    return [(names[start], names[end - 1]) for start, end in zip(cuts, (*cuts[1:], len(names)), strict=True)]
