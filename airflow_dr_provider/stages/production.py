"""Production, read-only: its reference, and the addresses that a sandbox must not reach."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from pydantic import ValidationError

from airflow_dr_provider.checks.fingerprint import capture
from airflow_dr_provider.checks.hottest import with_hottest
from airflow_dr_provider.connections import Connection, libpq
from airflow_dr_provider.domain.reference import Reference
from airflow_dr_provider.domain.reports import Probe
from airflow_dr_provider.errors import ConfigurationError, ProductionError, SpecError
from airflow_dr_provider.spec.models import DrillSpec, FileReference
from airflow_dr_provider.stages.inputs import Finding
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import KeptReference
from airflow_dr_provider.state.store import Store

PRODUCTION, LAST_GOOD_RUN = "production", "last_good_run"


async def capture_production(services: Services, spec: DrillSpec) -> Reference:
    """Read production's reference now, in read-only sessions.

    :raises ProductionError: when production doesn't answer.
    :raises ConfigurationError: ``CONNECTION_UNKNOWN``.
    """
    conn_id = spec.source.production_conn_id
    if conn_id is None:
        raise SpecError(
            f"{spec.drill}: source.production_conn_id is missing, so there is no production to read a reference from."
        )
    options = libpq(services.connections(conn_id))

    async def connect(database: str) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            **{**options, "dbname": database or options.get("dbname") or "postgres"}, autocommit=True
        )

    try:
        reference = await capture(connect, databases=spec.databases, source=PRODUCTION, now=services.clock())
        return reference.model_copy(update={"databases": await with_hottest(connect, reference.databases)})
    except psycopg.Error as error:
        raise ProductionError(
            f"Production (connection {conn_id}) could not be read: {str(error).strip().splitlines()[0]}. "
            f"Check that it runs and that the account may connect."
        ) from error


async def open_reference(services: Services, spec: DrillSpec, run_id: str) -> tuple[str | None, tuple[Finding, ...]]:
    """The reference that this run compares with: captured, kept before, or from a file.

    :return: its id in the store, None when none exists yet (``last_good_run`` before the first good run), and findings.
    :raises ProductionError: when production doesn't answer and no reference of it is kept.
    :raises SpecError: when a reference file can't be used.
    """
    wanted = spec.source.reference
    if isinstance(wanted, FileReference):
        return keep(services, spec, run_id, "file", read_reference(wanted.file)), ()
    if wanted == LAST_GOOD_RUN:
        kept = services.store.latest_reference(spec.drill, LAST_GOOD_RUN)
        if kept is not None:
            return kept.id, (_age(kept, services.clock(), ""),)
        detail = "no run of this drill has passed yet: schema, indexes and rows can't be compared; the first good run is kept"
        return None, (Finding(subject="reference", detail=detail, signature="NO_REFERENCE"),)
    try:
        return keep(services, spec, run_id, PRODUCTION, await capture_production(services, spec)), ()
    except ProductionError as error:
        kept = services.store.latest_reference(spec.drill, PRODUCTION)
        if kept is None:
            raise ProductionError(
                f"{error.message} No reference of it is kept from an earlier run either, so there is nothing to compare a "
                f"restored copy with. Write one with `airflow-dr reference capture`, or use reference: last_good_run."
            ) from error
        return kept.id, (_age(kept, services.clock(), error.message + " "),)


def keep(services: Services, spec: DrillSpec, run_id: str | None, source: str, reference: Reference) -> str:
    """Keep a reference in the store; its id."""
    identifier = f"{spec.drill}-{source}-{uuid4().hex[:12]}"
    services.store.keep_reference(
        KeptReference(
            id=identifier,
            drill=spec.drill,
            source=source,
            captured_at=reference.captured_at,
            run_id=run_id,
            reference=reference.model_dump(mode="json"),
        )
    )
    return identifier


def kept_reference(services: Services, identifier: str | None) -> Reference | None:
    """A kept reference by its id."""
    kept = services.store.reference(identifier) if identifier else None
    return Reference.model_validate(kept.reference) if kept is not None else None


def read_reference(path: Path) -> Reference:
    """The reference in a file.

    :raises SpecError: when it can't be read or is none.
    """
    try:
        return Reference.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise SpecError(
            f"source.reference.file: {path} can't be read: {error.strerror}. Write it with `airflow-dr reference capture`."
        ) from error
    except (ValueError, ValidationError) as error:
        raise SpecError(
            f"source.reference.file: {path} is no reference of `airflow-dr reference capture`: {str(error).splitlines()[0]}."
        ) from error


def last_reference(store: Store, drill: str, source: str) -> Reference | None:
    """The newest reference that is kept of a source; None when there is none yet."""
    kept = store.latest_reference(drill, source)
    return Reference.model_validate(kept.reference) if kept is not None else None


def _age(kept: KeptReference, now: datetime, prefix: str) -> Finding:
    seconds = (now - kept.captured_at).total_seconds()
    return Finding(
        subject="reference",
        detail=f"{prefix}The reference kept at {kept.captured_at.isoformat()} serves; it is {seconds:.0f} s old.",
        facts={"age_seconds": seconds, "reference_id": kept.id},
    )


def production_connection(services: Services, spec: DrillSpec) -> Connection | None:
    """Production's connection, None when the spec names none or it isn't defined here."""
    if spec.source.production_conn_id is None:
        return None
    try:
        return services.connections(spec.source.production_conn_id)
    except ConfigurationError:
        return None


def probes(services: Services, spec: DrillSpec) -> tuple[Probe, ...]:
    """What must not be reachable from inside a sandbox of this drill."""
    connection = production_connection(services, spec)
    if connection is None:
        return ()
    host = connection.host or "/var/run/postgresql"
    return (Probe(label="production", address=host, port=connection.port or 5432),)
