"""Give one resource of the ledger back."""

from __future__ import annotations

from pathlib import Path

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.sandboxes.base import close, sandbox
from airflow_dr_provider.spec.sandbox import sandbox_spec
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Resource


async def release(services: Services, resource: Resource) -> tuple[str, ...]:
    """Destroy it as the ledger knows it, and write that it is gone once it has been looked for and not found.

    :return: what is still there, in words; empty when it is released.
    """
    settings = sandbox_spec(resource.settings)
    adapter = sandbox(resource.kind, settings, workdir=Path(resource.workdir))
    try:
        leftovers = await adapter.destroy(SandboxHandle.model_validate(resource.handle))
    finally:
        await close(adapter)
    if not leftovers:
        services.store.released(resource.name, now=services.clock())
    return leftovers
