"""How long a tier took when it carried a run."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_dr_provider.domain.chain import Outcome
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.state.store import Store
from airflow_dr_provider.state.tables import attempts, measurements, runs

_PROVED = (Outcome.RECOVERED.value, Outcome.RECOVERED_DEGRADED.value)
_COUNTED = tuple(f"{stage.value}.elapsed_seconds" for stage in StageName if stage is not StageName.TEARDOWN)


def tier_seconds(store: Store, drill: str, tier: str, *, limit: int = 10) -> tuple[float, ...]:
    """Seconds from the choice of a backup to the gate that passed, of the latest runs that the tier carried, newest first.

    Runs with injected faults measure nothing, and so are none of them.
    """
    others = attempts.alias()
    last = sa.select(sa.func.max(others.c.rung)).where(others.c.run_id == runs.c.id).correlate(runs).scalar_subquery()
    found = (
        sa.select(sa.func.sum(measurements.c.value))
        .select_from(runs.join(attempts, attempts.c.run_id == runs.c.id))
        .join(measurements, measurements.c.attempt_id == attempts.c.id)
        .where(runs.c.drill == drill, runs.c.outcome.in_(_PROVED))
        .where(attempts.c.tier == tier, attempts.c.rung == last, measurements.c.name.in_(_COUNTED))
        .group_by(runs.c.id, runs.c.opened_at)
        .order_by(runs.c.opened_at.desc(), runs.c.id.desc())
        .limit(limit)
    )
    with store._reading() as connection:
        return tuple(float(row[0]) for row in connection.execute(found))
