"""From YAML files to DAGs in a module.

What Airflow 3.3.2 does with an error decides how bad specs are shown. A module that raises loses every DAG that it made. A DAG
that fails its own validation leaves the others in the bag, and yet the file gets an import error, and with one the DAG
processor marks every DAG of that *file* stale: none is scheduled or can be triggered
(``airflow.dag_processing.collection._update_import_errors``). An import error therefore has to come from a file that holds no
good DAG: from the thin file of the bad spec itself (:func:`drill_dag`), or from one beside the loader that only reports
(:func:`report_bad_specs`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_parsing_context

from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.factory.bad_spec import bad_spec_dag
from airflow_dr_provider.factory.dag import build_drill_dag
from airflow_dr_provider.factory.placement import placement
from airflow_dr_provider.spec.loader import SUFFIXES, Judge, find_specs, load_spec
from airflow_dr_provider.spec.models import DrillSpec

_NAME = re.compile(rb"""^drill:[ \t]*(['"]?)([a-z0-9][a-z0-9_-]*)\1[ \t]*(?:#.*)?$""", re.MULTILINE)


def drill_dag(module: str, **dag_arguments: Any) -> DAG:
    """The DAG of the spec beside a module: ``orders.yaml`` beside ``orders.py``.

    :param module: the module's ``__file__``.
    :param dag_arguments: passed on to :func:`~airflow_dr_provider.factory.dag.build_drill_dag`.
    :raises SpecError: naming file and line of every mistake; Airflow shows it as the file's import error.
    """
    path = Path(module)
    spec = next((spec for suffix in SUFFIXES if (spec := path.with_suffix(suffix)).exists()), None)
    if spec is None:
        others = ", ".join(sorted(entry.name for entry in path.parent.glob("*") if entry.suffix in SUFFIXES)[:10])
        raise SpecError(
            f"{path.with_suffix(SUFFIXES[0])}: isn't there: drill_dag(__file__) looks for a spec of the module's own name beside "
            f"it. {f'There are: {others}' if others else 'There is no YAML file at all'}."
        )
    here = placement()
    return build_drill_dag(load_spec(spec, here.refusals), placement=here, **dag_arguments)


def load_drills(folder: str | Path, namespace: dict[str, Any]) -> None:
    """Put the DAG of every spec in a folder into a module's namespace.

    One bad spec hides no other: in its place stands a DAG ``bad_spec_…`` that can't be run and says what is wrong, by file and
    line. A worker that runs one task builds only that task's DAG.

    :param folder: where the specs lie, in it and below; a relative path starts from the module's own folder.
    :param namespace: the module's ``globals()``.
    """
    wanted = get_parsing_context().dag_id
    here = placement()
    for path, spec in read_specs(Path(namespace.get("__file__", "")).parent / folder, wanted, here.refusals):
        try:
            dag = bad_spec_dag(path, spec.message) if isinstance(spec, SpecError) else build_drill_dag(spec, placement=here)
        except SpecError as error:
            dag = bad_spec_dag(path, f"{path}: {error.message}")
        if wanted in (None, dag.dag_id):
            namespace[dag.dag_id] = dag


def report_bad_specs(folder: str | Path) -> None:
    """Raise what is wrong with the specs of a folder, so that Airflow shows an import error beside the DAGs of the good ones.

    For a thin file of its own beside the one that calls :func:`load_drills`.

    :raises SpecError: naming file and line of every mistake in every spec.
    """
    if get_parsing_context().dag_id is None:
        wrong = [
            spec.message for _, spec in read_specs(Path(folder), None, placement().refusals) if isinstance(spec, SpecError)
        ]
        if wrong:
            raise SpecError("\n".join(wrong))


def read_specs(folder: Path, wanted: str | None, judge: Judge | None = None) -> Iterator[tuple[Path, DrillSpec | SpecError]]:
    """Each spec of a folder, or what is wrong with it; a second spec of the same drill is wrong, too.

    :param wanted: the one drill that is wanted; None for all.
    :param judge: has the last word on a spec that is right in itself.
    """
    seen: dict[str, Path] = {}
    for path in find_specs([folder]):
        if wanted is not None and _other(path, wanted):
            continue
        try:
            spec = load_spec(path, judge)
        except SpecError as error:
            yield path, error
            continue
        if spec.drill in seen:
            yield path, SpecError(f"{path}: drill: {spec.drill} is taken by {seen[spec.drill]}; give it another name.")
            continue
        seen[spec.drill] = path
        yield path, spec


def _other(path: Path, wanted: str) -> bool:
    """Whether a file says in plain sight that it is another drill than the one that is wanted: then it needn't be read."""
    try:
        found = _NAME.findall(path.read_bytes())
    except OSError:
        return False
    return len(found) == 1 and found[0][1].decode() != wanted
