"""Damage to the WAL archive, and targets that can't be reached."""

from __future__ import annotations

import os
import shutil

from tests.scenarios.matrix.ground import SEGMENT, Ground, Make, Row, Seen, flip

SHORT, SHORT_FIRST = "primary with second, degraded", "primary with first, degraded"
TRIAGE = "manual_triage"


def hole(index: int) -> Make:
    """Without one segment."""

    def make(ground: Ground) -> None:
        (ground.archive / ground.base.segments[index]).unlink()

    return make


def _needed_hole(ground: Ground) -> None:
    """Neither the archive nor the backup itself has the segment that the newest backup begins with."""
    for name in ground.base.needed:
        (ground.archive / name).unlink()
        (ground.newest / "pg_wal" / name).unlink(missing_ok=True)


def _end(ground: Ground) -> str:
    """The end of the last segment, as a target."""
    number = int(ground.base.segments[-1][16:], 16) * SEGMENT
    return f"{{lsn: 0/{number + 4096:X}}}"


def _end_missing(ground: Ground) -> None:
    ground.aim(_end(ground))
    hole(-1)(ground)


def _before_the_end(ground: Ground) -> None:
    number = int(ground.base.needed[0][16:], 16) * SEGMENT
    ground.aim(f"{{lsn: 0/{number + 40:X}}}")


def _record(ground: Ground) -> None:
    """In a segment that a record begins in: the first one of the first page."""
    flip(ground.segment(-3), 60)


def _truncated(ground: Ground) -> None:
    os.truncate(ground.segment(-3), SEGMENT // 2)


def _empty(ground: Ground) -> None:
    os.truncate(ground.segment(-3), 0)


def _zeros(ground: Ground) -> None:
    ground.segment(-3).write_bytes(bytes(SEGMENT))


def _misnamed(ground: Ground) -> None:
    ground.segment(-3).write_bytes((ground.archive / ground.base.segments[-4]).read_bytes())


def _others(ground: Ground) -> None:
    name = ground.base.segments[-3]
    ground.segment(-3).write_bytes((ground.base.other / "archive" / name).read_bytes())


def _other_timeline(ground: Ground) -> None:
    name = ground.base.segments[-3]
    (ground.archive / name).rename(ground.archive / f"00000002{name[8:]}")


def _everything(ground: Ground) -> None:
    shutil.rmtree(ground.archive)


def _empty_archive(ground: Ground) -> None:
    for path in ground.archive.iterdir():
        path.unlink()


def _no_backups(ground: Ground) -> None:
    for path in (ground.folder / "backups").iterdir():
        shutil.rmtree(path)


def aimed(target: str) -> Make:
    """With another target."""
    return lambda ground: ground.aim(target)


def _rows(family: str, *table: tuple[str, str, Make, str, str]) -> tuple[Row, ...]:
    return tuple(Row(name, family, how, make, Seen(code, move)) for name, how, make, code, move in table)


ROWS = (
    *_rows(
        "wal",
        ("hole at the start", "the segment that the newest backup begins with is nowhere", _needed_hole, "WAL_HOLE", SHORT_FIRST),
        ("hole in the middle", "a segment between backup and target is removed", hole(-3), "WAL_HOLE", SHORT),
        ("hole at the end", "the segment with the target is removed", _end_missing, "TARGET_UNREACHABLE", TRIAGE),
        ("record damaged", "a byte of a record is inverted", _record, "WAL_SEGMENT_DAMAGED", "secondary with second"),
        ("segment cut", "a segment has half its length", _truncated, "WAL_HOLE", SHORT),
        ("segment empty", "a segment is empty", _empty, "WAL_HOLE", SHORT),
        ("segment of zeros", "a segment holds zeros", _zeros, "WAL_HOLE", SHORT),
        ("segment misnamed", "a segment's file holds its neighbour's", _misnamed, "WAL_HOLE", SHORT),
        ("other cluster's segment", "a segment is another cluster's", _others, "WAL_HOLE", SHORT),
        ("other timeline's segment", "a segment is named as of timeline 2, which has no history", _other_timeline, "WAL_HOLE",
         SHORT),
        ("archive missing", "the archive's folder is gone", _everything, "ARCHIVE_MISSING", "could_not_verify"),
        ("archive emptied", "the archive holds nothing", _empty_archive, "TARGET_UNREACHABLE", TRIAGE),
        ("no backups", "the folder of backups is empty", _no_backups, "REPOSITORY_EMPTY", "could_not_verify"),
    ),
    *_rows(
        "target",
        ("target before any backup", "a time years ago", aimed('{time: "2001-01-01T00:00:00+00:00"}'), "TARGET_UNREACHABLE",
         TRIAGE),
        ("target before the first backup", "a position in the first segments", aimed("{lsn: 0/200028}"), "TARGET_UNREACHABLE",
         TRIAGE),
        ("target before the backup's end", "the position that the newest backup starts from", _before_the_end,
         "after_target", "primary with first"),
        ("target in the future", "a time to come", aimed('{time: "2999-01-01T00:00:00+00:00"}'), "TARGET_IN_FUTURE", TRIAGE),
        ("target never reached", "a position after the WAL's end", aimed("{lsn: FF/0}"), "TARGET_UNREACHABLE", TRIAGE),
        ("transaction never committed", "a transaction of the future", aimed('{xid: "4000000"}'), "TARGET_UNREACHABLE", TRIAGE),
        ("restore point never made", "a name that nobody gave", aimed("{restore_point: never}"), "TARGET_UNREACHABLE", TRIAGE),
    ),
)  # fmt: skip
