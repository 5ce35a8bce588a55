"""The shape of a drill's DAG: the rules that were learnt from running it otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from airflow.sdk import DAG, TriggerRule

from airflow_dr_provider.domain.chain import unroll
from airflow_dr_provider.factory import build_drill_dag
from airflow_dr_provider.factory.dag import OUTSIDE, group_names
from airflow_dr_provider.operators.router import DrillRouterOperator
from airflow_dr_provider.sensors.validation_gate import ValidationGateSensor
from airflow_dr_provider.spec.models import DrillSpec

pytestmark = pytest.mark.airflow

GROUPS = ("primary", "secondary", "cold", "cold_2")
ROUTERS = ("route_start", *(f"route_{name}" for name in GROUPS))
STAGES = ("enter", "select", "reserve", "provision", "restore", "warm", "gate", "teardown")


def below(dag: DAG, task: str) -> set[str]:
    return set(dag.task_dict[task].downstream_task_ids)


def test_every_rung_has_its_tasks(dag: DAG) -> None:
    wanted = {f"{name}.{stage}" for name in (*GROUPS, "retry") for stage in STAGES} - {"cold.warm", "cold_2.warm"}
    assert set(dag.task_ids) == wanted | {*ROUTERS, *OUTSIDE} - {"retry"}


def test_the_way_through_a_rung(dag: DAG) -> None:
    assert below(dag, "primary.enter") == {"primary.select", "route_primary"}
    assert below(dag, "primary.select") == {"primary.reserve"}
    assert below(dag, "primary.provision") == {"primary.restore"}
    assert below(dag, "primary.restore") == {"primary.warm"}
    assert below(dag, "primary.warm") == {"primary.gate"}
    assert below(dag, "primary.gate") == {"primary.teardown", "route_primary"}
    assert below(dag, "cold.restore") == {"cold.gate"}


def test_the_reservation_is_the_setup_and_nothing_else_hangs_on_it(dag: DAG) -> None:
    for name in GROUPS:
        assert dag.task_dict[f"{name}.reserve"].is_setup
        assert dag.task_dict[f"{name}.teardown"].is_teardown
        assert below(dag, f"{name}.reserve") == {f"{name}.provision", f"{name}.teardown"}
    dag.validate()  # refuses a task right below a setup that doesn't need all above it to succeed


def test_a_router_is_skipped_with_its_tier(dag: DAG) -> None:
    """By its rule: of what lies above it nothing may have been skipped. No other router lies there, for one may have been."""
    for router in ROUTERS[1:]:
        task = dag.task_dict[router]
        assert isinstance(task, DrillRouterOperator)
        assert task.trigger_rule == TriggerRule.ALL_DONE_MIN_ONE_SUCCESS
        assert not {name for name in task.upstream_task_ids if name.startswith("route_")}


def test_routers_lie_below_enter_gate_and_teardown_of_their_rung(dag: DAG) -> None:
    for name in GROUPS:
        assert {f"{name}.enter", f"{name}.gate", f"{name}.teardown"} <= dag.task_dict[f"route_{name}"].upstream_task_ids


def test_what_ends_a_chain_is_directly_below_every_router(dag: DAG) -> None:
    """A router skips only what lies directly below it: triage must not run since some other router above it succeeded."""
    for router in ROUTERS:
        assert {"triage", "report"} <= below(dag, router)


def test_a_tier_that_the_start_may_lead_to_is_directly_below_every_router_before_it(dag: DAG) -> None:
    """A router that ends the chain has to skip it: its rule alone would let it run, since the start succeeded."""
    for index, router in enumerate(ROUTERS):
        entered = {task for task in below(dag, router) if task.endswith(".enter")}
        following = {f"{name}.enter" for name in GROUPS[index:][:1]}
        assert entered == following | {f"{name}.enter" for name in GROUPS[index:] if name != "cold_2"}
    for name in GROUPS:
        alone = name in ("primary", "cold_2")
        rule = TriggerRule.ALL_SUCCESS if alone else TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
        assert dag.task_dict[f"{name}.enter"].trigger_rule == rule


def test_one_more_attempt_stands_below_the_question(dag: DAG) -> None:
    assert below(dag, "triage") == {"answer"}
    assert below(dag, "answer") == {"route_answer"}
    assert below(dag, "route_answer") == {"retry.enter", "report"}
    assert below(dag, "route_retry") == {"report"}
    assert {"retry.enter", "retry.gate", "retry.teardown"} == dag.task_dict["route_retry"].upstream_task_ids
    assert dag.task_dict["retry.restore"].rung == len(GROUPS)


def test_who_may_answer(spec: Callable[..., DrillSpec]) -> None:
    anybody = spec()
    assert build_drill_dag(anybody).task_dict["triage"].assigned_users is None
    named = anybody.model_copy(update={"triage": anybody.triage.model_copy(update={"assigned_users": ("jo",)})})
    assert build_drill_dag(named).task_dict["triage"].assigned_users == [{"id": "jo", "name": "jo"}]


def test_edges_say_what_they_mean(dag: DAG) -> None:
    assert dag.get_edge_info("route_primary", "secondary.enter") == {"label": "failed"}
    assert dag.get_edge_info("route_cold_2", "triage") == {"label": "nothing left to try"}
    assert dag.get_edge_info("route_cold", "report") == {"label": "recovered"}


def test_the_verdict_is_the_only_leaf_and_decides(dag: DAG) -> None:
    assert [task.task_id for task in dag.tasks if not task.downstream_task_ids] == ["verdict"]
    verdict = dag.task_dict["verdict"]
    assert verdict.is_teardown
    assert verdict.on_failure_fail_dagrun
    assert dag.task_dict["start"].is_setup
    teardowns = {f"{name}.teardown" for name in (*GROUPS, "retry")}
    assert {"start", "report", "proved", *teardowns} == verdict.upstream_task_ids
    assert dag.task_dict["report"].trigger_rule == TriggerRule.ALL_DONE


def test_nothing_that_would_skip_a_teardown(dag: DAG) -> None:
    assert dag.dagrun_timeout is None
    assert not dag.fail_fast
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert not any(getattr(task, "soft_fail", False) for task in dag.tasks)
    assert all(dag.task_dict[f"{name}.teardown"].execution_timeout is None for name in GROUPS)


def test_airflows_limit_lies_above_the_tiers_own(dag: DAG) -> None:
    assert dag.task_dict["primary.restore"].execution_timeout > timedelta(minutes=10)
    gate = dag.task_dict["primary.gate"]
    assert isinstance(gate, ValidationGateSensor)
    assert gate.timeout > 600


def test_a_lost_worker_is_tried_again_a_question_is_not(dag: DAG) -> None:
    assert dag.task_dict["primary.restore"].retries == 2
    assert dag.task_dict["triage"].retries == 0


def test_the_question_ends_by_itself(dag: DAG) -> None:
    triage = dag.task_dict["triage"]
    assert triage.response_timeout == timedelta(hours=2)
    assert set(triage.defaults) <= set(triage.options)


def test_a_gate_is_never_shown_as_skipped() -> None:
    for name in ("soft_fail", "never_fail"):
        with pytest.raises(ValueError, match="has failed"):
            ValidationGateSensor(task_id="gate", rung=0, **{name: True})


@pytest.mark.parametrize("overlap", [True, False])
def test_drills_that_may_overlap_do(spec: Callable[..., DrillSpec], overlap: bool) -> None:
    chosen = spec().model_copy(update={"overlap": overlap})
    assert (build_drill_dag(chosen).max_active_runs > 1) is overlap


@pytest.mark.parametrize(
    "tiers",
    [
        [("report", "none"), ("start", "none")],
        [("cold", "none"), ("cold_2", "none"), ("cold", "none")][:2],
        [("cold_2", "none"), ("cold", "none")],
        [("start", "full"), ("route_start", "full")],
    ],
    ids=str,
)
def test_a_tier_may_be_called_like_a_task(spec: Callable[..., DrillSpec], tiers: list[tuple[str, str]]) -> None:
    dag = build_drill_dag(spec(*tiers))
    assert len([task for task in dag.task_ids if task.endswith(".teardown")]) == 5


def test_people_find_first_attempts_under_their_tiers_name() -> None:
    rungs = unroll((("cold_2", "staging", 0), ("cold", "staging", 0)), 4)
    assert group_names(rungs) == ("cold_2", "cold", "cold_2_", "cold_3")
