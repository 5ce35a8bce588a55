"""A drill in OpenLineage's terms. Imported when a lineage event is made, which only the OpenLineage provider does.

Datasets: a backup is ``<the repository's identity>`` / ``<the backup's id>``, a restored copy ``airflow-dr`` / ``<the sandbox's name>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attr
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import Dataset, InputDataset, OutputDataset
from openlineage.client.generated.base import RunFacet
from openlineage.client.generated.data_quality_assertions_dataset import Assertion, DataQualityAssertionsDatasetFacet

from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.stages.drill import Drill

SANDBOXES = "airflow-dr"


@attr.define
class DrillStageRunFacet(RunFacet):
    """How a stage ended.

    :param drill: the drill's name.
    :param drillRunId: the run's id in the state store.
    :param signature: the failure's code, None when it passed.
    """

    drill: str
    drillRunId: str  # noqa: N815 - the facets' own spelling
    tier: str
    attempt: int
    stage: str
    verdict: str
    signature: str | None = None
    recoveryTarget: str | None = None  # noqa: N815


@attr.define
class DrillOutcomeRunFacet(RunFacet):
    """How a run ended.

    :param drill: the drill's name.
    :param drillRunId: the run's id in the state store.
    """

    drill: str
    drillRunId: str  # noqa: N815
    outcome: str
    exitCode: int  # noqa: N815
    tier: str | None = None
    rtoSeconds: float | None = None  # noqa: N815
    rpoSeconds: float | None = None  # noqa: N815
    leftovers: int = 0


def stage_lineage(drill: Drill, rung: int, stage: StageName) -> OperatorLineage[Any, Any]:
    """What a stage read and made: a restore makes a copy out of a backup, a gate asserts of the copy."""
    results = _results(drill, rung)
    place = drill.rungs[rung]
    result = results.get(stage)
    coordinate = results[StageName.SELECT].facts.get("coordinate") if StageName.SELECT in results else None
    facet = DrillStageRunFacet(
        drill=drill.run.drill,
        drillRunId=drill.run.id,
        tier=place.tier,
        attempt=place.number,
        stage=stage.value,
        verdict=result.verdict.value if result is not None else Verdict.COULD_NOT_VERIFY.value,
        signature=result.signature if result is not None else None,
        recoveryTarget=str(coordinate["target"]["lsn"]) if coordinate else None,
    )
    inputs: list[Dataset] = []
    outputs: list[Dataset] = []
    copy = results[StageName.RESERVE].facts.get("sandbox") if StageName.RESERVE in results else None
    if coordinate and stage in (StageName.SELECT, StageName.RESTORE):
        inputs.append(InputDataset(namespace=drill.inputs.repository, name=str(coordinate["backup_id"])))
    if copy and stage is StageName.RESTORE:
        outputs.append(OutputDataset(namespace=SANDBOXES, name=str(copy)))
    if copy and stage is StageName.VALIDATE and result is not None:
        inputs.append(InputDataset(namespace=SANDBOXES, name=str(copy), inputFacets=_assertions(result)))
    return OperatorLineage(inputs=inputs, outputs=outputs, run_facets={"airflowDr_stage": facet})


def run_lineage(drill: Drill, record: Mapping[str, Any]) -> OperatorLineage[Any, Any]:
    """What a run proved, and of which backup."""
    facet = DrillOutcomeRunFacet(
        drill=drill.run.drill,
        drillRunId=drill.run.id,
        outcome=str(record["outcome"]),
        exitCode=int(record["exit_code"]),
        tier=record["tier"],
        rtoSeconds=record["achieved"]["rto_seconds"],
        rpoSeconds=record["achieved"]["rpo_seconds"],
        leftovers=len(record["leftovers"]),
    )
    proved = [InputDataset(namespace=drill.inputs.repository, name=str(record["backup"]))] if record["backup"] else []
    return OperatorLineage(inputs=proved, run_facets={"airflowDr_outcome": facet})


def _results(drill: Drill, rung: int) -> dict[StageName, StageResult]:
    store = drill.services.store
    attempts = [attempt for attempt in store.attempts(drill.run.id) if attempt.rung == rung]
    return {done.stage: done.result for attempt in attempts for done in store.checkpoints(attempt.id)}


def _assertions(result: StageResult) -> dict[str, Any]:
    assertions = [Assertion(assertion=check.name, success=check.verdict is Verdict.PASSED) for check in result.checks]
    return {"dataQualityAssertions": DataQualityAssertionsDatasetFacet(assertions=assertions)}
