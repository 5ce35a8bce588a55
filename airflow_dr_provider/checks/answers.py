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
    return CheckResult(
        name=name,
        verdict=Verdict.PASSED,
        detail=detail,
        proves_data=proves_data,
        measurements=dict(measurements or {}),
        facts=dict(facts or {}),
    )


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
    return CheckResult(
        name=name,
        verdict=Verdict.FAILED,
        signature=code,
        detail=detail,
        proves_data=proves_data,
        measurements=dict(measurements or {}),
        facts=dict(facts or {}),
    )


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
    return CheckResult(
        name=name,
        verdict=Verdict.COULD_NOT_VERIFY,
        signature=code,
        detail=detail,
        required=required,
        measurements=dict(measurements or {}),
        facts=dict(facts or {}),
    )


def some(names: Sequence[str], *, shown: int = 3) -> str:
    """The first few of a list, and how many more there are."""
    more = len(names) - shown
    return "; ".join(names[:shown]) + (f"; and {more} more" if more > 0 else "")
