"""What a spec says about gates: which checks a tier has, and the statements that are asked of the restored data."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from airflow_dr_provider.custom_checks import custom_checks
from airflow_dr_provider.domain.profiles import CHECK_NAMES
from airflow_dr_provider.domain.routing import TAGS
from airflow_dr_provider.spec.base import Name, SpecPart, Text
from airflow_dr_provider.spec.durations import Duration

KEPT = {"kept": True}
"""The context in which the snapshot of a run is read: what it names was known when the run opened."""

Statement = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=65536)]


def known_checks(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Names of checks that are there.

    :raises ValueError: naming the others.
    """
    return _known(value, info, (*CHECK_NAMES, *custom_checks()))


def _known(value: tuple[str, ...], info: ValidationInfo, known: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in value if name not in known]
    if unknown and not info.context:
        raise ValueError(f"{', '.join(unknown)}: no such check; known: {', '.join(known)}")
    return value


class TierChecks(SpecPart):
    """What a tier's gate has beyond its profile, or lacks. A name is a check's, a tag stands for several."""

    include: tuple[Text, ...] = ()
    """Checks to add: built-in ones, those of installed packages, or tags."""
    exclude: tuple[Text, ...] = ()
    """Checks or tags to leave out, also tags of smoke tests and queries; it outranks include."""

    @field_validator("include")
    @classmethod
    def _there(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return _known(value, info, (*CHECK_NAMES, *custom_checks(), *sorted(TAGS)))


def _answer(value: Any) -> Any:
    """Refuse once, where the union would complain for each of its kinds."""
    if not isinstance(value, (bool, int, str)):
        raise ValueError(f"{value!r} can't be expected; write true, false, a whole number or a text")
    return value


class Smoke(SpecPart):
    """One statement and the answer that it has to give."""

    name: Name
    """Its name, unique in the spec."""
    sql: Statement
    """One statement whose first column is true when all is well. Read-only, time-limited, by a role without power."""
    database: Text | None = None
    """Where it runs: the connection's database, the only one there is, or postgres."""
    timeout: Duration = timedelta(seconds=30)
    """How long it may take."""
    expect: Annotated[StrictBool | StrictInt | StrictStr, BeforeValidator(_answer)] = True
    """What its first column has to be: true, a whole number, or a text."""
    tags: tuple[Name, ...] = ()
    """Words by which a tier's checks.exclude leaves it out."""
    tiers: tuple[Name, ...] = ()
    """The tiers on which it runs; all when left out."""


class Query(SpecPart):
    """One query whose plan and latency are compared with those of earlier good runs."""

    name: Name
    """Its name, unique in the spec."""
    sql: Statement
    """One SELECT. Read-only, time-limited, by a role without power; its rows stay in the server."""
    parameters: tuple[StrictStr | None, ...] = ()
    """The values of $1, $2 and so on, as texts; without them it is only planned, not timed."""
    database: Text | None = None
    """Where it runs: as for smoke tests."""
    timeout: Duration = timedelta(seconds=30)
    """How long one execution may take."""
    max_ratio: Annotated[StrictFloat | StrictInt, Field(gt=1, le=1000)] = 3.0
    """How many times slower, or costlier by the planner, it may be than in earlier good runs."""
    tags: tuple[Name, ...] = ()
    """Words by which a tier's checks.exclude leaves it out."""
    tiers: tuple[Name, ...] = ()
    """The tiers on which it runs; all when left out."""


def runs_on(asked: Smoke | Query, tier: str, excluded: frozenset[str]) -> bool:
    """Whether a statement runs on a tier that leaves out these words."""
    return (not asked.tiers or tier in asked.tiers) and excluded.isdisjoint(asked.tags)
