"""What an environment's adapter offers, and the registry of environments.

A sandbox is reserved (a name, no resource), provisioned, filled, started, probed and destroyed. Adapters do; they decide
nothing. Adding one is writing one file with a class that satisfies :class:`Sandbox` and naming it in :data:`SANDBOXES`; other
packages bring theirs through :mod:`airflow_dr_provider.custom_sandboxes`. One whose steps are done elsewhere, over minutes
or hours, is a :class:`RemoteSandbox` as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, TypeGuard, runtime_checkable

import psycopg
from pydantic import BaseModel, ValidationError

from airflow_dr_provider.custom_sandboxes import load_custom_sandbox
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import Endpoint, IsolationReport, Probe, ProbeResult, Recovery, SandboxHandle, Vitals
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import Account, StepProgress
from airflow_dr_provider.errors import ConfigurationError


class Sandbox(Protocol):
    """An environment for one restored server.

    Made by ``Adapter(settings, workdir=Path)`` where *settings* is the tier's ``sandbox`` model. Every method is
    idempotent: done twice it finds what the first time made.
    """

    def handle(self, name: str) -> SandboxHandle:
        """The handle that a sandbox of this name will have; makes nothing."""
        ...

    async def provision(self, handle: SandboxHandle, coordinate: RestoreCoordinate) -> SandboxHandle:
        """Make the empty environment: directory, account, programs of the right version, room on the disk, isolation.

        :raises SandboxError: ``DISK_FULL``, ``ISOLATION_UNAVAILABLE`` or ``SANDBOX_FAILED``.
        :raises ConfigurationError: ``PROGRAMS_NOT_FOUND``, or a work folder that can't be used.
        """
        ...

    def isolation(self, handle: SandboxHandle) -> IsolationReport:
        """What isolation this sandbox has."""
        ...

    def data_directory(self, handle: SandboxHandle) -> Path:
        """Where the cluster's files go; empty after provisioning."""
        ...

    def wal_directory(self, handle: SandboxHandle) -> Path:
        """Where the fetched WAL goes."""
        ...

    async def recover(self, handle: SandboxHandle, coordinate: RestoreCoordinate) -> tuple[SandboxHandle, Recovery]:
        """Start the server on the restored files, replay to the target, make sure that it was reached, and open it.

        :raises BackupError: ``SERVER_START_FAILED`` when the server refuses the files.
        :raises ArchiveError: ``RECOVERY_ENDED_EARLY`` or ``TIMELINE_MISMATCH``.
        :raises SandboxError: ``SERVER_DIED``, ``SANDBOX_FAILED``.
        """
        ...

    async def connect(
        self, handle: SandboxHandle, database: str, *, role: Literal["admin", "smoke"] = "admin"
    ) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """A connection to the restored server, autocommit on.

        :param role: ``admin`` is a superuser of the sandbox's own; ``smoke`` may only read tables.
        :raises SandboxError: ``SANDBOX_LOST`` or ``SERVER_DIED`` when nobody answers.
        """
        ...

    def endpoint(self, handle: SandboxHandle) -> Endpoint:
        """Where the restored server answers, for test runners beside the gate."""
        ...

    async def alive(self, handle: SandboxHandle) -> bool:
        """Whether the server still runs."""
        ...

    async def vitals(self, handle: SandboxHandle) -> Vitals:
        """Look whether the server runs and answers, and what is left for it. Cheap: it is asked every second or so.

        :raises SandboxError: ``SANDBOX_LOST`` when what lies there isn't this sandbox.
        """
        ...

    async def probe(self, handle: SandboxHandle, probes: Sequence[Probe]) -> tuple[ProbeResult, ...]:
        """Try to get out, from inside."""
        ...

    async def log_tail(self, handle: SandboxHandle, lines: int = 40) -> str:
        """The end of the server's log, secrets removed."""
        ...

    async def destroy(self, handle: SandboxHandle) -> tuple[str, ...]:
        """End the server, remove everything, look again.

        :return: what is still there, in words; empty when all is gone.
        """
        ...


