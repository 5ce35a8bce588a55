"""The three answers a check can give, each with what has to come with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

LISTED = 100
"""So many names go into a record; counts say how many there were."""


def passed(
    name: str,
    detail: str,
    *,
    proves_data: bool = False,
    measurements: Mapping[str, float] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> CheckResult:
    """The check was made, and what it asks about is right."""
    return _answer(name, Verdict.PASSED, detail, measurements, facts, proves_data=proves_data)


def failed(
    name: str,
    code: str,
    detail: str,
    *,
    proves_data: bool = False,
    measurements: Mapping[str, float] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> CheckResult:
    """The check was made, and what it asks about is wrong."""
    return _answer(name, Verdict.FAILED, detail, measurements, facts, signature=code, proves_data=proves_data)


def unknown(
    name: str,
    code: str,
    detail: str,
    *,
    required: bool = True,
    measurements: Mapping[str, float] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> CheckResult:
    """The check could not be made, or its answer proves neither the one nor the other.

    :param required: False where what is missing must not spoil the gate (no reference yet, say).
    """
    return _answer(name, Verdict.COULD_NOT_VERIFY, detail, measurements, facts, signature=code, required=required)


def _answer(
    name: str,
    verdict: Verdict,
    detail: str,
    measurements: Mapping[str, float] | None,
    facts: Mapping[str, Any] | None,
    **particulars: Any,
) -> CheckResult:
    return CheckResult(
        name=name, verdict=verdict, detail=detail, measurements=dict(measurements or {}), facts=dict(facts or {}), **particulars
    )


def some(names: Sequence[str], *, shown: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    more = len(names) - shown
    return "; ".join(names[:shown]) + (f"; and {more} more" if more > 0 else "")
