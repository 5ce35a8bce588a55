"""The sandboxes that a tier may name. Another kind is another class here and another file in ``sandboxes/``."""

from __future__ import annotations

from typing import Any, Literal

from airflow_dr_provider.spec.base import AccountName, FilePath, LibraryName, SpecPart, ToolName


class ProcessSandboxSpec(SpecPart):
    """A PostgreSQL server of its own on this machine."""

    kind: Literal["process"]
    """The kind of sandbox."""
    isolation: Literal["required", "preferred", "off"] = "preferred"
    """Network and mount namespaces: refuse to run without them, take what this machine gives, or none."""
    bin: FilePath | None = None
    """The folder of PostgreSQL's programs; found when left out."""
    queue: ToolName | None = None
    """The queue of the one host's workers that run this sandbox, where Airflow has workers on several."""
    account: AccountName | None = None
    """The unprivileged account for the server, when this runs as root."""
    libraries: tuple[LibraryName, ...] = ()
    """Shared libraries that the restored server may preload if the backup's configuration asks for them."""


SandboxSpec = ProcessSandboxSpec
SANDBOX_KINDS: dict[str, type[SpecPart]] = {"process": ProcessSandboxSpec}


def sandbox_spec(settings: dict[str, Any]) -> SandboxSpec:
    """A tier's sandbox as the ledger keeps it."""
    return ProcessSandboxSpec.model_validate(settings)
