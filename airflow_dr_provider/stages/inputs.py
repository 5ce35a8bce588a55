"""What a run resolves once, when it opens, and keeps for every tier and every resumption."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from airflow_dr_provider.domain.target import ResolvedTarget
from airflow_dr_provider.domain.value import Value


class Finding(Value):
    """Something that the record has to say and that stops nothing.

    :param signature: a signature's code where one fits.
    """

    subject: str
    detail: str
    signature: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


class Stop(Value):
    """Why a run ended when it opened, before anything was restored.

    :param destination: ``manual_triage`` or ``could_not_verify``.
    """

    destination: str
    signature: str
    detail: str


class RunInputs(Value):
    """The kept inputs of a run.

    :param moment: the moment of the disaster: RPO is counted from it.
    :param database: where smoke tests without a database of their own run.
    :param bounded_by_hole: True when the target is the last point before a hole that no backup gets over.
    :param opened_seconds: how long opening took, a part of the RTO.
    """

    moment: datetime
    target: ResolvedTarget | None = None
    repository: str = ""
    system_identifier: int | None = None
    reference_id: str | None = None
    database: str | None = None
    bounded_by_hole: bool = False
    opened_seconds: float = 0.0
    findings: tuple[Finding, ...] = ()
    stop: Stop | None = None
