"""Open a run: what every tier will aim at and compare with is resolved here, once, and kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from airflow_dr_provider.domain.acknowledgement import Acknowledgement, JudgedHole, judge_holes
from airflow_dr_provider.domain.catalog import Catalog
from airflow_dr_provider.domain.continuity import holes
from airflow_dr_provider.domain.target import aimed_moment
from airflow_dr_provider.domain.wal import range_text
from airflow_dr_provider.errors import DrillError, TargetError
from airflow_dr_provider.repositories.base import Repository, repository
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.stages.damage import with_known_damage
from airflow_dr_provider.stages.inputs import Finding, RunInputs, Stop
from airflow_dr_provider.stages.production import kept_reference, open_reference, production_connection
from airflow_dr_provider.stages.resolve_target import resolve_target
from airflow_dr_provider.stages.selection_inputs import as_known
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Run


def repository_of(spec: DrillSpec) -> Repository:
    """The spec's repository adapter; its paths are absolute since the spec was loaded."""
    settings = spec.source.repository
    return repository(settings.kind, settings, base=Path("/"))


async def open_inputs(services: Services, spec: DrillSpec, run: Run) -> RunInputs:
    """Resolve and keep a run's inputs. Done already: what is kept.

    A :class:`DrillError` doesn't escape: it becomes the kept ``stop``, so that a resumption finds the same end.
    """
    if run.inputs:
        return RunInputs.model_validate(run.inputs)
    begun = time.monotonic()
    moment = run.as_of or run.opened_at
    try:
        inputs = await _resolve(services, spec, run, moment)
    except DrillError as error:
        destination = "manual_triage" if isinstance(error, TargetError) else "could_not_verify"
        inputs = RunInputs(moment=moment, stop=Stop(destination=destination, signature=error.code, detail=error.message))
    inputs = inputs.model_copy(update={"opened_seconds": time.monotonic() - begun})
    return RunInputs.model_validate(services.store.keep_inputs(run.id, inputs.model_dump(mode="json")).inputs)


async def _resolve(services: Services, spec: DrillSpec, run: Run, moment: datetime) -> RunInputs:
    adapter = repository_of(spec)
    catalog = with_known_damage(await adapter.catalog(), services.store)
    reference_id, findings = await open_reference(services, spec, run.id)
    reference = kept_reference(services, reference_id)
    identifier = reference.system_identifier if reference is not None else None
    catalog = as_known(catalog, identifier)
    asked = run.request.target or spec.target.recovery_target()
    resolution = await resolve_target(adapter, catalog, asked, moment=moment, now=services.clock())
    connection = production_connection(services, spec)
    return RunInputs(
        moment=aimed_moment(resolution.target, moment),
        target=resolution.target,
        repository=catalog.identity,
        system_identifier=identifier,
        reference_id=reference_id,
        database=(spec.source.heartbeat.database if spec.source.heartbeat else None)
        or (connection.database if connection else None),
        bounded_by_hole=resolution.hole is not None,
        findings=(*findings, *catalog_findings(catalog, acknowledgements(spec))),
    )


def acknowledgements(spec: DrillSpec) -> tuple[Acknowledgement, ...]:
    """The holes that the spec says are known."""
    return tuple(
        Acknowledgement(first=known.first, last=known.last or known.first, reason=known.reason)
        for known in spec.selection.acknowledged
    )


def catalog_findings(catalog: Catalog, known: Sequence[Acknowledgement] = ()) -> tuple[Finding, ...]:
    """What is wrong with the repository though the drill goes on: unusable backups, holes, flawed segments.

    :param known: acknowledged holes; what they cover is no finding.
    """
    size = catalog.archive.segment_size
    unusable = tuple(
        Finding(
            subject=f"backup {backup.id}",
            detail=f"not a candidate: {', '.join(flaw.value.replace('_', ' ') for flaw in backup.flaws)}"
            + (f" ({backup.note})" if backup.note else ""),
            facts={"backup": backup.id, "flaws": [flaw.value for flaw in backup.flaws]},
        )
        for backup in catalog.backups
        if backup.flaws
    )
    missing = tuple(
        Finding(
            subject="archive",
            detail=f"hole: {range_text(judged.hole, size)}{_grown(judged, size)}",
            signature="WAL_HOLE",
            facts=judged.hole.model_dump(mode="json"),
        )
        for judged in judge_holes(holes(catalog), known, size)
        if not judged.acknowledged
    )
    flawed = tuple(
        Finding(
            subject="archive",
            detail=f"unusable: {range_text(judged.hole, size)}{_grown(judged, size)}",
            signature="WAL_SEGMENT_DAMAGED",
            facts=judged.hole.model_dump(mode="json"),
        )
        for judged in judge_holes(catalog.archive.flawed, known, size)
        if not judged.acknowledged
    )
    return (*unusable, *missing, *flawed, *(Finding(subject="repository", detail=note) for note in catalog.notes))


def _grown(judged: JudgedHole, segment_size: int) -> str:
    """What of a hole is not acknowledged, when some of it is."""
    if not judged.reasons:
        return ""
    return f", of which {', '.join(range_text(part, segment_size) for part in judged.open)} was not acknowledged"
