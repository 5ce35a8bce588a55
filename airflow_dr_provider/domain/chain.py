"""The chain's state machine: what comes after a result, and what a whole run amounts to.

The states of a chain are its rungs, by names like ``primary`` and ``cold#2``, and four more: ``start``, ``recovered``,
``manual_triage`` and ``could_not_verify``. A chain goes down its rungs only; it ends at the latest below the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from airflow_dr_provider.domain.exit_codes import ExitCode
from airflow_dr_provider.domain.signatures import Domain, Recoverability, signature
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict

START = "start"
RECOVERED = "recovered"
TRIAGE = "manual_triage"
COULD_NOT_VERIFY = "could_not_verify"
ENDS = (RECOVERED, TRIAGE, COULD_NOT_VERIFY)

ANOTHER_BACKUP_MAY_SERVE = frozenset({Domain.BACKUP, Domain.DATA, Domain.ARCHIVE})
"""Causes after which the same tier is worth another attempt: what comes next there differs from what failed."""


DAMAGED_BACKUP = "damaged_backup"
"""The fact of a failed restore that names the backup at fault, where the candidate builds on others."""


def state_name(tier: str, number: int) -> str:
    """The name, as a state of the chain, of a tier's attempt of that number."""
    return tier if number == 1 else f"{tier}#{number}"


class Rung(Value):
    """One attempt that the chain may make.

    :param index: its place in the chain, from 0.
    :param tier: the tier's name.
    :param number: which attempt of that tier it is, from 1.
    :param role: the tier's role.
    :param retries: how often a stage may be tried again on the spot.
    :param asked: whether it is no part of the chain, but what a person asked for when the chain had ended in triage.
    """

    index: int
    tier: str
    number: int
    role: str
    retries: int
    asked: bool = False

    @property
    def state(self) -> str:
        """Its name as a state of the chain: the tier's, and from the tier's second attempt on ``cold#2``."""
        return state_name(self.tier, self.number)


def place(rung: Rung) -> str:
    """A rung's name as a state."""
    return rung.state


def unroll(tiers: Sequence[tuple[str, str, int]], candidates: int) -> tuple[Rung, ...]:
    """The rungs of a chain: one for each tier, then the last tier again with the next backup.

    :param tiers: name, role and retries of each tier, in order.
    :param candidates: how many attempts there are at least.
    :raises ValueError: without a tier.
    """
    if not tiers:
        raise ValueError("a chain needs a tier")
    rungs: list[Rung] = []
    for index in range(max(len(tiers), candidates)):
        name, role, retries = tiers[min(index, len(tiers) - 1)]
        number = max(1, index - len(tiers) + 2)
        rungs.append(Rung(index=index, tier=name, number=number, role=role, retries=retries))
    return tuple(rungs)


def first_rung(rungs: Sequence[Rung], tier: str | None) -> Rung:
    """The rung that a run begins with: the first attempt of a tier, or the chain's.

    :raises StopIteration: for a tier that isn't in the chain; requests are checked for that before a run opens.
    """
    return rungs[0] if tier is None else next(rung for rung in rungs if rung.tier == tier)


def asked_rung(rungs: Sequence[Rung], tier: str) -> Rung:
    """One more attempt of a tier, after the whole chain."""
    same = [rung for rung in rungs if rung.tier == tier]
    return same[-1].model_copy(update={"index": len(rungs), "number": same[-1].number + 1, "asked": True})


class AttemptHistory(Value):
    """What happened on one rung.

    :param candidate: the backup chosen, None when none was.
    :param results: the stages' results in order, teardown's too.
    """

    rung: int
    candidate: str | None = None
    results: tuple[StageResult, ...] = ()

    @property
    def failure(self) -> StageResult | None:
        """The result that ended the attempt: the last one before teardown when it did not pass; None otherwise."""
        last = self.last
        return last if last is not None and last.verdict is not Verdict.PASSED else None

    @property
    def passed(self) -> bool:
        """Whether the gate passed: the recovery is proved, whatever teardown said."""
        last = self.last
        return last is not None and last.stage is StageName.VALIDATE and last.verdict is Verdict.PASSED

    @property
    def last(self) -> StageResult | None:
        """The last result of a stage other than teardown."""
        return next((result for result in reversed(self.results) if result.stage is not StageName.TEARDOWN), None)

    @property
    def torn_down(self) -> bool:
        """Whether teardown has run: the attempt can't go on."""
        return any(result.stage is StageName.TEARDOWN for result in self.results)


History = tuple[AttemptHistory, ...]
"""A run's attempts in order; each on a later rung than the one before."""


class Move(StrEnum):
    """What to do next."""

    RETRY = "retry"
    CONTINUE = "continue"
    NEXT_RUNG = "next_rung"
    TRIAGE = "triage"
    DONE = "done"


