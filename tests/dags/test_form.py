"""What a person sees of a drill before it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from airflow.sdk import DAG, CronTriggerTimetable
from airflow.sdk.exceptions import ParamValidationError

from airflow_dr_provider.factory import build_drill_dag, build_reaper_dag
from airflow_dr_provider.spec.models import DrillSpec

pytestmark = pytest.mark.airflow


def test_the_form(dag: DAG) -> None:
    assert list(dag.params) == ["as_of", "reason", "inject", "inject_tier"]
    assert dag.params.dump() == {"as_of": None, "reason": None, "inject": "none", "inject_tier": "primary"}
    assert dag.params.get_param("as_of").schema["format"] == "date-time"
    assert all(dag.params.get_param(name).schema["section"] for name in dag.params)


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("as_of", "2026-03-01T04:00:00+00:00", True),
        ("as_of", None, True),
        ("as_of", 7, False),
        ("reason", "quarterly audit", True),
        ("reason", "x" * 501, False),
        ("reason", 7, False),
        ("inject", "none", True),
        ("inject", "heap_bytes", True),
        ("inject", "rm -rf", False),
        ("inject", None, False),
        ("inject_tier", "secondary", True),
        ("inject_tier", "elsewhere", False),
    ],
)
def test_values_are_guarded(dag: DAG, name: str, value: object, good: bool) -> None:
    param = dag.params.get_param(name)
    if good:
        assert param.resolve(value) == value
    else:
        with pytest.raises(ParamValidationError):
            param.resolve(value)


def test_tags_schedule_and_document(dag: DAG) -> None:
    assert set(dag.tags) == {"dr", "nightly", "billing"}
    assert dag.schedule == CronTriggerTimetable("0 3 * * *", timezone="UTC")
    assert dag.description == "Proves it."
    assert "RTO 30m, RPO 1h, MTD 4h" in str(dag.doc_md)
    assert "| secondary | staging |" in str(dag.doc_md)


def test_another_name_for_the_dag(spec: Callable[..., DrillSpec]) -> None:
    assert build_drill_dag(spec(), dag_id="dr_orders").dag_id == "dr_orders"


def test_the_reaper() -> None:
    dag = build_reaper_dag()
    assert (dag.dag_id, dag.schedule, dag.max_active_runs, dag.catchup) == ("dr_reaper", "*/10 * * * *", 1, False)
    assert dag.params.dump() == {"dry_run": False}
    assert dag.task_ids == ["reap"]
