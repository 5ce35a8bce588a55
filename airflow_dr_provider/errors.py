"""The package's one exception tree.

::

    DrillError
    ├── SpecError                  a YAML file that can't be used           (cli: exit 2)
    ├── ConfigurationError         a missing program, connection, folder    (a person has to act)
    ├── RepositoryError            the backup repository as a whole
    ├── BackupError                one backup
    ├── ArchiveError               the WAL archive, or one segment of it
    ├── TargetError                the recovery target
    ├── SandboxError               the sandbox, its server, its host
    ├── ProductionError            production or its reference
    ├── StateError                 the state store
    └── RunInterruptedError             a signal

Each carries a signature's code (:mod:`airflow_dr_provider.domain.signatures`) and a message that says what to do next.
Whether another try can help is the signature's recoverability, so that nobody has to say it twice.
"""

from __future__ import annotations

from typing import Any

from airflow_dr_provider.domain.signatures import Recoverability, Signature, signature


class DrillError(Exception):
    """Something that the drill foresaw.

    :param message: one or two plain sentences: what is wrong, with names, and what to do.
    :param code: the signature's code; the class's own default when None.
    :param facts: JSON-able details for the record; no secrets.
    """

    default_code = "STAGE_BROKEN"

    def __init__(self, message: str, *, code: str | None = None, facts: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.facts = facts or {}

    @property
    def signature(self) -> Signature:
        """The failure's signature."""
        return signature(self.code)

    @property
    def retryable(self) -> bool:
        """Whether the same thing again may work."""
        return self.signature.recoverability is Recoverability.SELF_HEALING


class SpecError(DrillError):
    """A drill's YAML that can't be used."""

    default_code = "SPEC_INVALID"


class ConfigurationError(DrillError):
    """A program, connection or folder that a person has to provide."""

    default_code = "PROGRAMS_NOT_FOUND"


class RepositoryError(DrillError):
    """The repository can't be read, or holds nothing."""

    default_code = "REPOSITORY_UNREACHABLE"


class BackupError(DrillError):
    """One backup is damaged or incomplete."""

    default_code = "BACKUP_UNREADABLE"


class ArchiveError(DrillError):
    """The WAL archive has a hole or a damaged segment, or isn't there."""

    default_code = "WAL_HOLE"


class TargetError(DrillError):
    """The recovery target can't be reached by any backup."""

    default_code = "TARGET_UNREACHABLE"


class SandboxError(DrillError):
    """The sandbox, the server in it, or the host under it."""

    default_code = "SANDBOX_FAILED"


class ProductionError(DrillError):
    """Production doesn't answer, or no reference of it is kept."""

    default_code = "PRODUCTION_UNREACHABLE"


class StateError(DrillError):
    """The state store can't be used."""

    default_code = "STATE_UNREACHABLE"


class RunInterruptedError(DrillError):
    """A signal ended the run.

    :param signal_number: the signal; the process exits with 128 plus it.
    """

    default_code = "INTERRUPTED"

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"Ended by signal {signal_number}; what the run had made was cleaned up.")
        self.signal_number = signal_number