@runtime_checkable
class Listing(Protocol):
    """An environment that can also say which sandboxes there are, whatever the ledger has of them."""

    def existing(self) -> tuple[str, ...]:
        """The names of sandboxes that this account's drills made here."""
        ...


class RemoteSandbox(Sandbox, Protocol):
    """A sandbox some of whose stages begin here and are done elsewhere.

    Such a stage is :meth:`begin`, then :meth:`poll` until it is ready, by whichever process waits, then its usual method
    (``provision``, ``recover``, ``destroy``), which finds everything done. No method blocks the event loop or waits for the
    step itself. A call that the environment refused for the moment raises ``REMOTE_THROTTLED`` or ``REMOTE_UNREACHABLE``, with
    ``retry_after`` in its facts where that is told; it is asked again.
    """

    remote: frozenset[StageName]
    """The stages that are done elsewhere: any of provision, restore, validate and teardown.

    With *restore* among them the environment brings the backup's files itself: the repository's are not read, and ``recover``
    is called on what it made."""
    poll_seconds: float
    """How often to ask how far a step is."""
    account: Account
    """Who is asked, and how often one process may."""

    async def begin(
        self, stage: StageName, handle: SandboxHandle, coordinate: RestoreCoordinate | None, *, number: int
    ) -> SandboxHandle:
        """Ask the environment to do a stage, and return at once.

        Idempotent: the name that the step is begun under is derived from the handle's, the stage and the number; one that is
        there already, from a try whose process was lost, is adopted.

        :param coordinate: what to restore; None for a teardown.
        :param number: which try of the stage this is, from 1; a further one is another step, under another name.
        :return: the handle, with what :meth:`poll` and the stage's own method need in its details.
        """
        ...

    async def poll(self, stage: StageName, handles: Sequence[SandboxHandle]) -> Mapping[str, StepProgress]:
        """Ask how far a stage is, for as many sandboxes as ``account.batch`` says, in one call.

        :return: the answer for each, by the handle's name.
        """
        ...

    async def cancel(self, stage: StageName, handle: SandboxHandle) -> None:
        """Tell the environment to end a stage, if it is still at it; nothing else is removed. Cheap."""
        ...

    async def close(self) -> None:
        """Give back connections that were kept open; the adapter can be used again."""
        ...


def is_remote(adapter: Sandbox, stage: StageName) -> TypeGuard[RemoteSandbox]:
    """Whether a sandbox does a stage elsewhere."""
    return stage in getattr(adapter, "remote", ())


async def close(adapter: Sandbox) -> None:
    """Give back what an adapter keeps open; one that is only local keeps nothing."""
    closing = getattr(adapter, "close", None)
    if closing is not None:
        await closing()


SANDBOXES: dict[str, str] = {
    "process": "airflow_dr_provider.sandboxes.process:ProcessSandbox",
}


def sandbox(kind: str, settings: Any, *, workdir: Path) -> Sandbox:
    """Make the adapter of a kind.

    :param settings: the tier's ``sandbox``.
    :param workdir: where local sandboxes live.
    :raises ConfigurationError: ``PROGRAMS_NOT_FOUND`` when the package that brings the kind is missing here or can't be
        imported, ``SPEC_INVALID`` when it doesn't take its settings.
    """
    if kind not in SANDBOXES:
        return _custom(kind, settings, workdir)
    module, _, name = SANDBOXES[kind].partition(":")
    adapter: Sandbox = getattr(import_module(module), name)(settings, workdir=workdir)
    return adapter


def _custom(kind: str, settings: Any, workdir: Path) -> Sandbox:
    found = load_custom_sandbox(kind)
    model: type[BaseModel] | None = getattr(found, "Settings", None)
    try:
        own = model.model_validate(settings.model_dump(mode="json")) if model is not None else settings
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"sandbox {kind}: {place}: {first['msg']}.", code="SPEC_INVALID") from None
    adapter: Sandbox = found(own, workdir=workdir)
    return adapter
