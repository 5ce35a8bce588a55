"""The catalog watch's scans in the store: the last ones, and beyond those only what changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.errors import StateError
from airflow_dr_provider.state.store import Store
from airflow_dr_provider.state.tables import runs, scans

REPEATS_KEPT = timedelta(days=1)
"""How long a scan is kept that says the same as the one before it and the one after it."""

KEPT = timedelta(days=400)
"""How long any other is kept: a year's audit looks back on it."""


class Scan(Value):
    """One scan of one drill; the values that it is made of are JSON here.

    :param conclusive: whether the repository could be read.
    :param digest: of what it says, without times and positions: alike for scans between which nothing happened.
    :param repeats: whether the scans around it say the same.
    """

    id: str
    drill: str
    at: datetime
    conclusive: bool
    repository: str | None
    restorable: dict[str, Any] | None
    holes: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    notes: list[str]
    memory: dict[str, Any]
    digest: str
    repeats: bool = False


class RunSpan(Value):
    """A run without what it resolved and recorded."""

    id: str
    opened_at: datetime
    closed_at: datetime | None
    outcome: str | None


class Scans:
    """The scans of a store.

    :raises StateError: from every method when the database can't be used.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, scan: Scan) -> None:
        """Keep a scan, and prune those of its drill that say nothing any more. The same id twice changes nothing."""
        with self._store._writing() as connection:
            if connection.execute(sa.select(scans.c.id).where(scans.c.id == scan.id)).first() is not None:
                return
            earlier = _latest(connection, scan.drill, 2)
            if len({scan.digest, *(entry.digest for entry in earlier)}) == 1 and len(earlier) == 2:
                connection.execute(scans.update().where(scans.c.id == earlier[0].id).values(repeats=True))
            connection.execute(scans.insert().values(**dict(scan)))
            ours = scans.c.drill == scan.drill
            connection.execute(scans.delete().where(ours, scans.c.repeats, scans.c.at < scan.at - REPEATS_KEPT))
            connection.execute(scans.delete().where(ours, scans.c.at < scan.at - KEPT))

    def scan(self, identifier: str) -> Scan:
        """A scan by its id.

        :raises StateError: when it isn't there.
        """
        with self._store._reading() as connection:
            found = connection.execute(sa.select(scans).where(scans.c.id == identifier)).first()
        if found is None:
            raise StateError(f"The store has no scan {identifier}; does every worker use the same AIRFLOW_DR_STATE?")
        return Scan.model_validate(dict(found._mapping))

    def latest(self, drill: str) -> Scan | None:
        """The last scan of a drill."""
        with self._store._reading() as connection:
            return next(iter(_latest(connection, drill, 1)), None)

    def runs(self, drill: str, *, since: datetime | None) -> tuple[RunSpan, ...]:
        """The drill's unfinished runs, and those that were opened at a time or later; oldest first."""
        unfinished = runs.c.closed_at.is_(None)
        wanted = unfinished if since is None else sa.or_(unfinished, runs.c.opened_at >= since)
        columns = (runs.c.id, runs.c.opened_at, runs.c.closed_at, runs.c.outcome)
        found = sa.select(*columns).where(runs.c.drill == drill).where(wanted).order_by(runs.c.opened_at, runs.c.id)
        with self._store._reading() as connection:
            return tuple(RunSpan.model_validate(dict(row._mapping)) for row in connection.execute(found))


def _latest(connection: Connection, drill: str, count: int) -> list[Scan]:
    found = sa.select(scans).where(scans.c.drill == drill).order_by(scans.c.at.desc(), scans.c.id.desc()).limit(count)
    return [Scan.model_validate(dict(row._mapping)) for row in connection.execute(found)]
