"""Adapters that fail at a named attempt and stage, and are the real ones otherwise.

They are registered where every adapter is, so that nothing of the code under test knows of them. What calls an adapter is read
from the stack: the stage's own ``run`` with the attempt that it works for. The first call of that stage to any adapter fails.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.errors import BackupError, DrillError, RepositoryError, SandboxError
from airflow_dr_provider.repositories.base import REPOSITORIES
from airflow_dr_provider.repositories.basebackup import BaseBackupRepository
from airflow_dr_provider.sandboxes.base import SANDBOXES
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from airflow_dr_provider.stages.context import AttemptContext


@dataclass(frozen=True)
class Fault:
    """One failure to be.

    :param rung: the attempt's place in the chain, from 0.
    """

    rung: int
    stage: StageName

    @property
    def error(self) -> DrillError:
        """What a real adapter might raise there."""
        words = f"injected into attempt {self.rung}, {self.stage.value}"
        match self.stage:
            case StageName.SELECT:
                return RepositoryError(words)
            case StageName.PROVISION:
                return SandboxError(words, code="DISK_FULL")
            case StageName.RESTORE:
                return BackupError(words)
            case StageName.VALIDATE:
                return SandboxError(words, code="SERVER_DIED")
            case _:
                return SandboxError(words)


FAULTS: set[Fault] = set()
STRUCK: list[Fault] = []
"""Faults that happened, in their order."""
_EVERYWHERE: list[bool] = []


def strike() -> None:
    """Fail if the stage that is calling is one that shall fail.

    :raises DrillError: then.
    """
    fault = calling()
    if fault is not None and fault in FAULTS:
        STRUCK.append(fault)
        raise fault.error


def calling() -> Fault | None:
    """The stage that is calling an adapter, and its attempt; None when it is no stage, say the run's opening or its close."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        context = frame.f_locals.get("context")
        if frame.f_code.co_name == "run" and module.startswith("airflow_dr_provider.stages."):
            if isinstance(context, AttemptContext):
                return Fault(context.rung.index, StageName(module.rpartition(".")[2]))
            return None
        frame = frame.f_back
    return None


class FaultyRepository(BaseBackupRepository):
    """The real repository, which now and then can't be read."""

    async def catalog(self) -> Any:
        strike()
        return await super().catalog()


class FaultySandbox(ProcessSandbox):
    """The real sandbox, which now and then fails."""

    def handle(self, name: str) -> SandboxHandle:
        strike()
        return super().handle(name)

    async def provision(self, handle: SandboxHandle, coordinate: Any) -> SandboxHandle:
        strike()
        return await super().provision(handle, coordinate)

    async def connect(self, handle: SandboxHandle, database: str, **options: Any) -> Any:
        strike()
        return await super().connect(handle, database, **options)

    async def alive(self, handle: SandboxHandle) -> bool:
        strike()
        return await super().alive(handle)

    async def destroy(self, handle: SandboxHandle) -> tuple[str, ...]:
        fault = next(iter(FAULTS), None) if _EVERYWHERE else calling()
        if fault is not None and fault in FAULTS:
            STRUCK.append(fault)
            return (f"{Path(handle.place).name}, by an injected fault",)
        return await super().destroy(handle)


@contextmanager
def faults(*wanted: Fault, everywhere: bool = False) -> Iterator[list[Fault]]:
    """Let these happen within a block; the list of those that did.

    :param everywhere: whether nothing goes that is to be destroyed, whoever asks for it.
    """
    before = REPOSITORIES["basebackup"], SANDBOXES["process"]
    REPOSITORIES["basebackup"] = f"{__name__}:FaultyRepository"
    SANDBOXES["process"] = f"{__name__}:FaultySandbox"
    FAULTS.update(wanted)
    _EVERYWHERE.extend([True] if everywhere else [])
    STRUCK.clear()
    try:
        yield STRUCK
    finally:
        REPOSITORIES["basebackup"], SANDBOXES["process"] = before
        FAULTS.clear()
        _EVERYWHERE.clear()
