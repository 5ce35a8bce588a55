"""Destroy what outlived its lease or its run: the clean-up that doesn't depend on the drill that made it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.stages.ownership import is_abandoned
from airflow_dr_provider.stages.release import release
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Resource, ResourceState


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """What one pass did.

    :param released: names of resources that are gone now.
    :param leftovers: for each resource that couldn't be removed, why.
    :param kept: names of resources that are still in use.
    """

    released: tuple[str, ...]
    leftovers: dict[str, str]
    kept: tuple[str, ...]


async def reap(services: Services, *, now: datetime, everything: bool = False, dry_run: bool = False) -> Reaped:
    """One pass over the ledger.

    :param everything: don't wait for leases or owners.
    :param dry_run: say what would be released, release nothing.
    """
    released: list[str] = []
    kept: list[str] = []
    leftovers: dict[str, str] = {}
    for resource in services.store.unreleased():
        if not (everything or is_over(services, resource, now)):
            kept.append(resource.name)
        elif dry_run:
            released.append(resource.name)
        else:
            try:
                left = await release(services, resource)
            except (DrillError, OSError) as error:
                left = (str(error),)
            if left:
                leftovers[resource.name] = "; ".join(left)
            else:
                released.append(resource.name)
    return Reaped(released=tuple(released), leftovers=leftovers, kept=tuple(kept))


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
