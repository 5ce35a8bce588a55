"""A drill inside somebody's own DAG: its shape, its names, and the examples that are shipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TriggerRule
from airflow.serialization.serialized_objects import DagSerialization

import airflow_dr_provider.example_dags
from airflow_dr_provider.factory import build_drill_dag, drill_task_group
from airflow_dr_provider.spec.models import DrillSpec

pytestmark = pytest.mark.airflow

EXAMPLES = Path(airflow_dr_provider.example_dags.__file__).parent


@pytest.fixture(scope="module")
def host(spec: Callable[..., DrillSpec]) -> DAG:
    """Somebody's DAG with two drills in it."""
    with DAG(dag_id="host", schedule=None) as dag:
        before, after = EmptyOperator(task_id="before"), EmptyOperator(task_id="after")
        first = drill_task_group(spec(), group_id="first")
        second = drill_task_group(spec(drill="billing"))
        before >> first >> second >> after
    dag.validate()
    dag.check_cycle()
    return dag


def test_it_is_the_drills_own_dag_with_a_prefix(host: DAG, spec: Callable[..., DrillSpec]) -> None:
    own = build_drill_dag(spec())
    names = {task.removeprefix("first.") for task in host.task_ids if task.startswith("first.")}
    assert names == {*own.task_ids, "close"}
    for name in own.task_ids:
        below = {task.removeprefix("first.") for task in host.task_dict[f"first.{name}"].downstream_task_ids}
        if name == "start":  # whose teardown is another task here
            assert below == {"route_start", "close"}
        elif name != "verdict":
            assert below - {"close"} == own.task_dict[name].downstream_task_ids, name


def test_it_begins_with_start_and_ends_with_the_verdict(host: DAG) -> None:
    assert host.task_dict["before"].downstream_task_ids == {"first.start"}
    assert host.task_dict["first.verdict"].downstream_task_ids == {"first.close", "billing.start"}
    assert host.task_dict["after"].upstream_task_ids == {"billing.verdict"}
    verdict, close = host.task_dict["first.verdict"], host.task_dict["first.close"]
    assert (verdict.is_teardown, verdict.trigger_rule) == (False, TriggerRule.ALL_DONE)
    assert (close.is_teardown, close.on_failure_fail_dagrun, close.downstream_task_ids) == (True, True, set())
    assert {"first.start", "first.verdict", "first.report", "first.primary.teardown"} <= close.upstream_task_ids


def test_each_has_a_run_of_its_own(host: DAG) -> None:
    ids = {group: set() for group in ("first", "billing")}
    for task in host.tasks:
        if hasattr(task, "drill_run_id"):
            ids[task.task_id.partition(".")[0]].add(task.drill_run_id)
    assert ids == {group: {f"{{{{ dag.dag_id }}}}:{{{{ run_id }}}}:{group}"} for group in ids}
    router = host.task_dict["billing.route_primary"]
    assert router.drill_run_id == "{{ dag.dag_id }}:{{ run_id }}:billing"
    assert router.prefix == "billing."
    assert router.entries[1] == "billing.secondary.enter"
    assert host.task_dict["billing.answer"].question == "billing.triage"


def test_edges_inside_have_their_labels(host: DAG) -> None:
    assert host.get_edge_info("first.route_primary", "first.secondary.enter") == {"label": "failed"}
    assert host.get_edge_info("billing.route_cold", "billing.report") == {"label": "recovered"}


def test_it_asks_for_no_parameters_and_presumes_nothing_of_other_runs(host: DAG) -> None:
    start = host.task_dict["first.start"]
    assert (start.as_of, start.inject, start.alone) == ("", "", False)
    assert build_drill_dag(start.spec).task_dict["start"].alone is True


def test_it_survives_serialisation(host: DAG) -> None:
    again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(host))))
    assert set(again.task_ids) == set(host.task_ids)


def test_a_group_without_a_prefix_is_refused(spec: Callable[..., DrillSpec]) -> None:
    with DAG(dag_id="host", schedule=None), pytest.raises(ValueError, match="needs its prefix"):
        drill_task_group(spec(), prefix_group_id=False)


def test_the_examples_parse() -> None:
    found = DagBag(str(EXAMPLES), bundle_path=EXAMPLES, bundle_name="examples")
    assert found.import_errors == {}
    assert set(found.dags) == {"example_drill_in_own_dag", "example_dr_operators"}


# -- pools -------------------------------------------------------------------------------------------------------------
def test_tasks_of_a_tier_take_slots_of_its_pool(spec: Callable[..., DrillSpec]) -> None:
    drill = spec()
    tiers = (drill.tiers[0].model_copy(update={"pool": "dr_staging"}), *drill.tiers[1:])
    dag = build_drill_dag(drill.model_copy(update={"tiers": tiers}))
    pools = {task.task_id: task.pool for task in dag.tasks}
    assert {pools[f"primary.{stage}"] for stage in ("select", "provision", "restore", "warm", "gate", "teardown")} == {
        "dr_staging"
    }
    # The attempt that a person may ask for has the place of the tier with the longest limit.
    elsewhere = {pool for name, pool in pools.items() if not name.startswith(("primary.", "retry."))}
    assert elsewhere == {"default_pool"}
