"""Open a run: what every tier will aim at and compare with is resolved here, once, and kept."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from airflow_dr_provider.domain.catalog import Catalog, SegmentRange
from airflow_dr_provider.domain.continuity import holes
from airflow_dr_provider.domain.target import TargetKind
from airflow_dr_provider.domain.wal import segment_name
from airflow_dr_provider.errors import DrillError, TargetError
from airflow_dr_provider.repositories.base import Repository, repository
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.stages.damage import with_known_damage
from airflow_dr_provider.stages.inputs import Finding, RunInputs, Stop
from airflow_dr_provider.stages.production import kept_reference, open_reference, production_connection
from airflow_dr_provider.stages.resolve_target import resolve_target
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
    asked = spec.target.recovery_target()
    resolution = await resolve_target(adapter, catalog, asked, moment=moment, now=services.clock())
    reference = kept_reference(services, reference_id)
    connection = production_connection(services, spec)
    own_time = resolution.target.time if asked.kind is not TargetKind.LATEST else None
    if asked.kind is TargetKind.TIME:
        own_time = datetime.fromisoformat(asked.value)
    return RunInputs(
        moment=own_time or moment,
        target=resolution.target,
        repository=catalog.identity,
        system_identifier=reference.system_identifier if reference is not None else None,
        reference_id=reference_id,
        database=(spec.source.heartbeat.database if spec.source.heartbeat else None)
        or (connection.database if connection else None),
        bounded_by_hole=resolution.hole is not None,
        findings=(*findings, *catalog_findings(catalog)),
    )


def catalog_findings(catalog: Catalog) -> tuple[Finding, ...]:
    """What is wrong with the repository though the drill goes on: unusable backups, holes, flawed segments."""
    size = catalog.archive.segment_size

    def between(part: SegmentRange) -> str:
        first = segment_name(part.timeline, part.first, size)
        return first if part.first == part.last else f"{first} to {segment_name(part.timeline, part.last, size)}"

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
            detail=f"hole: {between(hole)}",
            signature="WAL_HOLE",
            facts=hole.model_dump(mode="json"),
        )
        for hole in holes(catalog)
    )
    flawed = tuple(
        Finding(
            subject="archive",
            detail=f"unusable: {between(part)}",
            signature="WAL_SEGMENT_DAMAGED",
            facts=part.model_dump(mode="json"),
        )
        for part in catalog.archive.flawed
    )
    return (*unusable, *missing, *flawed, *(Finding(subject="repository", detail=note) for note in catalog.notes))
