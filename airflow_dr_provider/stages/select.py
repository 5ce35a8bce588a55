"""Choose the restore coordinate of an attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.continuity import reach, whole_path
from airflow_dr_provider.domain.selection import SelectionInputs, select
from airflow_dr_provider.domain.target import StoppingPoint, TargetKind
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.errors import TargetError
from airflow_dr_provider.postgresql.programs import installed
from airflow_dr_provider.stages.damage import with_known_damage
from airflow_dr_provider.stages.history import damaged_segments, refused

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext


async def run(context: AttemptContext) -> StageResult:
    """Read the catalog as it is now, judge every backup, choose one. The whole table is kept for the auditor."""
    target = context.inputs.target
    if target is None:
        raise TargetError("The run has no recovery target; it ended when it opened.")
    catalog = with_known_damage(await context.repository.catalog(), context.services.store)
    if context.inputs.system_identifier is not None:
        catalog = catalog.model_copy(update={"system_identifier": context.inputs.system_identifier})
    history = context.history
    table = select(
        SelectionInputs(
            catalog=catalog,
            target=target,
            moment=context.inputs.moment,
            rpo_seconds=context.rpo_seconds,
            lookback_seconds=context.spec.selection.lookback.total_seconds(),
            quarantined={
                entry.backup_id: entry.signature for entry in context.services.store.quarantined(context.inputs.repository)
            },
            refused=refused(context.rungs, history[: context.rung.index]),
            bad=damaged_segments(history),
            runnable_versions=_runnable(context),
            stopping_points=await _stopping_points(context, catalog),
        )
    )
    facts = {"table": table.model_dump(mode="json")}
    if table.chosen is None:
        return StageResult(
            stage=StageName.SELECT, verdict=Verdict.FAILED, signature=table.reason, detail=table.detail, facts=facts
        )
    return StageResult(
        stage=StageName.SELECT,
        verdict=Verdict.PASSED,
        detail=table.detail or f"{table.chosen.backup_id} to {table.chosen.target.lsn}",
        facts={**facts, "coordinate": table.chosen.model_dump(mode="json"), "short": table.chosen.short},
    )


def _runnable(context: AttemptContext) -> tuple[int, ...] | None:
    if context.tier.sandbox.kind != "process":
        return None
    return tuple(sorted({programs.major for programs in installed(context.tier.sandbox.bin)}))


async def _stopping_points(context: AttemptContext, catalog: Catalog) -> dict[str, StoppingPoint]:
    """For ``latest``: where each backup that can't reach the target would end, at the hole before it."""
    target = context.inputs.target
    if target is None or target.requested.kind is not TargetKind.LATEST:
        return {}
    found: dict[str, StoppingPoint] = {}
    known: dict[tuple[int, ...], StoppingPoint | None] = {}
    bad = damaged_segments(context.history)
    for backup in catalog.backups:
        if backup.flaws or backup.start_lsn is None or backup.stop_lsn is None:
            continue
        reached = reach(catalog.archive, backup, target.timeline, bad=bad)
        if not reached.consistent or not reached.on_timeline or reached.end_lsn > target.lsn:
            continue
        path = whole_path(reached, catalog.archive.segment_size)
        if not path:
            continue
        last = path[-1]
        key = (last.timeline, last.last)
        if key not in known:
            known[key] = await context.repository.last_record(catalog, path)
        point = known[key]
        if point is not None:
            found[backup.id] = point
    return found
