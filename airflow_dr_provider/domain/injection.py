"""Faults that a drill can be told to inject into its own copy, what each is expected to lead to, and whether it did.

A run with an injected fault drills the drill: it proves nothing about a backup.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

from airflow_dr_provider.domain.chain import AttemptHistory, Rung
from airflow_dr_provider.domain.fault_list import FAULTS, Fault, Leads
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.verdicts import StageName, StageResult
from airflow_dr_provider.errors import SpecError

NONE = "none"
"""What a form says when nothing is to be injected."""


class Injection(Value):
    """A fault in the first attempt of a tier."""

    fault: str
    tier: str

    @property
    def text(self) -> str:
        """As it is written on a command line and kept with the run."""
        return f"{self.fault}@{self.tier}"


def parse_injections(texts: Iterable[str], tiers: Sequence[str]) -> tuple[Injection, ...]:
    """What ``FAULT`` or ``FAULT@TIER`` mean for a chain; without a tier the first one is meant.

    :param tiers: the tiers' names, in order.
    :raises SpecError: ``INJECTION_REFUSED`` for a fault or a tier that isn't known, or the same twice.
    """
    found: list[Injection] = []
    for text in texts:
        name, at, tier = text.strip().partition("@")
        if name not in FAULTS:
            raise _refused(f"{name!r} is no fault that can be injected. `airflow-dr inject --list` shows them.")
        if at and tier not in tiers:
            raise _refused(f"{text}: the drill has no tier {tier!r}; its tiers are {', '.join(tiers)}.")
        injection = Injection(fault=name, tier=tier if at else tiers[0])
        if injection in found:
            raise _refused(f"{injection.text} is there twice; a fault strikes a tier once.")
        found.append(injection)
    return tuple(found)


def _refused(message: str) -> SpecError:
    return SpecError(message, code="INJECTION_REFUSED")


class Found(StrEnum):
    """How a chain went on after an attempt."""

    ANOTHER_BACKUP = "went on with another backup"
    SAME_BACKUP = "went on with the same backup"
    RECOVERED = "recovered"
    ENDED = "ended without a recovery"
    UNFINISHED = "did not come to an end"


_AS_EXPECTED = {
    Leads.ANOTHER_BACKUP: (Found.ANOTHER_BACKUP, Found.ENDED),
    Leads.SAME_BACKUP: (Found.SAME_BACKUP, Found.ENDED),
    Leads.NOTHING: (Found.RECOVERED,),
}
"""A chain that has nowhere left to go ends, whatever it would have gone on with."""


class InjectionReport(Value):
    """What became of an injected fault.

    :param struck: whether the damage was done; the tier may never have been begun.
    :param signature: what the attempt ended with, None when it passed.
    :param as_expected: whether both the signature and the move of the chain are those that the list of faults promises.
    """

    fault: str
    tier: str
    stage: StageName
    struck: bool
    expected: tuple[str, ...]
    expected_move: Leads
    signature: str | None
    move: Found
    as_expected: bool
    detail: str


def report(
    injections: Iterable[Injection], rungs: Sequence[Rung], history: Sequence[AttemptHistory], struck: Collection[str]
) -> tuple[InjectionReport, ...]:
    """Hold what happened against what was to be expected.

    :param history: the whole run.
    :param struck: the texts of the injections whose damage was done.
    """
    return tuple(_report(injection, rungs, history, injection.text in struck) for injection in injections)


def _report(injection: Injection, rungs: Sequence[Rung], history: Sequence[AttemptHistory], struck: bool) -> InjectionReport:
    fault = FAULTS[injection.fault]
    rung = next(rung for rung in rungs if rung.tier == injection.tier and rung.number == 1)
    index = next((index for index, attempt in enumerate(history) if attempt.rung == rung.index), None)
    failure = _failure(fault, history[index]) if index is not None else None
    code = failure.signature if failure is not None else None
    move = _move(history, index) if index is not None else Found.UNFINISHED
    good = struck and code in fault.signatures and move in _AS_EXPECTED[fault.leads]
    return InjectionReport(
        fault=fault.name,
        tier=injection.tier,
        stage=fault.moment.stage,
        struck=struck,
        expected=fault.signatures,
        expected_move=fault.leads,
        signature=code,
        move=move,
        as_expected=good,
        detail=_sentence(fault, struck, code, move, good),
    )


def _failure(fault: Fault, attempt: AttemptHistory) -> StageResult | None:
    if fault.moment.stage is not StageName.TEARDOWN:
        return attempt.failure
    torn_down = [result for result in attempt.results if result.stage is StageName.TEARDOWN and result.signature is not None]
    return torn_down[-1] if torn_down else None


def _move(history: Sequence[AttemptHistory], index: int) -> Found:
    attempt = history[index]
    if attempt.passed:
        return Found.RECOVERED
    if index + 1 < len(history):
        same = history[index + 1].candidate == attempt.candidate
        return Found.SAME_BACKUP if same else Found.ANOTHER_BACKUP
    return Found.ENDED if attempt.failure is not None else Found.UNFINISHED


def _sentence(fault: Fault, struck: bool, code: str | None, move: Found, good: bool) -> str:
    verdict = "as expected" if good else "NOT as expected"
    if not struck:
        return f"{verdict}: the damage was not done ({code or 'its moment never came'})"
    happened = f"{code or 'nothing was found'}, and the chain {move.value}"
    if good:
        return f"{verdict}: {happened}"
    wanted = f"{' or '.join(fault.signatures)}, and that the chain {fault.leads.value}"
    found_by = f"; {fault.found_by} finds it where the tier runs that" if code is None and fault.found_by else ""
    return f"{verdict}: {happened}; expected {wanted}{found_by}"
