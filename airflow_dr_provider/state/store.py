"""The central store of drills: what happened, what exists, and what must not be done twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from airflow_dr_provider.domain.chain import state_name
from airflow_dr_provider.domain.request import PLAIN, RunRequest
from airflow_dr_provider.domain.verdicts import StageName, StageResult
from airflow_dr_provider.errors import StateError
from airflow_dr_provider.state import chainlog, database
from airflow_dr_provider.state.ledger import VerificationLedger
from airflow_dr_provider.state.records import (
    Attempt,
    Checkpoint,
    KeptReference,
    Measurement,
    Owner,
    Quarantined,
    Resource,
    ResourceState,
    Run,
    SeenSignature,
    Transition,
)
from airflow_dr_provider.state.signatures import seen_signatures
from airflow_dr_provider.state.tables import (
    attempts,
    checkpoints,
    measurements,
    quarantine,
    references,
    resources,
    runs,
    transitions,
)

Record = TypeVar("Record", Attempt, Checkpoint, KeptReference, Measurement, Quarantined, Resource, Run, Transition)

_LOOK_BACK = 20
"""How many runs are looked at for one without an injected fault."""


class Store:
    """One connection to the state database. Every method is one transaction; times are UTC.

    :raises StateError: from every method when the database can't be used; the message names the address without its
        password and says what to do.
    """

    def __init__(self, engine: Engine, url: sa.URL) -> None:
        self._database = database.Database(engine, url)
        self._reading = self._database.reading
        self._writing = self._database.writing
        self.ledger = VerificationLedger(self._database)

    # -- opening -------------------------------------------------------------------------------------------------------
    @classmethod
    def open(cls, url: str) -> Store:
        """Connect and bring the schema up to date. SQLite (file made when missing, WAL mode) or PostgreSQL."""
        parsed = database.database_url(url)
        with database.plainly(parsed):
            engine = database.connect(parsed)
            database.migrate(engine)
        return cls(engine, parsed)

    @classmethod
    def existing(cls, url: str) -> Store | None:
        """Connect to a store that is there already; None, and nothing made, where none is."""
        parsed = database.database_url(url)
        with database.plainly(parsed):
            return cls.open(url) if database.is_made(parsed) else None

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    @property
    def url_without_password(self) -> str:
        """The store's address, fit for a message."""
        return database.shown(self._database.url)

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
        injected: Sequence[str] = (),
        request: RunRequest = PLAIN,
    ) -> Run:
        """Insert a run, unless an unfinished one of this drill is there and *overlap* is False.

        Two processes that call this at once: one wins. The same *run_id* again returns the run that is there.

        :raises StateError: ``ALREADY_RUNNING``, naming the other run, its owner and since when.
        """
        try:
            with self._writing() as connection:
                known = _one(connection, Run, sa.select(runs).where(runs.c.id == run_id))
                if known is not None:
                    return known
                other = self._unfinished(connection, drill)
                if other and not overlap:
                    raise _already_running(drill, other[0])
                run = Run(
                    id=run_id,
                    drill=drill,
                    spec_digest=spec_digest,
                    spec=spec,
                    owner=owner,
                    trigger=trigger,
                    opened_at=now,
                    as_of=as_of,
                    injected=tuple(injected),
                    request=request,
                )
                alone = None if overlap else drill
                connection.execute(runs.insert().values(**_row(run), alone=alone))
                return run
        except StateError as error:
            if isinstance(error.__cause__, sa.exc.IntegrityError):
                with self._reading() as connection:
                    known = _one(connection, Run, sa.select(runs).where(runs.c.id == run_id))
                    if known is not None:
                        return known
                    other = self._unfinished(connection, drill)
                if other:
                    raise _already_running(drill, other[0]) from error
            raise

    def take_over(self, run_id: str, owner: Owner, *, expected: Owner) -> Run:
        """Make somebody else the owner of an unfinished run whose owner is dead.

        :param expected: who owned it when that was found; another owner by now means that somebody else was faster.
        :raises StateError: ``ALREADY_RUNNING`` when the owner isn't the expected one any more, or the run is closed.
        """
        with self._writing() as connection:
            run = _locked_run(connection, run_id)
            if run.closed_at is not None or run.owner not in (expected, owner):
                raise _already_running(run.drill, run)
            connection.execute(runs.update().where(runs.c.id == run_id).values(owner=owner.model_dump(mode="json")))
            return run.model_copy(update={"owner": owner})

    def run(self, run_id: str) -> Run | None:
        """A run by its id."""
        with self._reading() as connection:
            return _one(connection, Run, sa.select(runs).where(runs.c.id == run_id))

    def unfinished_runs(self, drill: str | None = None) -> tuple[Run, ...]:
        """Runs, of one drill or of all, that were opened and not closed, oldest first."""
        with self._reading() as connection:
            return self._unfinished(connection, drill)

    def _unfinished(self, connection: Connection, drill: str | None) -> tuple[Run, ...]:
        found = sa.select(runs).where(runs.c.closed_at.is_(None))
        found = found if drill is None else found.where(runs.c.drill == drill)
        return _all(connection, Run, found.order_by(runs.c.opened_at, runs.c.id))

    def runs(self, drill: str | None = None, *, limit: int = 50) -> tuple[Run, ...]:
        """The latest runs, newest first."""
        found = sa.select(runs).order_by(runs.c.opened_at.desc(), runs.c.id.desc()).limit(limit)
        with self._reading() as connection:
            return _all(connection, Run, found.where(runs.c.drill == drill) if drill is not None else found)

    def latest_records(self) -> tuple[dict[str, Any], ...]:
        """The record of each drill's latest closed run that nobody injected a fault into."""
        closed = sa.select(runs).where(runs.c.closed_at.is_not(None)).order_by(runs.c.opened_at.desc(), runs.c.id.desc())
        with self._reading() as connection:
            drills = connection.scalars(sa.select(runs.c.drill).distinct().order_by(runs.c.drill)).all()
            latest = [_all(connection, Run, closed.where(runs.c.drill == drill).limit(_LOOK_BACK)) for drill in drills]
        kept = (next((run.record for run in found if run.record is not None and not run.injected), None) for found in latest)
        return tuple(record for record in kept if record is not None)

    def keep_inputs(self, run_id: str, inputs: dict[str, Any]) -> Run:
        """Keep what was resolved when the run opened. The first call wins; a later one returns what is kept."""
        with self._writing() as connection:
            run = _locked_run(connection, run_id)
            if run.inputs:
                return run
            connection.execute(runs.update().where(runs.c.id == run_id).values(inputs=inputs))
            return run.model_copy(update={"inputs": inputs})

    def close_run(self, run_id: str, *, outcome: str, exit_code: int, record: dict[str, Any], now: datetime) -> Run:
        """Close a run with its record. Closing a closed run changes nothing and returns it."""
        with self._writing() as connection:
            run = _locked_run(connection, run_id)
            if run.closed_at is not None:
                return run
            values = {"outcome": outcome, "exit_code": exit_code, "record": record, "closed_at": now}
            connection.execute(runs.update().where(runs.c.id == run_id).values(**values, alone=None))
            return run.model_copy(update=values)

    # -- attempts and checkpoints --------------------------------------------------------------------------------------
    def open_attempt(self, run_id: str, *, rung: int, tier: str, number: int, now: datetime) -> Attempt:
        """The attempt of that rung; made when it isn't there. Its id is ``<run>.<rung>``."""
        identifier = f"{run_id}.{rung}"
        found = sa.select(attempts).where(attempts.c.id == identifier)
        with self._reading() as connection:
            known = _one(connection, Attempt, found)
        if known is not None:
            return known
        with self._writing() as connection:
            _locked_run(connection, run_id)
            known = _one(connection, Attempt, found)
            if known is None:
                known = Attempt(
                    id=identifier, run_id=run_id, rung=rung, tier=tier, number=number, candidate=None, opened_at=now
                )
                connection.execute(attempts.insert().values(**_row(known)))
            return known

    def attempts(self, run_id: str) -> tuple[Attempt, ...]:
        """A run's attempts in their order."""
        with self._reading() as connection:
            found = sa.select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.rung)
            return _all(connection, Attempt, found)

    def checkpoint(self, attempt_id: str, stage: StageName, digest: str) -> Checkpoint | None:
        """The stage's checkpoint when it was done with the same inputs, else None."""
        with self._reading() as connection:
            return _checkpoint(connection, attempt_id, stage, digest)

    def checkpoints(self, attempt_id: str) -> tuple[Checkpoint, ...]:
        """An attempt's finished stages, in the order in which they ended."""
        order = {stage: index for index, stage in enumerate(StageName)}
        with self._reading() as connection:
            found = _all(connection, Checkpoint, sa.select(checkpoints).where(checkpoints.c.attempt_id == attempt_id))
        return tuple(sorted(found, key=lambda done: (done.ended_at, order[done.stage])))

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
        """Write a stage's checkpoint, its transition and its measurements in one transaction.

        The transition's source is ``<state of the chain>/<stage>``, its destination the verdict, its reason the signature or
        ``passed``. A second call for the same attempt, stage and digest returns the first's checkpoint and writes nothing.
        Another digest replaces the checkpoint.

        :param candidate: set on the attempt when given.
        """
        with self._writing() as connection:
            attempt = _one(connection, Attempt, sa.select(attempts).where(attempts.c.id == attempt_id))
            if attempt is None:
                raise StateError(f"The store has no attempt {attempt_id}; was the run opened with another state store?")
            _locked_run(connection, attempt.run_id)
            known = _checkpoint(connection, attempt_id, result.stage, digest)
            if known is not None:
                return known
            done = Checkpoint(
                run_id=attempt.run_id,
                attempt_id=attempt_id,
                stage=result.stage,
                digest=digest,
                started_at=started_at,
                ended_at=now,
                result=result,
            )
            same = (checkpoints.c.attempt_id == attempt_id, checkpoints.c.stage == result.stage.value)
            connection.execute(checkpoints.delete().where(*same))
            connection.execute(checkpoints.insert().values(**_row(done)))
            changed: dict[str, Any] = {} if candidate is None else {"candidate": candidate}
            if close_attempt:
                changed["closed_at"] = now
            if changed:
                connection.execute(attempts.update().where(attempts.c.id == attempt_id).values(**changed))
            _append(
                connection,
                attempt.run_id,
                source=f"{state_name(attempt.tier, attempt.number)}/{result.stage.value}",
                destination=result.verdict.value,
                reason=result.signature or "passed",
                signature=result.signature,
                attempt_id=attempt_id,
                detail=result.detail,
                now=now,
            )
            _insert_measurements(connection, measurements)
            return done

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
        with self._writing() as connection:
            _locked_run(connection, run_id)
            last = _last(connection, run_id)
            same = (source, destination, reason, attempt_id)
            if last is not None and (last.source, last.destination, last.reason, last.attempt_id) == same:
                return last
            return _append(
                connection,
                run_id,
                source=source,
                destination=destination,
                reason=reason,
                signature=signature,
                attempt_id=attempt_id,
                detail=detail,
                now=now,
            )

    def transitions(self, run_id: str) -> tuple[Transition, ...]:
        """A run's log in order."""
        with self._reading() as connection:
            found = sa.select(transitions).where(transitions.c.run_id == run_id).order_by(transitions.c.number)
            return _all(connection, Transition, found)

    def broken_link(self, run_id: str) -> int | None:
        """Recompute the log's digests: the number of the first entry that doesn't fit, or None."""
        return chainlog.first_break(run_id, self.transitions(run_id))

    # -- resources -----------------------------------------------------------------------------------------------------
    def intend(self, resource: Resource) -> Resource:
        """Write the intent; returns the row that is there when the name is known already."""
        with self._writing() as connection:
            known = _one(connection, Resource, sa.select(resources).where(resources.c.name == resource.name))
            if known is not None:
                return known
            connection.execute(resources.insert().values(**_row(resource)))
            return resource

    def created(self, name: str, handle: dict[str, Any], *, now: datetime) -> Resource:
        """Note that the resource exists, or that its handle changed. Refused (StateError) once it is released."""
        with self._writing() as connection:
            known = _unreleased(_known_resource(connection, name))
            values = {"state": ResourceState.CREATED, "handle": handle, "created_at": known.created_at or now}
            connection.execute(resources.update().where(resources.c.name == name).values(**values))
            return known.model_copy(update=values)

    def amend(
        self, name: str, change: Callable[[dict[str, Any]], dict[str, Any]], *, created: datetime | None = None
    ) -> Resource:
        """Change a handle in one transaction, as it is by then: two who change it at once don't undo each other.

        :param change: makes the new handle of the one that is there.
        :param created: note that the resource exists since then, if it isn't noted yet.
        :raises StateError: ``LEASE_EXPIRED`` once the resource is released.
        """
        with self._writing() as connection:
            known = _unreleased(_known_resource(connection, name))
            values: dict[str, Any] = {"handle": change(known.handle)}
            if created is not None:
                values |= {"state": ResourceState.CREATED, "created_at": known.created_at or created}
            connection.execute(resources.update().where(resources.c.name == name).values(**values))
            return known.model_copy(update=values)

    def released(self, name: str, *, now: datetime) -> Resource:
        """Note that the resource was looked for and is gone."""
        with self._writing() as connection:
            known = _known_resource(connection, name)
            if known.released_at is not None:
                return known
            values = {"state": ResourceState.RELEASED, "released_at": now}
            connection.execute(resources.update().where(resources.c.name == name).values(**values))
            return known.model_copy(update=values)

    def resource(self, name: str) -> Resource | None:
        """A resource by its name."""
        with self._reading() as connection:
            return _one(connection, Resource, sa.select(resources).where(resources.c.name == name))

    def unreleased(self, run_id: str | None = None) -> tuple[Resource, ...]:
        """Resources that may still exist, of one run or of all."""
        found = sa.select(resources).where(resources.c.released_at.is_(None))
        found = found.order_by(resources.c.intended_at, resources.c.name)
        with self._reading() as connection:
            return _all(connection, Resource, found.where(resources.c.run_id == run_id) if run_id is not None else found)

    def extend_lease(self, name: str, until: datetime) -> Resource:
        """Let a resource live longer; never shortens."""
        with self._writing() as connection:
            known = _known_resource(connection, name)
            if until <= known.lease_until:
                return known
            connection.execute(resources.update().where(resources.c.name == name).values(lease_until=until))
            return known.model_copy(update={"lease_until": until})

    # -- memory --------------------------------------------------------------------------------------------------------
    def quarantine(self, entry: Quarantined) -> None:
        """Remember that a backup failed."""
        with self._writing() as connection:
            same = (quarantine.c.repository == entry.repository, quarantine.c.backup_id == entry.backup_id)
            known = _one(connection, Quarantined, sa.select(quarantine).where(*same))
            if known is not None and known.lifted_at is None:
                return
            connection.execute(quarantine.delete().where(*same))
            connection.execute(quarantine.insert().values(**_row(entry)))

    def quarantined(self, repository: str) -> tuple[Quarantined, ...]:
        """Backups of a repository that are in quarantine now."""
        found = sa.select(quarantine).where(quarantine.c.repository == repository, quarantine.c.lifted_at.is_(None))
        with self._reading() as connection:
            return _all(connection, Quarantined, found.order_by(quarantine.c.backup_id))

    def lift_quarantine(self, repository: str, backup_id: str, *, now: datetime) -> bool:
        """Take a backup out of quarantine; whether it was in."""
        inside = (
            quarantine.c.repository == repository,
            quarantine.c.backup_id == backup_id,
            quarantine.c.lifted_at.is_(None),
        )
        with self._writing() as connection:
            return connection.execute(quarantine.update().where(*inside).values(lifted_at=now)).rowcount > 0

    def keep_reference(self, entry: KeptReference) -> None:
        """Keep a reference; the same id twice changes nothing."""
        with self._writing() as connection:
            if _one(connection, KeptReference, sa.select(references).where(references.c.id == entry.id)) is None:
                connection.execute(references.insert().values(**_row(entry)))

    def reference(self, identifier: str) -> KeptReference | None:
        """A kept reference by its id."""
        with self._reading() as connection:
            return _one(connection, KeptReference, sa.select(references).where(references.c.id == identifier))

    def latest_reference(self, drill: str, source: str) -> KeptReference | None:
        """The newest reference of a drill from that source."""
        found = sa.select(references).where(references.c.drill == drill, references.c.source == source)
        with self._reading() as connection:
            newest = found.order_by(references.c.captured_at.desc(), references.c.id.desc()).limit(1)
            return _one(connection, KeptReference, newest)

    def measurements(self, run_id: str) -> tuple[Measurement, ...]:
        """A run's numbers."""
        with self._reading() as connection:
            found = sa.select(measurements).where(measurements.c.run_id == run_id).order_by(measurements.c.id)
            return _all(connection, Measurement, found)

    def signatures(self, drill: str | None = None) -> tuple[SeenSignature, ...]:
        """The failure signatures of all runs, or of one drill's; see :mod:`airflow_dr_provider.state.signatures`."""
        with self._reading() as connection:
            return seen_signatures(connection, drill)