class Step(Value):
    """A decision.

    :param move: ``DONE`` ends the chain in ``recovered`` or ``could_not_verify``, ``TRIAGE`` in ``manual_triage``.
    :param source: the state left; for RETRY and CONTINUE the destination is the same.
    :param rung: the index of the rung to be on; None at the end.
    :param reason: the signature's code, or ``passed``.
    :param quarantine: the backup to be remembered as failed, beyond this run: the candidate, or the one of its bases that the
        fault lies in.
    :param refuse: whether the attempt's backup is not to be used again in this run.
    """

    move: Move
    source: str
    destination: str
    rung: int | None = None
    reason: str
    quarantine: str | None = None
    refuse: bool = False
    detail: str = ""


def retry_here(result: StageResult, rung: Rung) -> bool:
    """Whether a stage is to be tried again on the spot: its failure may heal by itself and the tier has tries left."""
    if result.verdict is Verdict.PASSED:
        return False
    return signature(_code(result)).recoverability is Recoverability.SELF_HEALING and result.tries <= rung.retries


def next_step(rungs: Sequence[Rung], history: History, *, begin: int = 0) -> Step:
    """What comes next, decided from the last attempt.

    :param begin: the index of the rung that the run begins with.
    :raises KeyError: for a signature that isn't registered.
    """
    if not history:
        return Step(move=Move.NEXT_RUNG, source=START, destination=place(rungs[begin]), rung=begin, reason="opened")
    attempt = history[-1]
    rung = rungs[attempt.rung]
    here = place(rung)
    if attempt.passed:
        return Step(move=Move.DONE, source=here, destination=RECOVERED, reason="passed")
    failure = attempt.failure
    if failure is None and not attempt.torn_down:
        return Step(move=Move.CONTINUE, source=here, destination=here, rung=rung.index, reason="passed")
    if failure is not None and not attempt.torn_down and retry_here(failure, rung):
        return Step(
            move=Move.RETRY, source=here, destination=here, rung=rung.index, reason=_code(failure), detail=failure.detail
        )
    # An attempt that was torn down before it failed or passed was cut off from outside.
    code = "INTERRUPTED" if failure is None else _code(failure)
    domain = signature(code).domain
    named = attempt.candidate is not None
    damaged = failure is not None and failure.verdict is Verdict.FAILED and domain is Domain.BACKUP
    quarantine = _damaged_backup(failure, attempt.candidate) if damaged and failure is not None else None
    refuse = named and domain in (Domain.BACKUP, Domain.DATA)
    detail = "" if failure is None else failure.detail
    following = _next_rung(rungs, rung, failure, domain)
    if following is not None:
        return Step(
            move=Move.NEXT_RUNG,
            source=here,
            destination=place(following),
            rung=following.index,
            reason=code,
            quarantine=quarantine,
            refuse=refuse,
            detail=detail,
        )
    failed = _any_failed(history)
    return Step(
        move=Move.TRIAGE if failed else Move.DONE,
        source=here,
        destination=TRIAGE if failed else COULD_NOT_VERIFY,
        reason=code,
        quarantine=quarantine,
        refuse=refuse,
        detail=detail,
    )


def _damaged_backup(failure: StageResult, candidate: str | None) -> str | None:
    """The backup to be remembered: the one in whose files the fault lies, which may be what the candidate builds on.

    Whatever else builds on it is then out too, and a candidate whose base alone is damaged casts no doubt on its siblings.
    """
    member = failure.facts.get(DAMAGED_BACKUP)
    return str(member) if candidate is not None and member is not None else candidate


def _next_rung(rungs: Sequence[Rung], rung: Rung, failure: StageResult | None, domain: Domain) -> Rung | None:
    """The next rung that is worth trying.

    The same tier again only helps when another backup, or another way through the archive, may be found there: not after a
    selection that found none, nor after a cause that lies in the tier or in the spec.
    """
    chosen = failure is not None and failure.stage is not StageName.SELECT
    again = chosen and domain in ANOTHER_BACKUP_MAY_SERVE
    later = (other for other in rungs[rung.index + 1 :] if not other.asked)
    return next((other for other in later if again or other.tier != rung.tier), None)


def _any_failed(history: History) -> bool:
    return any(attempt.failure is not None and attempt.failure.verdict is Verdict.FAILED for attempt in history)


def _code(result: StageResult) -> str:
    return result.signature or "STAGE_BROKEN"


class Outcome(StrEnum):
    """What a run amounts to; ``CLEANUP_FAILED`` stands beside it as an exit code."""

    RECOVERED = "RECOVERED"
    RECOVERED_DEGRADED = "RECOVERED_DEGRADED"
    MANUAL_TRIAGE = "MANUAL_TRIAGE"
    COULD_NOT_VERIFY = "COULD_NOT_VERIFY"


OUTCOME_EXIT_CODES: dict[Outcome, ExitCode] = {
    Outcome.RECOVERED: ExitCode.RECOVERED,
    Outcome.RECOVERED_DEGRADED: ExitCode.RECOVERED_DEGRADED,
    Outcome.MANUAL_TRIAGE: ExitCode.MANUAL_TRIAGE,
    Outcome.COULD_NOT_VERIFY: ExitCode.COULD_NOT_VERIFY,
}


