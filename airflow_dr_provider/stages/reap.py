"""Destroy what outlived its lease or its run: the clean-up that doesn't depend on the drill that made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.sandboxes.base import Listing, sandbox
from airflow_dr_provider.sandboxes.host import elsewhere
from airflow_dr_provider.spec.sandbox import SANDBOX_KINDS, sandbox_spec
from airflow_dr_provider.stages.abandon import abandon
from airflow_dr_provider.stages.ownership import is_abandoned
from airflow_dr_provider.stages.release import release
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Owner, Resource, ResourceState, Run


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """What one pass did.

    :param released: names of resources that are gone now.
    :param leftovers: for each resource that couldn't be removed, why.
    :param kept: names of resources that are still in use.
    :param closed: ids of runs that ended without closing themselves.
    :param elsewhere: for each resource that is over and on another host, that host: its own reaper removes it.
    """

    released: tuple[str, ...]
    leftovers: dict[str, str]
    kept: tuple[str, ...]
    closed: tuple[str, ...] = ()
    elsewhere: dict[str, str] = field(default_factory=dict)


def unknown(owner: Owner) -> bool:
    """Nothing is known of a walker: it may be under way."""
    return False


async def reap(
    services: Services,
    *,
    now: datetime,
    everything: bool = False,
    dry_run: bool = False,
    ended: Callable[[Owner], bool] = unknown,
) -> Reaped:
    """One pass over the ledger, over the runs that nobody closed, and over what lies on this host.

    :param everything: don't wait for leases or owners.
    :param dry_run: say what would be released, release nothing.
    :param ended: whether the walker of a run is known to have ended; asked of Airflow for its DAG runs.
    """
    released: list[str] = []
    kept: list[str] = []
    leftovers: dict[str, str] = {}
    away: dict[str, str] = {}
    deserted = tuple(run for run in services.store.unfinished_runs() if ended(run.owner))
    over = {run.id for run in deserted}
    doomed = []
    for resource in services.store.unreleased():
        holder = elsewhere(SandboxHandle.model_validate(resource.handle))
        if not (everything or resource.run_id in over or is_over(services, resource, now)):
            kept.append(resource.name)
        elif holder is not None:
            away[resource.name] = holder
        else:
            doomed.append(resource)
    for resource in (*doomed, *revenants(services)):
        left = () if dry_run else await _released(services, resource)
        if left:
            leftovers[resource.name] = "; ".join(left)
        else:
            released.append(resource.name)
    closed = [] if dry_run else [await _closed(services, run) for run in deserted]
    return Reaped(released=tuple(released), leftovers=leftovers, kept=tuple(kept), closed=tuple(closed), elsewhere=away)


async def _released(services: Services, resource: Resource) -> tuple[str, ...]:
    try:
        return await release(services, resource)
    except (DrillError, OSError) as error:
        return (str(error),)


async def _closed(services: Services, run: Run) -> str:
    await abandon(services, run, "INTERRUPTED", "its DAG run ended without closing it")
    return run.id


def revenants(services: Services) -> tuple[Resource, ...]:
    """Sandboxes of this host that were released and are there all the same.

    A task that was told to end may outlive its attempt's teardown by seconds, make the sandbox, and be killed before it sees
    that the lease is over. The ledger has no word of that; the work folder has.
    """
    found = []
    for kind in SANDBOX_KINDS:
        adapter = sandbox(kind, sandbox_spec({"kind": kind}), workdir=services.workdir)
        for name in adapter.existing() if isinstance(adapter, Listing) else ():
            known = services.store.resource(name)
            if known is not None and known.released_at is not None:
                found.append(known)
    return tuple(found)


def is_over(services: Services, resource: Resource, now: datetime) -> bool:
    """Whether nobody uses a resource any more: its lease ended, its run is closed, or its run's process is dead.

    A dead runner's sandbox is left alone until its lease ends when the run may still be resumed on this machine; one that a
    person asked to keep has nothing but its lease.
    """
    if resource.lease_until <= now:
        return True
    if resource.state is ResourceState.KEPT:
        return False
    run = services.store.run(resource.run_id)
    return run is None or run.closed_at is not None or (run.owner.kind == "airflow" and is_abandoned(services, run, now))
