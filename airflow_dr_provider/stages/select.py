"""Choose the restore coordinate of an attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_dr_provider.domain.selection import select
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.errors import TargetError
from airflow_dr_provider.stages.damage import with_known_damage
from airflow_dr_provider.stages.history import damaged_segments, refused, tried
from airflow_dr_provider.stages.selection_inputs import (
    LastRecords,
    Memory,
    as_known,
    recall,
    selection_inputs,
    stopping_points,
)

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext


async def run(context: AttemptContext) -> StageResult:
    """Read the catalog as it is now, judge every backup, choose one. The whole table is kept for the auditor."""
    target = context.inputs.target
    if target is None:
        raise TargetError("The run has no recovery target; it ended when it opened.")
    memory = _memory(context)
    catalog = with_known_damage(await context.repository.catalog(), context.services.store)
    catalog = as_known(catalog, memory.system_identifier)
    table = select(
        selection_inputs(
            context.spec,
            context.tier,
            catalog=catalog,
            target=target,
            moment=context.inputs.moment,
            memory=memory,
            stopping_points=await stopping_points(LastRecords(context.repository, catalog), target, bad=memory.bad),
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


def _memory(context: AttemptContext) -> Memory:
    """What earlier runs and this one learned."""
    history = context.history
    known = recall(context.services.store, context.inputs.repository)
    return known.model_copy(
        update={
            "refused": refused(context.rungs, tuple(attempt for attempt in history if attempt.rung < context.rung.index)),
            "bad": (*known.bad, *damaged_segments(history)),
            "tried": tried(history) if context.rung.asked else (),
            "system_identifier": context.inputs.system_identifier,
        }
    )
