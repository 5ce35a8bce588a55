"""Failure signatures over all runs: each once, with the first and the last time it was seen.

Read from the transitions: what is appended there and never changed is all that has to be counted.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from airflow_dr_provider.domain.chain import START
from airflow_dr_provider.state.records import SeenSignature
from airflow_dr_provider.state.tables import runs, transitions


def seen_signatures(connection: Connection, drill: str | None) -> tuple[SeenSignature, ...]:
    """Every signature that ended a stage or the opening of a run, the latest first.

    The chain's own moves repeat the signature of the stage that caused them and are left out, except the move that ends a
    run at its start, which has no stage.
    """
    at_a_stage = sa.or_(transitions.c.source.like("%/%"), transitions.c.source == START)
    found = (
        sa.select(
            transitions.c.signature,
            runs.c.drill,
            sa.func.count(),
            sa.func.min(transitions.c.at, type_=transitions.c.at.type),
            sa.func.max(transitions.c.at, type_=transitions.c.at.type),
        )
        .join(runs, runs.c.id == transitions.c.run_id)
        .where(transitions.c.signature.is_not(None), at_a_stage)
        .group_by(transitions.c.signature, runs.c.drill)
    )
    if drill is not None:
        found = found.where(runs.c.drill == drill)
    seen: dict[str, SeenSignature] = {}
    for code, name, count, first, last in connection.execute(found.order_by(transitions.c.signature, runs.c.drill)):
        known = seen.get(code)
        if known is None:
            seen[code] = SeenSignature(code=code, count=count, first_seen=first, last_seen=last, drills=(name,))
        else:
            seen[code] = SeenSignature(
                code=code,
                count=known.count + count,
                first_seen=min(known.first_seen, first),
                last_seen=max(known.last_seen, last),
                drills=(*known.drills, name),
            )
    return tuple(sorted(seen.values(), key=lambda entry: (entry.last_seen, entry.code), reverse=True))
