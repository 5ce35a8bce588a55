"""What a scan finds in the archive: WAL that is missing, and WAL that doesn't come any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.continuity import holes
from airflow_dr_provider.domain.lineage import ancestry
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.restorable import Standing
from airflow_dr_provider.domain.wal import (
    count_segments,
    range_text,
    segment_name,
    segment_start,
    subtract_ranges,
    union_ranges,
)
from airflow_dr_provider.domain.watch_scan import CatalogScan, CatalogSeen, Found, Hole

NAMED = 20
"""So many stretches of missing WAL are named one by one, the newest; the rest is counted."""

_MEANING = {
    "WAL_HOLE": "is missing though later WAL is there",
    "WAL_SEGMENT_DAMAGED": "is there and can't be used",
    "WAL_LOST": "was the end of the archive and is gone",
}


def end_of_wal(scan: CatalogScan, timeline: int) -> Lsn:
    """The end of a timeline's last usable segment; 0 when it has none."""
    archive = scan.catalog.archive
    usable = subtract_ranges((part for part in archive.ranges if part.timeline == timeline), archive.flawed)
    return segment_start(usable[-1].last + 1, scan.segment_size) if usable else Lsn(0)


def missing_wal(scan: CatalogScan, seen: CatalogSeen | None) -> dict[str, tuple[SegmentRange, ...]]:
    """The segments that are missing, by what became of them; acknowledged ones too.

    What an earlier scan saw at the end of the archive is no lag when it is gone, though nothing behind it tells.
    """
    flawed = scan.catalog.archive.flawed
    gaps = holes(scan.catalog)
    lost = subtract_ranges(_lost(scan, seen), gaps)
    return {
        "WAL_HOLE": subtract_ranges(gaps, flawed),
        "WAL_SEGMENT_DAMAGED": _both((*gaps, *lost), flawed),
        "WAL_LOST": subtract_ranges(lost, flawed),
    }


def wal_findings(scan: CatalogScan, missing: dict[str, tuple[SegmentRange, ...]]) -> Iterator[Found]:
    """A finding for each stretch of missing WAL that nobody acknowledged."""
    for code, parts in missing.items():
        open_parts = subtract_ranges(parts, scan.acknowledged)
        for part in open_parts[-NAMED:]:
            said = f"{range_text(part, scan.segment_size)} {_MEANING[code]}{_stopped(scan.standings, part)}"
            yield Found(code, "archive", said, part)
        rest = open_parts[:-NAMED]
        if rest:
            # Their number is part of the subject: one more is news.
            subject = f"archive, {len(rest)} older stretches"
            said = f"{count_segments(rest)} segments from {segment_name(rest[0].timeline, rest[0].first, scan.segment_size)} on"
            yield Found(code, subject, f"{said}: {code.lower().replace('_', ' ')}")


def named_holes(scan: CatalogScan, missing: dict[str, tuple[SegmentRange, ...]]) -> tuple[Hole, ...]:
    """The missing WAL by its files' names, what is acknowledged and what isn't apart; the newest :data:`NAMED` of each."""
    parts = union_ranges(*missing.values())
    known = _both(parts, scan.acknowledged)
    both = [(part, False) for part in subtract_ranges(parts, known)[-NAMED:]] + [(part, True) for part in known[-NAMED:]]
    size = scan.segment_size
    return tuple(
        Hole(
            first=segment_name(part.timeline, part.first, size),
            last=segment_name(part.timeline, part.last, size),
            acknowledged=acknowledged,
        )
        for part, acknowledged in sorted(both, key=lambda pair: (pair[0].timeline, pair[0].first))
    )


def behind(scan: CatalogScan, now: CatalogSeen, moment: datetime) -> tuple[str, str] | None:
    """A code and a sentence when what could be restored lies further back than the RPO allows.

    The code is "" where production may just be idle: an archive alone can't tell a server that has nothing to say from one
    whose WAL doesn't arrive. A heartbeat can, and so can a backup that ends behind the archive's end.

    :param now: what this scan will remember.
    """
    point = scan.restorable
    if point is None:
        return None
    age = (moment - (point.time or now.advanced_at)).total_seconds()
    if age <= scan.rpo_seconds:
        return None
    span, limit = timedelta(seconds=round(age)), timedelta(seconds=round(scan.rpo_seconds))
    what = f"the last commit that could be restored is {span} old" if point.time else f"no WAL has come for {span}"
    what = f"{what}, the RPO is {limit}"
    if point.hole is not None:
        return "RPO_EXCEEDED", f"{what}: {range_text(point.hole, scan.segment_size)} is missing behind it"
    if now.grew and (moment - now.advanced_at).total_seconds() <= scan.rpo_seconds:
        return "", f"{what}; WAL comes and holds no commit: {_asleep(scan)}"
    ahead = [one.backup.id for one in scan.standings if one.sound and one.reach.on_timeline and _stop(one) > point.lsn]
    if ahead or scan.heartbeat:
        sign = f"backup {ahead[-1]} ends behind {point.lsn}, the archive's end" if ahead else "its heart beats all the time"
        return "ARCHIVE_STALLED", f"{what}, and production lives: {sign}. Look at pg_stat_archiver there."
    return "", f"{what}; {_asleep(scan)}"


def _asleep(scan: CatalogScan) -> str:
    if scan.heartbeat:
        return "look whether the heartbeat is still written"
    return "production may be idle: a heartbeat in the spec would tell"


def _stop(standing: Standing) -> int:
    return standing.backup.stop_lsn or 0


def _lost(scan: CatalogScan, seen: CatalogSeen | None) -> Iterator[SegmentRange]:
    """What an earlier scan saw at the end; of a younger timeline too, which is no longer the latest when its WAL is gone."""
    if seen is None or seen.timeline < scan.timeline or not seen.end_lsn:
        return
    size, last = scan.segment_size, seen.end_lsn // scan.segment_size - 1
    end = end_of_wal(scan, seen.timeline)
    if seen.timeline == scan.timeline and scan.restorable is not None:
        end = max(end, scan.restorable.lsn)  # what a backup carries inside itself is not lost with the archive
    forks = ancestry(scan.catalog.archive, seen.timeline)
    begins = forks[-1].switch_lsn // size if forks else last
    first = end // size if end else begins
    if first <= last:
        yield SegmentRange(timeline=seen.timeline, first=first, last=last)


def _stopped(standings: Sequence[Standing], part: SegmentRange) -> str:
    """What missing WAL costs: how many backups it ends the way of."""
    usable = [standing for standing in standings if standing.sound and standing.reach.on_timeline]
    count = sum(_touches(standing.reach.hole, part) for standing in usable)
    return f"; {count} of {len(usable)} backups can't be recovered beyond it" if count else ""


def _touches(hole: SegmentRange | None, part: SegmentRange) -> bool:
    return hole is not None and hole.timeline == part.timeline and part.first <= hole.first <= part.last


def _both(some: Iterable[SegmentRange], others: Sequence[SegmentRange]) -> tuple[SegmentRange, ...]:
    """The segments that are in both sets."""
    some = union_ranges(some)
    return subtract_ranges(some, subtract_ranges(some, others))
