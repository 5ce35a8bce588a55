"""What an environment's adapter offers, and the registry of environments.

A sandbox is reserved (a name, no resource), provisioned, filled, started, probed and destroyed. Adapters do; they decide
nothing. Adding one is writing one file with a class that satisfies :class:`Sandbox` and naming it in :data:`SANDBOXES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import psycopg

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import Endpoint, IsolationReport, Probe, ProbeResult, Recovery, SandboxHandle, Vitals


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


SANDBOXES: dict[str, str] = {
    "process": "airflow_dr_provider.sandboxes.process:ProcessSandbox",
}


def sandbox(kind: str, settings: Any, *, workdir: Path) -> Sandbox:
    """Make the adapter of a kind.

    :param settings: the tier's ``sandbox``.
    :param workdir: where local sandboxes live.
    :raises KeyError: for an unknown kind; specs are checked for that when they are loaded.
    """
    module, _, name = SANDBOXES[kind].partition(":")
    adapter: Sandbox = getattr(import_module(module), name)(settings, workdir=workdir)
    return adapter
