"""Up to where a repository could be restored now, and by which backup: the drill's own hard rules, without a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.continuity import Continuity, Reach
from airflow_dr_provider.domain.eligibility import Ineligibility, Reasons, SelectionInputs, ineligibility
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.soundness import cluster_of
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget
from airflow_dr_provider.domain.value import Value

_NO_BAR = {
    # Each backup is judged at its own stop: what comes after that is how far it reaches, not whether it can be used.
    Ineligibility.WAL_HOLE_BEFORE_TARGET,
    Ineligibility.WAL_ENDS_BEFORE_TARGET,
    # The clock that a backup's end was told by may go ahead of ours; that it is there now says more.
    Ineligibility.AFTER_MOMENT,
}

UNSOUND = frozenset(
    {
        Ineligibility.INCOMPLETE,
        Ineligibility.NO_MANIFEST,
        Ineligibility.MANIFEST_DAMAGED,
        Ineligibility.NO_LABEL,
        Ineligibility.BASE_MISSING,
        Ineligibility.BASE_FLAWED,
        Ineligibility.ERROR_FLAG,
        Ineligibility.UNREADABLE,
    }
)
"""What is wrong with a backup's own files, or with those of one that it builds on."""


class Standing(Value):
    """A backup as it stands now.

    :param reach: towards the timeline that was asked for.
    :param reasons: why it can't be used; empty when recovery could begin with it.
    """

    backup: Backup
    reach: Reach
    reasons: Reasons = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with its files, as far as the catalog tells."""
        return UNSOUND.isdisjoint(code for code, _ in self.reasons)


class Restorable(Value):
    """The latest point that recovery could reach.

    :param lsn: the end of the contiguous WAL: every position before it can be replayed.
    :param time: the newest commit that is known to lie before it; None when nobody knows.
    :param hole: the missing segments that end the way although later ones are there.
    """

    timeline: int
    lsn: Lsn
    backup: str
    time: datetime | None = None
    hole: SegmentRange | None = None


def standings(
    catalog: Catalog, timeline: int, *, moment: datetime, lookback_seconds: float, quarantined: Mapping[str, str]
) -> tuple[Standing, ...]:
    """Every backup of a catalog with what it reaches and why it can't be used, in the order in which they stop.

    :param moment: now.
    :param quarantined: ids of backups that failed in a drill, with the signature.
    """
    continuity = Continuity(catalog.archive)
    backups = {backup.id: backup for backup in reversed(catalog.backups)}
    cluster = cluster_of(catalog)
    inputs = SelectionInputs(
        catalog=catalog,
        target=_stop_of(None, timeline),
        moment=moment,
        rpo_seconds=float("inf"),
        lookback_seconds=lookback_seconds,
        quarantined=dict(quarantined),
    )

    def judged(backup: Backup) -> Standing:
        reach = continuity.reach(backup, timeline)
        own = inputs.model_copy(update={"target": _stop_of(backup, timeline)})
        reasons = ineligibility(own, backup, reach, backups=backups, cluster=cluster)
        return Standing(backup=backup, reach=reach, reasons=tuple(pair for pair in reasons if pair[0] not in _NO_BAR))

    return tuple(judged(backup) for backup in sorted(backups.values(), key=lambda backup: (backup.stop_lsn or 0, backup.id)))


def _stop_of(backup: Backup | None, timeline: int) -> ResolvedTarget:
    stop = backup.stop_lsn if backup is not None and backup.stop_lsn is not None else Lsn(0)
    return ResolvedTarget(timeline=timeline, lsn=stop, requested=RecoveryTarget())


def furthest(found: Sequence[Standing]) -> Standing | None:
    """The usable backup whose WAL carries it furthest, the newest of equals; None when none is usable."""
    usable = [standing for standing in found if not standing.reasons]
    return max(usable, key=lambda one: (one.reach.end_lsn, one.backup.stop_lsn or 0, one.backup.id), default=None)


def last_segments(path: Sequence[SegmentRange], count: int) -> tuple[SegmentRange, ...]:
    """The end of a path: so many segments of it, or all when it has no more."""
    kept: list[SegmentRange] = []
    for part in reversed(path):
        if count <= 0:
            break
        first = max(part.first, part.last - count + 1)
        kept.insert(0, part.model_copy(update={"first": first}))
        count -= part.last - first + 1
    return tuple(kept)
