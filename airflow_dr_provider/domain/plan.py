"""What a drill would choose at this moment, and from what: the choice of every tier in one table, nothing restored."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import TargetKind
from airflow_dr_provider.domain.value import Value


class Segments(Value):
    """Missing segments by their file names, both ends included."""

    timeline: int
    first: str
    last: str


class PlannedHole(Segments):
    """A hole in the archive.

    :param on_path: whether recovery of some sound backup has to get over it on its way to the target.
    :param acknowledged: why it is accepted; None while any segment of it is not.
    :param open: what of it nobody has acknowledged.
    """

    on_path: bool
    acknowledged: str | None = None
    open: tuple[Segments, ...] = ()


class Reachable(Value):
    """How far WAL carries a backup: along the way to the target, or on its own timeline when it is off that way.

    :param lsn: the end of the last contiguous segment; None without one.
    :param time: of the last commit before it; None when its records were not read.
    :param consistent: whether that is far enough for the backup to become consistent.
    :param hole: the missing segments at which it ends; None where the archive just ends.
    """

    lsn: Lsn | None = None
    time: datetime | None = None
    timeline: int | None = None
    consistent: bool = False
    hole: Segments | None = None


class PlannedCandidate(Value):
    """A backup.

    :param eligible: whether at least one tier could take it.
    :param reasons: codes of why none could; empty for an eligible one.
    :param details: a sentence for each code, also for those of single tiers, and for ``short_of_target``.
    :param tiers: codes by tier, where tiers differ about it.
    :param terms: what each term adds to the score.
    :param short: whether it would serve up to an earlier point only.
    """

    id: str
    repository: str
    type: str
    stop_time: datetime | None
    timeline: int | None
    eligible: bool
    reasons: tuple[str, ...] = ()
    details: dict[str, str] = Field(default_factory=dict)
    tiers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    score: int | None = None
    terms: dict[str, int] = Field(default_factory=dict)
    short: bool = False
    reachable: Reachable = Reachable()


class PlannedTier(Value):
    """What one tier would take by its own rules.

    :param reason: ``reaches_target`` or ``short_of_target``; without a candidate the signature's code.
    :param falls_back_to: the backup that it would take if the candidate were refused.
    """

    name: str
    candidate: str | None
    reason: str
    detail: str
    falls_back_to: str | None = None


class PlannedTarget(Value):
    """What was asked for, and the point that it means.

    :param lsn: None when no backup and WAL lead to it.
    :param exact: whether the record was read; else the point is an estimate.
    """

    kind: TargetKind
    value: str
    lsn: Lsn | None = None
    timeline: int | None = None
    inclusive: bool = True
    time: datetime | None = None
    exact: bool = True
    note: str = ""


class Plan(Value):
    """The whole table.

    :param as_of: the moment of the disaster.
    :param candidates: every backup, best first.
    """

    drill: str
    target: PlannedTarget
    as_of: datetime
    candidates: tuple[PlannedCandidate, ...]
    holes: tuple[PlannedHole, ...]
    tiers: tuple[PlannedTier, ...]
    notes: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        """Whether at least one tier has a candidate."""
        return any(tier.candidate is not None for tier in self.tiers)
