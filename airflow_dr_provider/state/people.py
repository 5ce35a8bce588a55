"""What people asked, answered and were told of a run, in the store; and what is kept for them to look at."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_dr_provider.domain.triage import TriageAnswer
from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.errors import StateError
from airflow_dr_provider.state.records import Resource, ResourceState
from airflow_dr_provider.state.store import Store
from airflow_dr_provider.state.tables import logs, notices, resources, runs

LONGEST_LOG = 64 << 10
"""Characters that are kept of a server's log: its end."""


class Notice(Value):
    """A message about a run.

    :param event: an outcome, ``CLEANUP_FAILED``, ``QUESTION`` or ``DEADLINE``.
    :param channel: where to, as a person reads it: ``email to dr@example.org by smtp_default``.
    :param sent: whether it went out.
    :param detail: why not, without the other side's own words, which may hold a secret.
    """

    run_id: str
    event: str
    channel: str
    sent: bool
    detail: str = ""
    at: datetime


class People:
    """The people's part of a store.

    :raises StateError: from every method when the database can't be used.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    # -- the question --------------------------------------------------------------------------------------------------
    def answer(self, run_id: str, answer: TriageAnswer) -> TriageAnswer:
        """Keep an answer. The first one counts; a later one changes nothing and returns it.

        :raises StateError: for a run that isn't known, or is closed: its record says already how it ended.
        """
        with self._store._writing() as connection:
            found = connection.execute(
                sa.select(runs.c.triage, runs.c.closed_at).where(runs.c.id == run_id).with_for_update()
            ).first()
            if found is None:
                raise StateError(f"The store knows no run {run_id}; was it opened with another state store?")
            if found.triage is not None:
                return TriageAnswer.model_validate(found.triage)
            if found.closed_at is not None:
                raise StateError(f"The run {run_id} was closed at {found.closed_at.isoformat()}; an answer comes too late.")
            connection.execute(runs.update().where(runs.c.id == run_id).values(triage=answer.model_dump(mode="json")))
        return answer

    # -- what is kept for them -----------------------------------------------------------------------------------------
    def keep_sandbox(self, name: str, until: datetime) -> Resource:
        """Let a sandbox outlive its run, until its lease ends; the same again changes nothing.

        :raises StateError: when it isn't there any more.
        """
        with self._store._writing() as connection:
            known = connection.execute(sa.select(resources).where(resources.c.name == name).with_for_update()).first()
            if known is None or known.released_at is not None:
                raise StateError(f"The sandbox {name} isn't there any more, so it can't be kept.", code="LEASE_EXPIRED")
            if known.state != ResourceState.KEPT:
                kept = {"state": ResourceState.KEPT, "lease_until": until}
                connection.execute(resources.update().where(resources.c.name == name).values(**kept))
        found = self._store.resource(name)
        if found is None:
            raise StateError(f"The ledger has no resource {name}; it was never reserved in this state store.")
        return found

    def keep_log(self, attempt_id: str, text: str, *, now: datetime) -> None:
        """Keep the end of a restored server's log; the first one stays."""
        with self._store._writing() as connection:
            if connection.execute(sa.select(logs.c.attempt_id).where(logs.c.attempt_id == attempt_id)).first() is None:
                connection.execute(logs.insert().values(attempt_id=attempt_id, text=text[-LONGEST_LOG:], at=now))

    def log(self, attempt_id: str) -> str | None:
        """The kept log of an attempt's server."""
        with self._store._reading() as connection:
            return connection.execute(sa.select(logs.c.text).where(logs.c.attempt_id == attempt_id)).scalar()

    # -- what they were told -------------------------------------------------------------------------------------------
    def note(self, notice: Notice) -> None:
        """Write down that a message was sent, or wasn't; a later try to the same place replaces an earlier one."""
        with self._store._writing() as connection:
            connection.execute(notices.delete().where(*_same(notice)))
            connection.execute(notices.insert().values(**dict(notice)))

    def notices(self, run_id: str) -> tuple[Notice, ...]:
        """What was sent about a run, in order."""
        with self._store._reading() as connection:
            return _notices(connection, run_id)


def _same(notice: Notice) -> tuple[Any, ...]:
    return notices.c.run_id == notice.run_id, notices.c.event == notice.event, notices.c.channel == notice.channel


def _notices(connection: Connection, run_id: str) -> tuple[Notice, ...]:
    found = sa.select(notices).where(notices.c.run_id == run_id).order_by(notices.c.at, notices.c.event, notices.c.channel)
    return tuple(Notice.model_validate(dict(row._mapping)) for row in connection.execute(found))
