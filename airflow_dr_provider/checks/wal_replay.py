"""Did recovery reach its target, on the right timeline, over sound WAL?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from psycopg import errors

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.parallel import any_connection
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import ResolvedTarget
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

# After the last record before an exclusive target there may be a page's long header (40 bytes: XLogLongPageHeaderData).
_PAGE_HEADER = 40
_FORK = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)\s+(.*)$")


class WalReplayCheck:
    """Compares where recovery ended with where it had to end, and asks the promoted server why its timeline began.

    Proves that every record up to the target was replayed on the chosen timeline: by the replay position, and independently by
    the history file that PostgreSQL wrote when it was promoted, whose reason says ``no recovery target specified`` where a
    server opened silently at the end of the WAL it found. Can't prove that the WAL holds everything production had written.
    """

    name: ClassVar[str] = "wal_replay"
    default_timeout: ClassVar[float] = 30.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Judge the recovery's report first, then the live server."""
        fork = await last_fork(context)
        code, detail = _judge(context, fork)
        recovery, target, wal = context.recovery, context.coordinate.target, context.wal
        facts: dict[str, Any] = {
            "target_lsn": str(target.lsn),
            "target_inclusive": target.inclusive,
            "target_timeline": target.timeline,
            "replayed_lsn": None if recovery.replayed_lsn is None else str(recovery.replayed_lsn),
            "timeline": recovery.timeline,
            "short": context.coordinate.short,
            "promotion": fork,
        }
        verdict = Verdict.PASSED
        if code is not None:
            unknown = recovery.reached and (recovery.replayed_lsn is None or recovery.timeline is None)
            known_bad = bool(wal.missing or wal.damaged)
            verdict = Verdict.COULD_NOT_VERIFY if unknown and not known_bad else Verdict.FAILED
        short = (
            f" This is short of what was asked for: {target.note or 'the archive has a hole before the target'}."
            if context.coordinate.short
            else ""
        )
        return (
            CheckResult(
                name=self.name,
                verdict=verdict,
                signature=code,
                detail=detail + short,
                measurements={
                    "recovery_seconds": recovery.seconds,
                    "wal_segments": float(wal.segments),
                    "wal_bytes": float(wal.bytes_read),
                },
                facts=facts,
            ),
        )


def _judge(context: CheckContext, fork: dict[str, Any] | None) -> tuple[str | None, str]:
    """The first thing that is wrong, as a signature's code and a sentence; None when nothing is."""
    recovery, target, wal = context.recovery, context.coordinate.target, context.wal
    if not recovery.reached:
        return (
            "RECOVERY_ENDED_EARLY",
            f"Recovery did not reach {target.lsn}; it got to {recovery.replayed_lsn or 'an unknown point'}.",
        )
    if wal.missing:
        return (
            "WAL_HOLE",
            f"{_segments(wal.missing)} WAL segments on the way to {target.lsn} were not in the archive. {wal.detail}".strip(),
        )
    if wal.damaged:
        return "WAL_SEGMENT_DAMAGED", f"{_segments(wal.damaged)} WAL segments can't be decoded. {wal.detail}".strip()
    if recovery.replayed_lsn is None:
        return "RECOVERY_ENDED_EARLY", "The sandbox doesn't say how far the WAL was replayed, so the target can't be confirmed."
    wrong = _position(recovery.replayed_lsn, target)
    if wrong is not None:
        return wrong
    if recovery.timeline is None:
        return "TIMELINE_MISMATCH", "The sandbox doesn't say which timeline was replayed."
    if recovery.timeline != target.timeline:
        return "TIMELINE_MISMATCH", f"Timeline {recovery.timeline} was replayed, and the target lies on {target.timeline}."
    if fork is not None:
        wrong = _promotion(fork, target)
        if wrong is not None:
            return wrong
    inclusive = "with" if target.inclusive else "before"
    return None, f"Replayed to {recovery.replayed_lsn} on timeline {recovery.timeline}, {inclusive} the record at {target.lsn}."


def _position(position: Lsn, target: ResolvedTarget) -> tuple[str, str] | None:
    """Whether an end of replay fits the target. The position after the target's own record is greater than its start."""
    if target.inclusive and position <= target.lsn:
        return "RECOVERY_ENDED_EARLY", f"Replay ended at {position}, before the record at {target.lsn} that it had to replay."
    if not target.inclusive:
        if position > target.lsn:
            return (
                "TARGET_UNREACHABLE",
                f"Replay went on to {position}, past the record at {target.lsn} that it had to stop before.",
            )
        if position < target.lsn - _PAGE_HEADER:
            return "RECOVERY_ENDED_EARLY", f"Replay ended at {position}, though the WAL goes on to {target.lsn}."
    return None


def _promotion(fork: dict[str, Any], target: ResolvedTarget) -> tuple[str, str] | None:
    if fork["parent"] != target.timeline:
        return (
            "TIMELINE_MISMATCH",
            f"The server was promoted from timeline {fork['parent']}, and the target lies on {target.timeline}.",
        )
    if "no recovery target" in fork["reason"]:
        return "RECOVERY_ENDED_EARLY", f"The server opened by itself at {fork['lsn']}: its history says {fork['reason']!r}."
    return _position(Lsn(fork["lsn"]), target)


async def last_fork(context: CheckContext) -> dict[str, Any] | None:
    """The last line of the live timeline's history: its parent, the switch point and the reason; None when not promoted."""
    if not context.recovery.reached:
        return None
    async with await any_connection(context) as connection:
        row = await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone()
        if row is None or row[0]:
            return None
        try:
            # Its form without a length came with version 16.
            cursor = await connection.execute(
                "SELECT pg_read_file('pg_wal/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.history', 0, 1048576, true)"
            )
        except (errors.InsufficientPrivilege, errors.UndefinedFunction):
            return None
        text = await cursor.fetchone()
    lines = [match for match in map(_FORK.match, (text[0] or "").splitlines()) if match] if text else []
    if not lines:
        return None
    last = lines[-1]
    return {"parent": int(last[1]), "lsn": last[2], "reason": last[3].strip()}


def _segments(ranges: Sequence[Any]) -> int:
    return sum(item.last - item.first + 1 for item in ranges)
