"""What one stage of one attempt works with."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from airflow_dr_provider.domain.chain import AttemptHistory, Rung
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.repositories.base import Repository
from airflow_dr_provider.sandboxes.base import Sandbox, close, sandbox
from airflow_dr_provider.spec.models import DrillSpec, Tier
from airflow_dr_provider.stages.history import read_history
from airflow_dr_provider.stages.inputs import RunInputs
from airflow_dr_provider.stages.naming import sandbox_name
from airflow_dr_provider.stages.open_run import repository_of
from airflow_dr_provider.stages.selection_inputs import rpo_seconds
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Attempt, Resource, Run


@dataclass(frozen=True, kw_only=True)
class AttemptContext:
    """One attempt, and everything that a stage may ask for. Read from the store by id, whichever process asks.

    :param held: what an injected fault holds until the stage ends.
    """

    services: Services
    spec: DrillSpec
    run: Run
    inputs: RunInputs
    rungs: tuple[Rung, ...]
    rung: Rung
    attempt: Attempt
    held: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def tier(self) -> Tier:
        """The tier's part of the spec."""
        return next(tier for tier in self.spec.tiers if tier.name == self.rung.tier)

    @property
    def rpo_seconds(self) -> float:
        """The tier's RPO: its own, else the drill's."""
        return rpo_seconds(self.spec, self.tier)

    @cached_property
    def repository(self) -> Repository:
        """The backup repository."""
        return repository_of(self.spec)

    @cached_property
    def sandbox(self) -> Sandbox:
        """The tier's environment."""
        return sandbox(self.tier.sandbox.kind, self.tier.sandbox, workdir=self.services.workdir)

    async def close(self) -> None:
        """Give back what the tier's environment keeps open, if it was used."""
        used = self.__dict__.get("sandbox")
        if used is not None:
            await close(used)

    @property
    def sandbox_name(self) -> str:
        """The name that this attempt's sandbox has, whoever makes it, however often."""
        return sandbox_name(self.spec.drill, self.run.id, self.rung.index)

    @property
    def history(self) -> tuple[AttemptHistory, ...]:
        """The run so far."""
        return read_history(self.services.store, self.run.id)

    def earlier(self, stage: StageName) -> StageResult | None:
        """The result of an earlier stage of this attempt."""
        for checkpoint in self.services.store.checkpoints(self.attempt.id):
            if checkpoint.stage is stage:
                return checkpoint.result
        return None

    def coordinate(self) -> RestoreCoordinate:
        """What the select stage chose.

        :raises SandboxError: when it chose nothing: a stage was run out of order.
        """
        result = self.earlier(StageName.SELECT)
        if result is None or result.verdict is not Verdict.PASSED:
            raise SandboxError(
                f"{self.rung.tier}: no restore coordinate was chosen, so this stage has nothing to do.", code="STAGE_BROKEN"
            )
        return RestoreCoordinate.model_validate(result.facts["coordinate"])

    def resource(self) -> Resource:
        """The ledger's row of this attempt's sandbox.

        :raises SandboxError: when none was reserved, or it is released already.
        """
        found = self.services.store.resource(self.sandbox_name)
        if found is None:
            raise SandboxError(f"{self.rung.tier}: no sandbox was reserved for this attempt.", code="STAGE_BROKEN")
        if found.released_at is not None:
            raise SandboxError(
                f"{self.rung.tier}: the sandbox {found.name} was released already; its lease is over.", code="LEASE_EXPIRED"
            )
        return found

    def handle(self) -> SandboxHandle:
        """The sandbox's handle as the ledger has it."""
        return SandboxHandle.model_validate(self.resource().handle)

    def keep_handle(self, handle: SandboxHandle, **notes: Any) -> SandboxHandle:
        """Write a handle, and what a resumption needs beside it, to the ledger."""
        updated = handle.model_copy(update={"details": {**handle.details, **notes}})
        self.services.store.created(handle.name, updated.model_dump(mode="json"), now=self.services.clock())
        return updated
