"""Close unfinished runs of a drill that nobody walks any more."""

from __future__ import annotations

from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.stages.abandon import abandon
from airflow_dr_provider.stages.ownership import is_abandoned
from airflow_dr_provider.stages.services import Services


async def close_abandoned(services: Services, spec: DrillSpec, *, keep: str, dag_id: str) -> tuple[str, ...]:
    """Clean up and close what earlier DAG runs or dead runners left open.

    Airflow runs one DAG run of a DAG at a time, so another one that the store has as unfinished has ended without closing. Of
    another DAG's run of the same drill nothing is known here; it may be under way.

    :param keep: the run that is about to be opened, or gone on with.
    :param dag_id: the DAG that is about to open or to go on with it.
    :return: ids of the runs that were closed.
    """
    closed: list[str] = []
    for run in () if spec.overlap else services.store.unfinished_runs(spec.drill):
        ours = run.owner.kind == "airflow" and run.owner.name.startswith(f"{dag_id}/")
        over = ours or is_abandoned(services, run, services.clock())
        if run.id != keep and over:
            await abandon(services, run, "INTERRUPTED", "it ended without being closed; another run began")
            closed.append(run.id)
    return tuple(closed)