# -- rows and values ---------------------------------------------------------------------------------------------------
def _row(record: Any) -> dict[str, Any]:
    """A value as a row: nested values become JSON, times stay times."""
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for name, value in ((name, getattr(record, name)) for name in type(record).model_fields)
    }


def _value(kind: type[Record], row: sa.Row[Any]) -> Record:
    fields = kind.model_fields
    return kind.model_validate({name: value for name, value in row._mapping.items() if name in fields})


def _one(connection: Connection, kind: type[Record], statement: sa.Select[Any]) -> Record | None:
    row = connection.execute(statement).first()
    return None if row is None else _value(kind, row)


def _all(connection: Connection, kind: type[Record], statement: sa.Select[Any]) -> tuple[Record, ...]:
    return tuple(_value(kind, row) for row in connection.execute(statement))


def _locked_run(connection: Connection, run_id: str) -> Run:
    """The run, its row locked until the transaction ends: on PostgreSQL what SQLite's one writer gives anyway."""
    run = _one(connection, Run, sa.select(runs).where(runs.c.id == run_id).with_for_update())
    if run is None:
        raise StateError(f"The store knows no run {run_id}; was it opened with another state store?")
    return run


def _known_resource(connection: Connection, name: str) -> Resource:
    known = _one(connection, Resource, sa.select(resources).where(resources.c.name == name).with_for_update())
    if known is None:
        raise StateError(f"The ledger has no resource {name}; it was never reserved in this state store.")
    return known


