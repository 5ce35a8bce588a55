"""The central store of drills: what happened, what exists, and what must not be done twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow_dr_provider.domain.verdicts import StageName, StageResult
from airflow_dr_provider.state.records import (
    Attempt,
    Checkpoint,
    KeptReference,
    Measurement,
    Owner,
    Quarantined,
    Resource,
    Run,
    Transition,
)


class Store:
    """One connection to the state database. Every method is one transaction; times are UTC.

    :raises StateError: from every method when the database can't be used; the message names the address without its
        password and says what to do.
    """

    # -- opening -------------------------------------------------------------------------------------------------------
    @classmethod
    def open(cls, url: str) -> Store:
        """Connect and bring the schema up to date. SQLite (file made when missing, WAL mode) or PostgreSQL."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the connection back."""
        raise NotImplementedError

    # -- runs ----------------------------------------------------------------------------------------------------------
    def open_run(
        self,
        *,
        run_id: str,
        drill: str,
        spec_digest: str,
        spec: dict[str, Any],
        owner: Owner,
        trigger: str,
        as_of: datetime | None,
        now: datetime,
        overlap: bool = False,
    ) -> Run:
        """Insert a run, unless an unfinished one of this drill is there and *overlap* is False.

        Two processes that call this at once: one wins. The same *run_id* again returns the run that is there.

        :raises StateError: ``ALREADY_RUNNING``, naming the other run, its owner and since when.
        """
        raise NotImplementedError

    def take_over(self, run_id: str, owner: Owner) -> Run:
        """Make somebody else the owner of an unfinished run (its process is dead)."""
        raise NotImplementedError

    def run(self, run_id: str) -> Run | None:
        """A run by its id."""
        raise NotImplementedError

    def unfinished_runs(self, drill: str) -> tuple[Run, ...]:
        """Runs of a drill that were opened and not closed, oldest first."""
        raise NotImplementedError

    def runs(self, drill: str | None = None, *, limit: int = 50) -> tuple[Run, ...]:
        """The latest runs, newest first."""
        raise NotImplementedError

    def keep_inputs(self, run_id: str, inputs: dict[str, Any]) -> Run:
        """Keep what was resolved when the run opened. The first call wins; a later one returns what is kept."""
        raise NotImplementedError

    def close_run(self, run_id: str, *, outcome: str, exit_code: int, record: dict[str, Any], now: datetime) -> Run:
        """Close a run with its record. Closing a closed run changes nothing and returns it."""
        raise NotImplementedError

    # -- attempts and checkpoints --------------------------------------------------------------------------------------
    def open_attempt(self, run_id: str, *, rung: int, tier: str, number: int, now: datetime) -> Attempt:
        """The attempt of that rung; made when it isn't there. Its id is ``<run>.<rung>``."""
        raise NotImplementedError

    def attempts(self, run_id: str) -> tuple[Attempt, ...]:
        """A run's attempts in their order."""
        raise NotImplementedError

    def checkpoint(self, attempt_id: str, stage: StageName, digest: str) -> Checkpoint | None:
        """The stage's checkpoint when it was done with the same inputs, else None."""
        raise NotImplementedError

    def checkpoints(self, attempt_id: str) -> tuple[Checkpoint, ...]:
        """An attempt's finished stages, in the order in which they ended."""
        raise NotImplementedError

    def finish_stage(
        self,
        attempt_id: str,
        *,
        digest: str,
        result: StageResult,
        started_at: datetime,
        now: datetime,
        candidate: str | None = None,
        close_attempt: bool = False,
        measurements: Sequence[Measurement] = (),
    ) -> Checkpoint:
        """Write a stage's checkpoint, its transition (source ``<tier>#<number>/<stage>``, destination its verdict, reason the
        signature or ``passed``) and measurements in one transaction. A second call for the same attempt, stage and digest
        returns the first's checkpoint and writes nothing. Another digest replaces the checkpoint.

        :param candidate: set on the attempt when given.
        """
        raise NotImplementedError

    # -- transitions ---------------------------------------------------------------------------------------------------
    def move(
        self,
        run_id: str,
        *,
        source: str,
        destination: str,
        reason: str,
        now: datetime,
        signature: str | None = None,
        attempt_id: str | None = None,
        detail: str = "",
    ) -> Transition:
        """Append a move of the chain; the same move twice in a row is written once."""
        raise NotImplementedError

    def transitions(self, run_id: str) -> tuple[Transition, ...]:
        """A run's log in order."""
        raise NotImplementedError

    def broken_link(self, run_id: str) -> int | None:
        """Recompute the log's digests: the number of the first entry that doesn't fit, or None."""
        raise NotImplementedError

    # -- resources -----------------------------------------------------------------------------------------------------
    def intend(self, resource: Resource) -> Resource:
        """Write the intent; returns the row that is there when the name is known already."""
        raise NotImplementedError

    def created(self, name: str, handle: dict[str, Any], *, now: datetime) -> Resource:
        """Note that the resource exists, or that its handle changed. Refused (StateError) once it is released."""
        raise NotImplementedError

    def released(self, name: str, *, now: datetime) -> Resource:
        """Note that the resource was looked for and is gone."""
        raise NotImplementedError

    def resource(self, name: str) -> Resource | None:
        """A resource by its name."""
        raise NotImplementedError

    def unreleased(self, run_id: str | None = None) -> tuple[Resource, ...]:
        """Resources that may still exist, of one run or of all."""
        raise NotImplementedError

    def extend_lease(self, name: str, until: datetime) -> Resource:
        """Let a resource live longer; never shortens."""
        raise NotImplementedError

    # -- memory --------------------------------------------------------------------------------------------------------
    def quarantine(self, entry: Quarantined) -> None:
        """Remember that a backup failed."""
        raise NotImplementedError

    def quarantined(self, repository: str) -> tuple[Quarantined, ...]:
        """Backups of a repository that are in quarantine now."""
        raise NotImplementedError

    def lift_quarantine(self, repository: str, backup_id: str, *, now: datetime) -> bool:
        """Take a backup out of quarantine; whether it was in."""
        raise NotImplementedError

    def keep_reference(self, entry: KeptReference) -> None:
        """Keep a reference; the same id twice changes nothing."""
        raise NotImplementedError

    def reference(self, identifier: str) -> KeptReference | None:
        """A kept reference by its id."""
        raise NotImplementedError

    def latest_reference(self, drill: str, source: str) -> KeptReference | None:
        """The newest reference of a drill from that source."""
        raise NotImplementedError

    def measurements(self, run_id: str) -> tuple[Measurement, ...]:
        """A run's numbers."""
        raise NotImplementedError
