"""What a scan of a catalog brings, what the next one remembers of it, and what is found in between."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from airflow_dr_provider.domain.catalog import Catalog, SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.restorable import Restorable, Standing
from airflow_dr_provider.domain.value import Value


class CatalogScan(Value):
    """A repository as it was read.

    :param timeline: the one that recovery would follow to its end.
    :param standings: every backup, in the order in which they stop.
    :param restorable: None when no backup is usable.
    :param acknowledged: missing WAL that the spec says is known.
    :param heartbeat: whether production writes all the time, so that silence is no idleness.
    """

    catalog: Catalog
    timeline: int
    standings: tuple[Standing, ...]
    restorable: Restorable | None
    acknowledged: tuple[SegmentRange, ...] = ()
    rpo_seconds: float
    lookback_seconds: float
    heartbeat: bool = False
    notes: tuple[str, ...] = ()

    @property
    def segment_size(self) -> int:
        """Bytes of a segment."""
        return self.catalog.archive.segment_size


class CatalogSeen(Value):
    """What a scan remembers of a repository.

    :param timeline: the youngest that any scan followed; *end_lsn* the furthest end of its WAL that any saw.
    :param advanced_at: the scan that saw this end first.
    :param grew: whether an earlier scan saw it end before that; else the WAL may be any time older.
    :param sound: ids of backups with nothing wrong, in the order in which they stop.
    :param spoiled: ids of those that were sound once and are not any more.
    """

    repository: str
    timeline: int
    end_lsn: Lsn
    advanced_at: datetime
    grew: bool = False
    restorable: Restorable | None = None
    sound: tuple[str, ...] = ()
    spoiled: tuple[str, ...] = ()


class Hole(Value):
    """Missing WAL by the names of its first and last file.

    :param acknowledged: whether the spec says that it is known.
    """

    first: str
    last: str
    acknowledged: bool = False


class Found(NamedTuple):
    """Something that a person has to look at: a signature's code, what it is about, a sentence."""

    signature: str
    subject: str
    detail: str
    segments: SegmentRange | None = None
