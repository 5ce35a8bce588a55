"""Waits for what somebody else does: a remote environment's step, begun here and finished elsewhere in minutes or hours."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.verdicts import StageName

TRANSIENT = frozenset({"REMOTE_THROTTLED", "REMOTE_UNREACHABLE"})
"""Signatures that say nothing about the step, only about the asking: the same question again may be answered."""
BACKOFF_BASE_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 60.0


class StepState(StrEnum):
    """How far a remote step is, by what its environment says."""

    WAITING = "waiting"
    READY = "ready"
    FAILED = "failed"


class StepProgress(Value):
    """One answer of an environment.

    :param detail: its own word for it, one line, no secrets.
    :param signature: for FAILED, a registered code; ``REMOTE_FAILED`` when left out.
    :param retry_after: seconds after which asking again is worth it, where the environment says so.
    """

    state: StepState
    detail: str = ""
    signature: str | None = None
    retry_after: float | None = None


class Account(Value):
    """Who is asked: all waits of one process that have the same account share one rate.

    :param key: the account, endpoint and region, as one text without secrets.
    :param calls_per_second: how many calls it may get from one process.
    :param batch: how many sandboxes one call can ask about.
    """

    key: str
    calls_per_second: float = 5.0
    batch: int = 1


class WaitState(StrEnum):
    """A wait's way through the ledger."""

    INTENDED = "intended"
    BEGUN = "begun"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def open(self) -> bool:
        """Whether the environment may still be at it."""
        return self in (WaitState.INTENDED, WaitState.BEGUN)


class Wait(Value):
    """What the ledger keeps of a remote step, written before it is begun.

    :param number: which try of the step it is, from 1: part of the name that it is begun under.
    :param begun_at: when the stage began; a further try after a failure counts from the first.
    :param deadline: when it is too late.
    :param late: the signature of its being too late.
    """

    stage: StageName
    number: int
    begun_at: datetime
    deadline: datetime
    late: str
    state: WaitState = WaitState.INTENDED


class Waiting(Value):
    """What a stage returns when it can't go on before somebody else is done. JSON-able, only names and connections' ids.

    :param kind: of sandbox.
    :param settings: the tier's ``sandbox``, as the ledger keeps it.
    :param detail: what is waited for, one line.
    :param poll_seconds: how often to ask.
    """

    run_id: str
    rung: int
    stage: StageName
    number: int
    kind: str
    settings: dict[str, Any]
    workdir: str
    handle: SandboxHandle
    detail: str
    poll_seconds: float
    deadline: datetime

    @property
    def key(self) -> str:
        """The wait's name: the same wherever and however often it is waited."""
        return f"{self.handle.name}/{self.stage.value}/{self.number}"


def backoff(key: str, number: int, *, base: float = BACKOFF_BASE_SECONDS, cap: float = BACKOFF_CAP_SECONDS) -> float:
    """Seconds before a further try: doubled each time, and between half and all of that, by the key.

    The same key and number give the same delay, so a test and a recomputation know it; different keys are spread.

    :param number: of the try that failed, from 1.
    """
    full = min(cap, base * 2.0 ** min(number - 1, 32))
    return full * (0.5 + 0.5 * share(f"{key}#{number}"))


def share(key: str) -> float:
    """A number from 0 up to 1 that a key stands for, spread evenly over keys."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / float(1 << 48)
