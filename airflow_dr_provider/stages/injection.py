"""Inject the faults that a run was told to, each into the run's own copy, at its moment, once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from airflow_dr_provider.domain.fault_list import FAULTS, Moment
from airflow_dr_provider.domain.injection import Injection, parse_injections
from airflow_dr_provider.domain.request import RunRequest
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.errors import SandboxError, SpecError
from airflow_dr_provider.faults.base import Victim, deed, refused
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.stages.databases import databases as databases_of
from airflow_dr_provider.stages.services import Progress

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext
    from airflow_dr_provider.state.store import Store

INJECTED = "INJECTED"
"""The reason of the log's entries of damage that was done."""

BEFORE = {
    StageName.PROVISION: Moment.BEFORE_PROVISION,
    StageName.RESTORE: Moment.BEFORE_RESTORE,
    StageName.TEARDOWN: Moment.BEFORE_TEARDOWN,
}
"""Moments that come before a stage; the others are inside of one."""


def strikes(spec: DrillSpec, inject: Sequence[str], request: RunRequest) -> tuple[str, ...]:
    """The injections of a run, as it keeps them; without a tier the one that the run begins with is meant.

    :raises SpecError: ``INJECTION_REFUSED`` for a fault or a tier that isn't known, or for one that this run won't try.
    """
    tiers = [tier.name for tier in spec.tiers]
    begin = tiers.index(request.first_tier) if request.first_tier is not None else 0
    for text in inject:
        tier = text.strip().partition("@")[2]
        if tier in tiers[:begin]:
            raise SpecError(
                f"{text}: the run begins at {tiers[begin]}, so {tier} isn't tried and nothing can strike there. Name another.",
                code="INJECTION_REFUSED",
            )
    named = [text if "@" in text else f"{text.strip()}@{tiers[begin]}" for text in inject]
    return tuple(injection.text for injection in parse_injections(named, tiers))


def injections(injected: tuple[str, ...]) -> tuple[Injection, ...]:
    """A run's injections, as it keeps them."""
    pairs = (text.split("@", 1) for text in injected)
    return tuple(Injection(fault=fault, tier=tier) for fault, tier in pairs)


def struck(store: Store, run_id: str) -> frozenset[str]:
    """Of a run's injections, those whose damage was done, by its log."""
    done = (entry for entry in store.transitions(run_id) if entry.reason == INJECTED)
    return frozenset(f"{entry.destination}@{entry.source.partition('/')[0]}" for entry in done)


async def strike(context: AttemptContext, moment: Moment) -> None:
    """Do the damage that is due at a moment of an attempt. Only a tier's first attempt is struck.

    :raises SandboxError: ``INJECTION_REFUSED`` for damage that can't be done, or that would not be to the run's own copy.
    """
    if not context.run.injected or context.rung.number != 1:
        return
    for injection in injections(context.run.injected):
        due = injection.tier == context.rung.tier and FAULTS[injection.fault].moment is moment
        if due and injection.text not in struck(context.services.store, context.run.id):
            await _strike(context, injection.fault, moment)


async def _strike(context: AttemptContext, fault: str, moment: Moment) -> None:
    victim = await _victim(context, moment)
    if victim is None:
        return
    try:
        done = await deed(fault)(victim)
    except (OSError, psycopg.Error) as error:
        raise refused(f"{fault}: {' '.join(str(error).split())}") from error
    context.services.store.move(
        context.run.id,
        source=f"{context.rung.state}/inject",
        destination=fault,
        reason=INJECTED,
        attempt_id=context.attempt.id,
        detail=done,
        now=context.services.clock(),
    )
    message = f"{context.rung.state}: injected {fault}: {done}"
    context.services.progress(Progress(run_id=context.run.id, place=context.rung.state, message=message))
    for wait in victim.then:
        await wait()


async def _victim(context: AttemptContext, moment: Moment) -> Victim | None:
    """The attempt's own copy; None when there is nothing to damage, since the sandbox was never reserved or is gone.

    :raises SandboxError: ``INJECTION_REFUSED`` when it isn't the run's own: by the ledger, or by what lies there.
    """
    resource = context.services.store.resource(context.sandbox_name)
    if resource is None or resource.released_at is not None:
        return None
    handle = context.handle()
    if (resource.run_id, resource.attempt_id) != (context.run.id, context.attempt.id):
        raise refused(f"the sandbox {resource.name} belongs to the run {resource.run_id}")
    if moment is not Moment.BEFORE_PROVISION:
        try:
            await context.sandbox.vitals(handle)
        except SandboxError as error:
            if moment is Moment.BEFORE_TEARDOWN:
                return None
            raise refused(error.message) from error

    async def connect(database: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await context.sandbox.connect(handle, database)

    async def databases() -> tuple[str, ...]:
        return await databases_of(context, handle)

    async def server() -> int | None:
        return (await context.sandbox.vitals(handle)).server

    async def start() -> None:
        context.keep_handle((await context.sandbox.recover(handle, context.coordinate()))[0])

    heartbeat = context.spec.source.heartbeat
    return Victim(
        root=Path(handle.place),
        data=context.sandbox.data_directory(handle),
        wal=context.sandbox.wal_directory(handle),
        size_bytes=context.coordinate().size_bytes,
        connect=connect,
        databases=databases,
        server=server,
        start=start,
        held=context.held,
        details=handle.details,
        heartbeat=(heartbeat.database or context.inputs.database, heartbeat.table, heartbeat.column) if heartbeat else None,
    )
