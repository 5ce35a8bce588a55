"""The sandboxes that a tier may name. Another kind is another class here and another file in ``sandboxes/``.

Kinds of other installed packages (:mod:`airflow_dr_provider.custom_sandboxes`) need no class here: their settings are judged
by the package's own model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from airflow_dr_provider.custom_sandboxes import custom_sandboxes, load_custom_sandbox
from airflow_dr_provider.errors import ConfigurationError
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


SANDBOX_KINDS: dict[str, type[SpecPart]] = {"process": ProcessSandboxSpec}


class _Kinds:
    """The schema of a kind that another package brings: those that are installed where the schema is made."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        kinds = [name for name in custom_sandboxes() if name not in SANDBOX_KINDS]
        return {"type": "string", "enum": kinds} if kinds else {"type": "string", "not": {}}


class CustomSandboxSpec(SpecPart):
    """A sandbox of another installed package; the rest of its keys are that package's own."""

    model_config = ConfigDict(extra="allow")

    kind: Annotated[str, _Kinds()]
    """The kind of sandbox, by the name of the package's entry point."""

    @field_validator("kind")
    @classmethod
    def _there(cls, value: str, info: ValidationInfo) -> str:
        # A kept spec is read back where the package is missing, too.
        if value not in custom_sandboxes() and not info.context:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(sandbox_kinds())})
        return value

    @model_validator(mode="after")
    def _judged(self, info: ValidationInfo) -> CustomSandboxSpec:
        """Let the package's model say what is wrong, now and not in the night of the drill."""
        if info.context:
            return self
        try:
            model = getattr(load_custom_sandbox(self.kind), "Settings", None)
        except ConfigurationError:
            return self  # it may well be importable where drills run; the stage says so when it isn't
        if model is not None:
            try:
                model.model_validate(self.model_dump(mode="json"))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                raise ValueError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
        return self


def _branch(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return "process" if kind is None or not isinstance(kind, str) or kind in SANDBOX_KINDS else "custom"


SandboxSpec = Annotated[
    Annotated[ProcessSandboxSpec, Tag("process")] | Annotated[CustomSandboxSpec, Tag("custom")], Discriminator(_branch)
]
_SPEC: TypeAdapter[SandboxSpec] = TypeAdapter(SandboxSpec)


def sandbox_kinds() -> tuple[str, ...]:
    """Every kind that a tier may name here: the built-in ones, then those of other packages."""
    return (*SANDBOX_KINDS, *(name for name in custom_sandboxes() if name not in SANDBOX_KINDS))


def sandbox_spec(settings: dict[str, Any]) -> SandboxSpec:
    """A tier's sandbox as the ledger keeps it."""
    return _SPEC.validate_python(settings, context={"kept": True})
