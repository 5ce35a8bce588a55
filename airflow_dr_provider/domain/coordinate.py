"""The restore coordinate: the outcome of selection, and all that a restore has to know."""

from __future__ import annotations

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.target import ResolvedTarget
from airflow_dr_provider.domain.value import Value


class RestoreCoordinate(Value):
    """Backup + timeline + target, and the WAL between them.

    :param system_identifier: of the cluster that the backup is of, None where its tool doesn't tell.
    :param wal: segments to fetch from the archive, in replay order, holes left out.
    :param histories: timelines whose ``.history`` file recovery needs.
    :param short: True when the target is not the run's own but the last point before a hole: a degraded recovery.
    """

    backup_id: str
    chain: tuple[str, ...] = ()
    server_version: int
    system_identifier: int | None = None
    target: ResolvedTarget
    wal: tuple[SegmentRange, ...] = ()
    histories: tuple[int, ...] = ()
    segment_size: int
    size_bytes: int = 0
    short: bool = False
