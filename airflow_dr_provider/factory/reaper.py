"""The reaper: removes from outside what no teardown could."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow.sdk import DAG, Param

from airflow_dr_provider.factory.loading import read_specs
from airflow_dr_provider.factory.placement import placement
from airflow_dr_provider.operators.reaper import SandboxReaperOperator
from airflow_dr_provider.spec.models import DrillSpec


def build_reaper_dag(
    module: str | Path | None = None,
    *,
    dag_id: str = "dr_reaper",
    schedule: str | None = "*/10 * * * *",
    queues: Sequence[str] | None = None,
) -> DAG:
    """A DAG that passes over the ledger and destroys what outlived its lease or its run.

    No teardown inside a drill's DAG is enough: a task may be killed while a resource is being made, and a run that times out
    skips its teardowns. Where workers are on several hosts there is a task for each host, by its queue: a sandbox can only be
    removed where it is.

    :param module: the ``__file__`` of a module beside the specs, or their folder; tells which queues there are.
    :param queues: the queues, when the specs don't tell, say of a drill that is gone.
    """
    named = tuple(queues) if queues is not None else _queues(module)
    with DAG(
        dag_id=dag_id,
        description="Destroys sandboxes whose lease ran out or whose drill is over",
        schedule=schedule,
        catchup=False,
        max_active_runs=1,
        tags=["dr"],
        params={"dry_run": Param(False, type="boolean", title="Only say what would be removed")},
        default_args={"owner": "dr"},
    ) as dag:
        if not named:
            SandboxReaperOperator(task_id="reap")
        for queue in named:
            SandboxReaperOperator(task_id=f"reap_{queue}", queue=queue)
    return dag


def _queues(module: str | Path | None) -> tuple[str, ...]:
    here = placement()
    if here.one_host:
        return ()
    found = {here.queue}
    if module is not None:
        place = Path(module)
        specs = [spec for _, spec in read_specs(place if place.is_dir() else place.parent, None)]
        found |= {here.queue_of(tier.sandbox) for spec in specs if isinstance(spec, DrillSpec) for tier in spec.tiers}
    return tuple(sorted(queue for queue in found if queue is not None))
