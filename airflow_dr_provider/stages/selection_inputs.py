"""What a choice is made from: the same for a run's select stage and for a plan, so that the two can't differ."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from airflow_dr_provider.domain.catalog import Catalog, SegmentRange
from airflow_dr_provider.domain.continuity import Continuity, Reach, whole_path
from airflow_dr_provider.domain.estimate import latest_time
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.selection import SelectionInputs
from airflow_dr_provider.domain.target import ResolvedTarget, StoppingPoint, TargetKind
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.postgresql.programs import installed
from airflow_dr_provider.repositories.base import Repository
from airflow_dr_provider.spec.models import DrillSpec, Tier
from airflow_dr_provider.spec.sandbox import ProcessSandboxSpec
from airflow_dr_provider.state.store import Store


class Memory(Value):
    """What is known of a repository beside its catalog.

    :param quarantined: ids of backups with the signature for which each is in quarantine.
    :param refused: ids of backups that this run won't use again, with the signature.
    :param bad: segments found damaged.
    :param tried: ids of backups that this run has tried, when another one is preferred.
    :param system_identifier: the cluster's, where a reference of it tells.
    """

    quarantined: dict[str, str] = Field(default_factory=dict)
    refused: dict[str, str] = Field(default_factory=dict)
    bad: tuple[SegmentRange, ...] = ()
    tried: tuple[str, ...] = ()
    system_identifier: int | None = None


def recall(store: Store, repository: str) -> Memory:
    """What the store remembers of a repository from earlier runs.

    :param repository: the catalog's identity.
    """
    return Memory(quarantined={entry.backup_id: entry.signature for entry in store.quarantined(repository)})


def as_known(catalog: Catalog, system_identifier: int | None) -> Catalog:
    """A catalog that knows its cluster, as far as a reference tells."""
    return catalog if system_identifier is None else catalog.model_copy(update={"system_identifier": system_identifier})


def selection_inputs(
    spec: DrillSpec,
    tier: Tier,
    *,
    catalog: Catalog,
    target: ResolvedTarget,
    moment: datetime,
    memory: Memory,
    stopping_points: dict[str, StoppingPoint],
) -> SelectionInputs:
    """The inputs of one tier's choice."""
    return SelectionInputs(
        catalog=catalog,
        target=target,
        moment=moment,
        rpo_seconds=rpo_seconds(spec, tier),
        lookback_seconds=spec.selection.lookback.total_seconds(),
        quarantined=memory.quarantined,
        refused=memory.refused,
        bad=memory.bad,
        tried=memory.tried,
        another=bool(memory.tried),
        runnable_versions=_runnable(tier),
        stopping_points=stopping_points,
    )


def rpo_seconds(spec: DrillSpec, tier: Tier) -> float:
    """The tier's RPO: its own, else the drill's."""
    return (tier.rpo or spec.objectives.rpo).total_seconds()


def _runnable(tier: Tier) -> tuple[int, ...] | None:
    if not isinstance(tier.sandbox, ProcessSandboxSpec):
        return None
    return tuple(sorted({programs.major for programs in installed(tier.sandbox.bin)}))


class LastRecords:
    """The last record of a way through the WAL; each way's end is read once.

    :param read: False to read none: what is told is then the last byte of the way, and the latest time that it can be of.
    """

    def __init__(self, repository: Repository, catalog: Catalog, *, read: bool = True) -> None:
        self.catalog = catalog
        self._repository = repository
        self._read = read
        self._known: dict[tuple[int, int], StoppingPoint | None] = {}

    async def of(self, reached: Reach) -> StoppingPoint | None:
        """The last record that a reach holds; None when it holds none."""
        if not reached.path:
            return None
        if not self._read:
            last = Lsn(reached.end_lsn - 1)
            time = latest_time(self.catalog, last)
            return StoppingPoint(timeline=reached.path[-1].timeline, lsn=last, end_lsn=reached.end_lsn, time=time)
        path = whole_path(reached, self.catalog.archive.segment_size)
        return await self._last(path) if path else None

    async def _last(self, path: Sequence[SegmentRange]) -> StoppingPoint | None:
        key = path[-1].timeline, path[-1].last
        if key not in self._known:
            self._known[key] = await self._repository.last_record(self.catalog, path)
        return self._known[key]


async def stopping_points(
    records: LastRecords, target: ResolvedTarget, *, bad: Sequence[SegmentRange]
) -> dict[str, StoppingPoint]:
    """For ``latest``: where each backup that can't reach the target would end, at the hole before it."""
    if target.requested.kind is not TargetKind.LATEST:
        return {}
    continuity = Continuity(records.catalog.archive, bad)
    found: dict[str, StoppingPoint] = {}
    for backup in records.catalog.backups:
        if backup.flaws or backup.start_lsn is None or backup.stop_lsn is None:
            continue
        reached = continuity.reach(backup, target.timeline)
        if not reached.consistent or not reached.on_timeline or reached.end_lsn > target.lsn:
            continue
        point = await records.of(reached)
        if point is not None:
            found[backup.id] = point
    return found