def outcome(
    rungs: Sequence[Rung], history: History, *, leftovers: int, rto_met: bool | None, short: bool, begin: int = 0
) -> tuple[Outcome, ExitCode, tuple[str, ...]]:
    """What a run amounts to, with the sentences that say why.

    RECOVERED is said only when the chain's first rung carried it with its first candidate, up to the target, within the RTO.
    A run that began at a later tier, because a person chose so, is RECOVERED_DEGRADED at best: RECOVERED claims that the first
    pathway works, and nothing was found out about that one. A history that ends before the chain does (a signal, a lost
    runner) has recovered nothing.

    :param begin: the index of the rung that the run began with.
    :param leftovers: how many resources of the run are still there: with any, the exit code is 4 whatever the outcome.
    :param rto_met: None when there is no objective.
    :param short: whether the recovery stopped before the target.
    """
    reasons: list[str] = []
    if history and history[-1].passed:
        rung = rungs[history[-1].rung]
        if rung.index > begin or len(history) > 1:
            asked = ", asked for in triage" if rung.asked else ""
            reasons.append(f"{place(rung)} carried it{asked}, after {_tried(rungs, history[:-1])}.")
        if begin > 0:
            reasons.append(
                f"The run began at {place(rungs[begin])}, by request: {', '.join(not_tried(rungs, begin))} not tried."
            )
        if short:
            reasons.append("It stopped before the target.")
        if rto_met is False:
            reasons.append("It took longer than the RTO allows.")
        result = Outcome.RECOVERED_DEGRADED if reasons else Outcome.RECOVERED
    elif _any_failed(history):
        result = Outcome.MANUAL_TRIAGE
        reasons.append(f"No attempt recovered: {_tried(rungs, history)}.")
    else:
        result = Outcome.COULD_NOT_VERIFY
        reasons.append(f"No attempt could be judged: {_tried(rungs, history)}." if history else "No attempt was made.")
    code = OUTCOME_EXIT_CODES[result]
    if leftovers:
        reasons.append(f"Left behind: {leftovers} {'resource' if leftovers == 1 else 'resources'}.")
        code = ExitCode.CLEANUP_FAILED
    return result, code, tuple(reasons)


def not_tried(rungs: Sequence[Rung], begin: int) -> tuple[str, ...]:
    """The tiers that a run that begins at a rung leaves out."""
    return tuple(dict.fromkeys(rung.tier for rung in rungs[:begin]))


def _tried(rungs: Sequence[Rung], history: Sequence[AttemptHistory]) -> str:
    return (
        ", ".join(
            f"{place(rungs[attempt.rung])} ({'INTERRUPTED' if attempt.failure is None else _code(attempt.failure)})"
            for attempt in history
        )
        or "skipped rungs"
    )


# -- the table -----------------------------------------------------------------------------------------------------------
class Edge(Value):
    """A transition that may happen.

    :param when: for people: what makes the chain take it.
    """

    source: str
    destination: str
    move: Move
    when: str


def states(rungs: Sequence[Rung]) -> tuple[str, ...]:
    """Every state of a chain, in order."""
    return (START, *(place(rung) for rung in rungs), *ENDS)


def edges(rungs: Sequence[Rung], *, begin: int = 0) -> tuple[Edge, ...]:
    """Every transition that a chain may take; what is not listed never happens.

    The end is below the last rung, and also below the last tier's first: its further rungs are skipped when no other backup
    could help. Triage leads on to the attempt that a person asked for, when one did.
    """
    found = [
        Edge(source=START, destination=place(rungs[begin]), move=Move.NEXT_RUNG, when="the run opened"),
        Edge(source=START, destination=TRIAGE, move=Move.TRIAGE, when="the target can't be reached"),
        Edge(source=START, destination=COULD_NOT_VERIFY, move=Move.DONE, when="the drill can't begin"),
    ]
    for rung in rungs:
        here = place(rung)
        found.append(Edge(source=here, destination=here, move=Move.CONTINUE, when="a stage passed"))
        found.append(Edge(source=here, destination=here, move=Move.RETRY, when="a failure that may heal, tries left"))
        found.append(Edge(source=here, destination=RECOVERED, move=Move.DONE, when="the gate passed"))
        if rung.asked:
            found.append(Edge(source=TRIAGE, destination=here, move=Move.NEXT_RUNG, when="a person asked for it"))
        following = rungs[rung.index + 1] if rung.index + 1 < len(rungs) and not rungs[rung.index + 1].asked else None
        if following is not None:
            same = following.tier == rung.tier
            when = "the backup, its data or the archive failed" if same else "any failure"
            found.append(Edge(source=here, destination=place(following), move=Move.NEXT_RUNG, when=when))
        if following is None or following.tier == rung.tier:
            found.append(
                Edge(source=here, destination=TRIAGE, move=Move.TRIAGE, when="nothing is left to try, and an attempt failed")
            )
            when = "nothing is left to try, and no attempt could be judged"
            found.append(Edge(source=here, destination=COULD_NOT_VERIFY, move=Move.DONE, when=when))
    return tuple(found)


def legal(rungs: Sequence[Rung], step: Step, *, begin: int = 0) -> bool:
    """Whether a step is one of the chain's transitions."""
    return any(
        (edge.source, edge.destination, edge.move) == (step.source, step.destination, step.move)
        for edge in edges(rungs, begin=begin)
    )
