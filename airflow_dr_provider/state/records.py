"""The rows of the store, as values."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from airflow_dr_provider.domain.request import RunRequest
from airflow_dr_provider.domain.triage import TriageAnswer
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.verdicts import StageName, StageResult


class Owner(Value):
    """Who walks a run: enough to tell whether it still lives.

    :param kind: ``runner`` or ``airflow``.
    :param name: the runner's host name, or ``dag_id/dag_run_id``.
    :param boot: the host's boot id, so that a process id from before a restart is never taken for a living one.
    :param process: the runner's process id, 0 for Airflow.
    :param started: the process's start time in clock ticks since boot; with the id it names one process for ever.
    """

    kind: str
    name: str
    boot: str = ""
    process: int = 0
    started: int = 0


class Run(Value):
    """One drill run.

    :param inputs: what was resolved when the run opened and is kept (recovery target, catalog's identity, reference's id,
        findings): JSON-able; see :mod:`airflow_dr_provider.stages.open_run`.
    :param request: what whoever triggered it asked for.
    :param triage: what a person answered when no tier recovered; None while nobody was asked or has answered.
    :param injected: faults that it was told to inject, ``fault@tier`` each. With any, it proves nothing about a backup.
    """

    id: str
    drill: str
    spec_digest: str
    spec: dict[str, Any]
    owner: Owner
    trigger: str
    opened_at: datetime
    as_of: datetime | None
    closed_at: datetime | None = None
    outcome: str | None = None
    exit_code: int | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    record: dict[str, Any] | None = None
    injected: tuple[str, ...] = ()
    request: RunRequest = RunRequest()
    triage: TriageAnswer | None = None


class Attempt(Value):
    """One tier tried once with one restore coordinate.

    :param rung: its place in the chain, from 0 (:mod:`airflow_dr_provider.domain.chain`).
    :param number: its number within its tier, from 1.
    """

    id: str
    run_id: str
    rung: int
    tier: str
    number: int
    candidate: str | None
    opened_at: datetime
    closed_at: datetime | None = None


class Checkpoint(Value):
    """A stage of an attempt, done."""

    run_id: str
    attempt_id: str
    stage: StageName
    digest: str
    started_at: datetime
    ended_at: datetime
    result: StageResult


class ResourceState(StrEnum):
    """A resource's way through the ledger; KEPT outlives its run, until its lease ends."""

    INTENDED = "intended"
    CREATED = "created"
    KEPT = "kept"
    RELEASED = "released"


class Resource(Value):
    """Something that exists outside the store, or may.

    :param name: unique for ever: derived from drill, run, tier and attempt.
    :param handle: the adapter's handle as JSON; without secrets.
    """

    name: str
    run_id: str
    attempt_id: str
    kind: str
    state: ResourceState
    handle: dict[str, Any]
    settings: dict[str, Any]
    workdir: str
    intended_at: datetime
    lease_until: datetime
    created_at: datetime | None = None
    released_at: datetime | None = None


class Transition(Value):
    """One move of the chain's state machine, in a hash-chained log.

    :param digest: SHA-256 over the previous entry's digest and this entry's canonical JSON; an entry that was changed,
        removed or put between breaks every digest after it.
    """

    number: int
    run_id: str
    at: datetime
    source: str
    destination: str
    reason: str
    signature: str | None = None
    attempt_id: str | None = None
    detail: str = ""
    previous: str
    digest: str


class Quarantined(Value):
    """A backup that failed.

    :param repository: the catalog's identity.
    """

    repository: str
    backup_id: str
    signature: str
    detail: str
    run_id: str
    at: datetime
    lifted_at: datetime | None = None


class KeptReference(Value):
    """A reference of a drill, kept."""

    id: str
    drill: str
    source: str
    captured_at: datetime
    run_id: str | None
    reference: dict[str, Any]


class Measurement(Value):
    """One number of one run."""

    run_id: str
    attempt_id: str | None
    name: str
    value: float
    unit: str
    at: datetime


class SeenSignature(Value):
    """A failure signature over all runs.

    :param count: how often a stage, or the opening of a run, ended with it.
    :param drills: the drills that met it, by name.
    """

    code: str
    count: int
    first_seen: datetime
    last_seen: datetime
    drills: tuple[str, ...]
