"""Whether the disk holds what a restore writes, asked before anything is written."""

from __future__ import annotations

import shutil

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.sandboxes.place import Place, unusable

_MEBIBYTE = 1 << 20
_RESERVE = 128 * _MEBIBYTE
"""For the log, temporary files of checks, and what replay adds to tables."""
_WORKING_WAL = 1 << 30
"""At most so many bytes of WAL does a recovering server keep a second time (``max_wal_size``)."""


def needed_bytes(coordinate: RestoreCoordinate) -> int:
    """The cluster and a twentieth for its growth, the fetched WAL, what of it recovery keeps, and a reserve."""
    wal = sum(part.last - part.first + 1 for part in coordinate.wal) * coordinate.segment_size
    return coordinate.size_bytes + coordinate.size_bytes // 20 + wal + min(wal, _WORKING_WAL) + _RESERVE


def require_room(place: Place, coordinate: RestoreCoordinate) -> None:
    """See that the disk holds the cluster, the fetched WAL, what of it recovery keeps, and a reserve."""
    needed = needed_bytes(coordinate)
    folder = place.workdir
    try:
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise unusable(place.workdir, error) from error
    if free < needed:
        raise SandboxError(
            f"{place.workdir} has {free // _MEBIBYTE} MiB free, and the restore of {coordinate.backup_id} needs "
            f"{needed // _MEBIBYTE} MiB. Make room, or name another work folder.",
            code="DISK_FULL",
            facts={"needed_bytes": needed, "free_bytes": free},
        )
