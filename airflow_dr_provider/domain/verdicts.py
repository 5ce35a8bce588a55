"""What a stage or a check found: three-valued verdicts and the results that carry them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import Field

from airflow_dr_provider.domain.value import Value


class Verdict(StrEnum):
    """PASSED, FAILED, or COULD_NOT_VERIFY: what could not run has never passed."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    COULD_NOT_VERIFY = "COULD_NOT_VERIFY"


class StageName(StrEnum):
    """The steps of an attempt, in their order."""

    SELECT = "select"
    RESERVE = "reserve"
    PROVISION = "provision"
    RESTORE = "restore"
    WARM = "warm"
    VALIDATE = "validate"
    TEARDOWN = "teardown"


class CheckResult(Value):
    """One check's answer.

    :param name: the check's registered name; a smoke test's is ``smoke:<its name>``.
    :param signature: a code from :mod:`airflow_dr_provider.domain.signatures` when the check did not pass, else None.
    :param detail: one sentence for a person; never data of the restored database beyond names and counts.
    :param required: False for a check whose COULD_NOT_VERIFY doesn't spoil the gate (say, no reference exists yet).
    :param proves_data: True for a check that looked at restored data; a gate without one that passed never passes.
    :param measurements: numbers worth a history (seconds, bytes, rows), by name.
    :param facts: whatever else the record should keep, JSON-able.
    """

    name: str
    verdict: Verdict
    signature: str | None = None
    detail: str = ""
    elapsed_seconds: float = 0.0
    required: bool = True
    proves_data: bool = False
    measurements: dict[str, float] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)


class StageResult(Value):
    """How a stage ended: the one value that every stage returns and that the chain decides on.

    :param exit_code: see :class:`airflow_dr_provider.domain.exit_codes.ExitCode`; 0 when the stage passed.
    :param signature: the failure's code, None when the stage passed.
    :param detail: one sentence for a person.
    :param facts: what the next stage or the record needs, JSON-able and without secrets.
    """

    stage: StageName
    verdict: Verdict
    exit_code: int = 0
    signature: str | None = None
    detail: str = ""
    elapsed_seconds: float = 0.0
    tries: int = 1
    metrics: dict[str, float] = Field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()
    facts: dict[str, Any] = Field(default_factory=dict)


def combine(checks: Iterable[CheckResult]) -> Verdict:
    """A gate's verdict over its checks: the worst one counts, and at least one data check must have passed.

    A check that is not required and could not verify doesn't count; one that failed always does.
    """
    results = tuple(checks)
    if any(check.verdict is Verdict.FAILED for check in results):
        return Verdict.FAILED
    if any(check.verdict is Verdict.COULD_NOT_VERIFY and check.required for check in results):
        return Verdict.COULD_NOT_VERIFY
    if not any(check.proves_data and check.verdict is Verdict.PASSED for check in results):
        return Verdict.COULD_NOT_VERIFY
    return Verdict.PASSED
