"""When an attempt has to end before its time, and when it is not worth beginning."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from airflow_dr_provider.domain.reports import Vitals
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.verdicts import StageName

WATCHED = (StageName.RESTORE, StageName.WARM, StageName.VALIDATE)
"""Stages that work in a sandbox long enough for something to happen to it."""
SERVED = (StageName.WARM, StageName.VALIDATE)
"""Stages that need the server; the restore itself starts it, and watches over it."""


class Limits(Value):
    """Below these an attempt is ended in order, before the machine ends it in none.

    :param disk_free: bytes.
    :param memory_free: bytes.
    :param silence_seconds: how long a server that runs may answer nobody.
    """

    disk_free: int
    memory_free: int
    silence_seconds: float


class Breach(Value):
    """A limit that was passed."""

    signature: str
    detail: str


class Watch(Value):
    """What a watchdog has seen of a stage.

    :param served: whether the server was seen to run in it.
    :param silent_seconds: for how long the server has answered nobody.
    :param budget_seconds: what is left of the tolerable downtime.
    """

    stage: StageName
    vitals: Vitals
    served: bool
    silent_seconds: float
    budget_seconds: float


def breach(limits: Limits, watch: Watch) -> Breach | None:
    """The limit that was passed, the one that explains the others first; what an environment doesn't tell breaks none."""
    vitals = watch.vitals
    if vitals.disk_free is not None and vitals.disk_free < limits.disk_free:
        detail = f"the sandbox's disk has {_mib(vitals.disk_free)} left, less than {_mib(limits.disk_free)}"
        return Breach(signature="DISK_LOW", detail=detail)
    if vitals.memory_free is not None and vitals.memory_free < limits.memory_free:
        used = f"; the sandbox holds {_mib(vitals.memory_used)}" if vitals.memory_used is not None else ""
        detail = f"the machine has {_mib(vitals.memory_free)} of memory left, less than {_mib(limits.memory_free)}{used}"
        return Breach(signature="MEMORY_LOW", detail=detail)
    if watch.stage in SERVED and watch.served and vitals.server is None:
        return Breach(signature="SERVER_DIED", detail=f"the restored server ended during {watch.stage.value}")
    if watch.stage in SERVED and watch.silent_seconds > limits.silence_seconds:
        detail = f"the restored server runs and has answered nobody for {watch.silent_seconds:.0f} s"
        return Breach(signature="SERVER_UNREACHABLE", detail=detail)
    if watch.budget_seconds <= 0:
        return Breach(signature="BUDGET_EXHAUSTED", detail=f"the tolerable downtime was over during {watch.stage.value}")
    return None


def shortage(*, first: bool, left: float, timeout: float, known: Sequence[float]) -> str | None:
    """Why a tier is not worth beginning with what is left of the tolerable downtime; None when it is.

    The first attempt always is: nothing is lost yet, and what it takes is what the drill is to find out.

    :param left: seconds.
    :param timeout: the tier's.
    :param known: what the tier took when it carried earlier runs; without any, its timeout is what it may take.
    """
    if first:
        return None
    needed, source = (median(known), "in earlier runs") if known else (timeout, "by its timeout")
    if needed <= left:
        return None
    return f"it takes {needed:.0f} s {source}, and {max(0.0, left):.0f} s are left of the tolerable downtime; it was not begun"


def _mib(value: int) -> str:
    return f"{value / (1 << 20):.0f} MiB"
