"""The order among eligible backups: whole numbers, each term shown, so that anybody can add them up again."""

from __future__ import annotations

from airflow_dr_provider.domain.catalog import Backup
from airflow_dr_provider.domain.target import ResolvedTarget, StoppingPoint
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.wal import segment_of

SEGMENTS_COUNTED = 999_999
CHAIN_COUNTED = 8


class Term(Value):
    """One part of a score: it adds *value* times *weight*."""

    name: str
    value: int
    weight: int


def terms(backup: Backup, target: ResolvedTarget, short: StoppingPoint | None, segment_size: int) -> tuple[Term, ...]:
    """What speaks for and against an eligible backup.

    The weights are steps of a ladder: no sum of lower terms outweighs one step of a higher one. So a backup that reaches the
    target beats every one that falls short; among those that fall short, less lost WAL wins; then freshness, by the segments
    to be replayed; and integrity, a shorter chain and WAL of its own, decides between backups that begin in the same
    segment. The whole stays below 2^53, the integers that JSON's readers agree on.

    :param short: where it has to stop when it can't reach the target.
    """
    stop = target.lsn if short is None else short.lsn
    return (
        Term(name="reaches_target", value=int(short is None), weight=10**15),
        Term(name="segments_short", value=_segments(stop, target.lsn, segment_size), weight=-(10**9)),
        Term(name="segments_to_replay", value=_segments(backup.start_lsn or 0, stop, segment_size), weight=-1000),
        Term(name="chain_links", value=min(len(backup.chain), CHAIN_COUNTED), weight=-100),
        Term(name="carries_own_wal", value=int(bool(backup.own_wal)), weight=100),
    )


def score(parts: tuple[Term, ...]) -> int:
    """The sum of the terms."""
    return sum(term.value * term.weight for term in parts)


def _segments(start: int, stop: int, segment_size: int) -> int:
    behind = segment_of(stop, segment_size) - segment_of(start, segment_size)
    return min(max(behind, 0), SEGMENTS_COUNTED)
