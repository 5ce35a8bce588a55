"""The catalog watch: one DAG over every drill of a folder."""

from __future__ import annotations

import re
from pathlib import Path

from airflow.sdk import DAG, TaskGroup, TriggerRule

from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.factory.dag import LOST_WORKER
from airflow_dr_provider.factory.loading import read_specs
from airflow_dr_provider.operators.bad_spec import BadSpecOperator
from airflow_dr_provider.operators.catalog_watch import SCAN, CatalogFindingsOperator, CatalogWatchOperator
from airflow_dr_provider.spec.models import DrillSpec

_DRILL = re.compile(rb"""\bdrill["']?[ \t]*:""")

DOCUMENT = """\
### The catalog watch

For each drill: `scan` reads names, sizes and headers of its repository and publishes the asset `dr://<drill>/restorable` when
something could be restored; `findings` is red while something is wrong: missing WAL, an archive that stands still, no usable
backup, a drill that should have run and did not. `airflow-dr watch` says the same on a terminal.
"""


def build_watch_dag(module: str | Path, *, dag_id: str = "dr_watch", schedule: str | None = "*/15 * * * *") -> DAG:
    """A DAG with a task group for each drill whose spec lies in a folder or below.

    A drill is watched from outside of its own DAG: that one may be paused, broken or gone, and that is a finding too. A spec
    that can't be used is a task that fails and says why, for nobody watches over its drill.

    :param module: the ``__file__`` of a module beside the specs, or their folder.
    """
    place = Path(module)
    folder = place if place.is_dir() else place.parent
    with DAG(
        dag_id=dag_id,
        description="Finds what is wrong with backups before anybody needs them",
        doc_md=DOCUMENT,
        schedule=schedule,
        catchup=False,
        max_active_runs=1,
        tags=["dr"],
        default_args={"owner": "dr", **LOST_WORKER},
    ) as dag:
        found = [(path, spec) for path, spec in read_specs(folder, None) if isinstance(spec, DrillSpec) or _is_drill(path)]
        taken = {spec.drill for _, spec in found if isinstance(spec, DrillSpec)}
        for path, spec in found:
            if isinstance(spec, SpecError):
                name = _name(path.relative_to(folder), taken)
                taken.add(name)
                BadSpecOperator(task_id=name, message=spec.message, retries=0)
            else:
                _group(spec)
    return dag


def _group(spec: DrillSpec) -> None:
    with TaskGroup(group_id=spec.drill):
        scan = CatalogWatchOperator(task_id="scan", spec=spec)
        findings = CatalogFindingsOperator(
            task_id="findings",
            scan=f"{{{{ ti.xcom_pull(task_ids='{scan.task_id}', key='{SCAN}') }}}}",
            # Also when nothing could be published: then above all.
            trigger_rule=TriggerRule.NONE_FAILED,
        )
        scan >> findings


def _is_drill(path: Path) -> bool:
    """Whether a file that can't be used was meant to be a drill: a DAGs folder holds other YAML, too."""
    try:
        return _DRILL.search(path.read_bytes()) is not None
    except OSError:
        return True


def _name(path: Path, taken: set[str]) -> str:
    name = f"bad_spec_{re.sub(r'[^A-Za-z0-9_-]', '_', str(path.with_suffix('')))}"
    while name in taken:
        name += "_"
    return name
