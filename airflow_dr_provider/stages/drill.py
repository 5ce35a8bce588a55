"""One drill run, stage by stage: what both faces, Airflow's operators and the runner, call."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from airflow_dr_provider.domain.chain import START, TRIAGE, Move, Rung, Step, asked_rung, first_rung, next_step, place, unroll
from airflow_dr_provider.domain.request import PLAIN, RunRequest
from airflow_dr_provider.domain.triage import TriageAnswer, judge_answer
from airflow_dr_provider.domain.verdicts import StageName, StageResult
from airflow_dr_provider.domain.waiting import Waiting
from airflow_dr_provider.errors import StateError
from airflow_dr_provider.sandboxes.base import close, sandbox
from airflow_dr_provider.spec.loader import spec_digest, spec_from_snapshot, spec_snapshot
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.repository_connection import placed
from airflow_dr_provider.stages.close_run import close_run
from airflow_dr_provider.stages.context import AttemptContext
from airflow_dr_provider.stages.history import read_history
from airflow_dr_provider.stages.injection import strikes
from airflow_dr_provider.stages.inputs import RunInputs
from airflow_dr_provider.stages.naming import sandbox_name
from airflow_dr_provider.stages.open_run import open_inputs
from airflow_dr_provider.stages.perform import advance, perform
from airflow_dr_provider.stages.services import Progress, Services
from airflow_dr_provider.stages.waiting import cancel_wait, open_wait
from airflow_dr_provider.state.people import People
from airflow_dr_provider.state.records import Attempt, Owner, Quarantined, Run

ASKED = "asked"
"""The reason of the move to an attempt that a person asked for."""


class Drill:
    """One run, read from the store by its id: any process may hold one, none keeps anything that the store hasn't.

    Make one with :meth:`begin` or :meth:`resume`.
    """

    def __init__(self, services: Services, run: Run, inputs: RunInputs) -> None:
        self.services = services
        self.run = run
        self.inputs = inputs

    # -- opening -------------------------------------------------------------------------------------------------------
    @classmethod
    async def begin(
        cls,
        services: Services,
        spec: DrillSpec,
        *,
        run_id: str,
        owner: Owner,
        trigger: str,
        as_of: datetime | None = None,
        inject: Sequence[str] = (),
        request: RunRequest = PLAIN,
    ) -> Drill:
        """Open a run, or go on opening one that was interrupted.

        :param as_of: the moment of the disaster, when it isn't now.
        :param inject: faults to inject into the run's own copy, ``FAULT`` or ``FAULT@TIER``.
        :param request: what whoever triggered the run asks of it.
        :raises SpecError: ``INJECTION_REFUSED`` for a fault or a tier that isn't known, or one that this run won't try.
        :raises ConfigurationError: when the repository's connection can't be had.
        :raises StateError: ``ALREADY_RUNNING``, or the store can't be used.
        """
        # The run keeps the place itself: a connection that is changed meanwhile must not move a run to other backups.
        spec = placed(spec, services.connections)
        injected = strikes(spec, inject, request)
        run = services.store.open_run(
            run_id=run_id,
            drill=spec.drill,
            spec_digest=spec_digest(spec),
            spec=spec_snapshot(spec),
            owner=owner,
            trigger=trigger,
            as_of=as_of,
            now=services.clock(),
            overlap=spec.overlap,
            injected=injected,
            request=request,
        )
        inputs = await open_inputs(services, spec, run)
        drill = cls(services, run, inputs)
        drill._move(drill._opening())
        return drill

    @classmethod
    def resume(cls, services: Services, run_id: str) -> Drill:
        """A run that was opened before, here or elsewhere.

        :raises StateError: when the store doesn't know it, or it was never fully opened.
        """
        run = services.store.run(run_id)
        if run is None or not run.inputs:
            raise StateError(
                f"The run {run_id} isn't in the state store, or its opening never ended. Check that every task and "
                f"worker uses the same AIRFLOW_DR_STATE."
            )
        return cls(services, run, RunInputs.model_validate(run.inputs))

    @cached_property
    def spec(self) -> DrillSpec:
        """The spec as it was when the run opened."""
        return spec_from_snapshot(self.run.spec)

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """The unrolled chain, and the attempt that a person asked for after it."""
        tiers = tuple((tier.name, tier.role, tier.retries) for tier in self.spec.tiers)
        planned = unroll(tiers, self.spec.selection.candidates)
        answer = self.run.triage
        return planned if answer is None or answer.tier is None else (*planned, asked_rung(planned, answer.tier))

    @property
    def first(self) -> int:
        """The index of the rung that the run begins with."""
        return first_rung(self.rungs, self.run.request.first_tier).index

    @property
    def terminal(self) -> Step | None:
        """The step that ended the run when it opened, before anything was restored; None when the chain is to be walked."""
        step = self._opening()
        return step if step.move is not Move.NEXT_RUNG else None

    def _opening(self) -> Step:
        stop = self.inputs.stop
        if stop is None:
            return next_step(self.rungs, (), begin=self.first)
        move = Move.TRIAGE if stop.destination == TRIAGE else Move.DONE
        return Step(move=move, source=START, destination=stop.destination, reason=stop.signature, detail=stop.detail)

    # -- the chain -----------------------------------------------------------------------------------------------------
    def attempt(self, rung: int) -> AttemptContext:
        """The attempt of a rung, opened when it isn't yet."""
        chosen = self.rungs[rung]
        attempt: Attempt = self.services.store.open_attempt(
            self.run.id, rung=rung, tier=chosen.tier, number=chosen.number, now=self.services.clock()
        )
        return AttemptContext(
            services=self.services,
            spec=self.spec,
            run=self.run,
            inputs=self.inputs,
            rungs=self.rungs,
            rung=chosen,
            attempt=attempt,
        )

    def stages(self, rung: int) -> tuple[StageName, ...]:
        """The stages of a rung before its teardown; warming only where the tier asks for it."""
        warm = self.attempt(rung).tier.cache_warming != "none"
        return tuple(stage for stage in StageName if stage is not StageName.TEARDOWN and (warm or stage is not StageName.WARM))

    async def perform(self, rung: int, stage: StageName) -> StageResult:
        """Run a stage of a rung. Idempotent: a finished one returns its result."""
        return await perform(self.attempt(rung), stage)

    async def advance(self, rung: int, stage: StageName) -> StageResult | Waiting:
        """Run a stage of a rung as far as it goes without waiting for others; see :func:`.perform.advance`."""
        return await advance(self.attempt(rung), stage)

    def open_wait(self, rung: int, stage: StageName) -> Waiting | None:
        """What a stage had begun elsewhere, if it may still be at it."""
        return open_wait(self.attempt(rung), stage)

    async def cancel(self, rung: int, stage: StageName) -> bool:
        """End that: nobody wants it any more."""
        waiting = self.open_wait(rung, stage)
        return waiting is not None and await cancel_wait(self.services, waiting)

    async def discard(self, rung: int) -> None:
        """Destroy a rung's sandbox by its derived name alone: for when the store, which knows more, doesn't answer.

        The ledger still has it as unreleased; the reaper finds it gone and writes that.
        """
        place = self.rungs[rung]
        tier = next(tier for tier in self.spec.tiers if tier.name == place.tier)
        adapter = sandbox(tier.sandbox.kind, tier.sandbox, workdir=self.services.workdir)
        try:
            await adapter.destroy(adapter.handle(sandbox_name(self.spec.drill, self.run.id, rung)))
        finally:
            await close(adapter)

    def next_step(self, rung: int) -> Step:
        """Decide where the chain goes after a rung, write it to the log, and quarantine what has to be."""
        history = tuple(attempt for attempt in read_history(self.services.store, self.run.id) if attempt.rung <= rung)
        step = next_step(self.rungs, history, begin=self.first)
        if step.quarantine is not None and not self.run.injected:
            self.services.store.quarantine(
                Quarantined(
                    repository=self.inputs.repository,
                    backup_id=step.quarantine,
                    signature=step.reason,
                    detail=step.detail,
                    run_id=self.run.id,
                    at=self.services.clock(),
                )
            )
        self._move(step)
        return step

    def _move(self, step: Step) -> None:
        # Every state is left once, so a move that is in the log already was written before an interruption.
        if any(entry.source == step.source for entry in self.services.store.transitions(self.run.id)):
            return
        self.services.store.move(
            self.run.id,
            source=step.source,
            destination=step.destination,
            reason=step.reason,
            signature=None if step.reason in ("passed", "opened", ASKED) else step.reason,
            detail=step.detail,
            now=self.services.clock(),
        )
        message = f"{step.source} → {step.destination}: {step.reason}" + (f" ({step.detail})" if step.detail else "")
        self.services.progress(Progress(run_id=self.run.id, place=step.source, message=message))

    # -- the end -------------------------------------------------------------------------------------------------------
    def answer_triage(self, chosen: str, *, tier: str | None, reason: str, by: str) -> TriageAnswer:
        """Keep what a person answered to the triage question: the first answer counts.

        :param tier: the tier to try again.
        """
        answer = judge_answer(
            chosen,
            tier=tier,
            reason=reason,
            by=by,
            at=self.services.clock(),
            tiers=[tier.name for tier in self.spec.tiers],
            can_retry=self.inputs.target is not None,
        )
        answer = People(self.services.store).answer(self.run.id, answer)
        self.run = self.run.model_copy(update={"triage": answer})
        self.__dict__.pop("rungs", None)
        to, why = ("answered", answer.chosen) if answer.tier is None else (place(self.rungs[-1]), ASKED)
        detail = ". ".join(part for part in (answer.said, answer.note) if part)
        self._move(Step(move=Move.NEXT_RUNG, source=TRIAGE, destination=to, reason=why, detail=detail))
        return answer

    async def close(self) -> dict[str, Any]:
        """Close the run: try once more to release what is left, decide the outcome, write the record. Idempotent."""
        run = self.services.store.run(self.run.id) or self.run
        if run.closed_at is not None and run.record is not None:
            return run.record
        return await close_run(self.services, run, self.spec, self.inputs, self.rungs)