def _unreleased(resource: Resource) -> Resource:
    if resource.released_at is not None:
        raise StateError(
            f"The sandbox {resource.name} was released at {resource.released_at.isoformat()}, before it was made: its lease ended.",
            code="LEASE_EXPIRED",
        )
    return resource


def _checkpoint(connection: Connection, attempt_id: str, stage: StageName, digest: str) -> Checkpoint | None:
    found = sa.select(checkpoints).where(
        checkpoints.c.attempt_id == attempt_id, checkpoints.c.stage == stage.value, checkpoints.c.digest == digest
    )
    return _one(connection, Checkpoint, found)


def _last(connection: Connection, run_id: str) -> Transition | None:
    found = sa.select(transitions).where(transitions.c.run_id == run_id).order_by(transitions.c.number.desc()).limit(1)
    return _one(connection, Transition, found)


def _append(connection: Connection, run_id: str, *, now: datetime, **content: Any) -> Transition:
    """Add an entry to a run's log; the caller holds the run's lock."""
    last = _last(connection, run_id)
    entry = chainlog.sealed(
        Transition(
            number=last.number + 1 if last is not None else 1,
            run_id=run_id,
            at=now,
            previous=last.digest if last is not None else chainlog.genesis(run_id),
            digest="",
            **content,
        )
    )
    connection.execute(transitions.insert().values(**_row(entry)))
    return entry


def _insert_measurements(connection: Connection, numbers: Sequence[Measurement]) -> None:
    if numbers:
        connection.execute(measurements.insert(), [_row(number) for number in numbers])


def _already_running(drill: str, run: Run) -> StateError:
    who = f"process {run.owner.process} on {run.owner.name}" if run.owner.kind == "runner" else run.owner.name
    return StateError(
        f"A run of {drill} is under way: {run.id}, by {who}, since {run.opened_at.isoformat()}. "
        f"Wait for its end (--wait), or let the spec allow overlap.",
        code="ALREADY_RUNNING",
        facts={"run_id": run.id},
    )
