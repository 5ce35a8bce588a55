"""Which workers serve a drill's tasks, and which specs are refused where tasks reach several hosts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.factory import build_drill_dag, build_reaper_dag, drill_dag, load_drills
from airflow_dr_provider.factory.placement import Placement, placement
from airflow_dr_provider.spec.models import DrillSpec
from tests.dags.conftest import text

pytestmark = pytest.mark.airflow


def with_queues(*queues: str | None) -> str:
    written = text()
    for queue in queues:
        sandbox = "{kind: process }" if queue is None else f"{{kind: process, queue: {queue}}}"
        written = written.replace("{kind: process}", sandbox, 1)
    return written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "orders.yaml").write_text(with_queues("dr-a", "dr-b", "dr-b"))
    return tmp_path


def queues(dag: DAG) -> dict[str, str]:
    return {task.task_id: task.queue for task in dag.tasks}


# -- what Airflow is configured to do ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("LocalExecutor", "LocalExecutor"),
        ("CeleryExecutor,LocalExecutor", "CeleryExecutor"),
        ("quick:airflow.executors.local_executor.LocalExecutor,CeleryExecutor", "LocalExecutor"),
        ("CeleryExecutor;team_a=LocalExecutor", "CeleryExecutor"),
        ("airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor", "KubernetesExecutor"),
    ],
)
def test_the_default_executor_counts(monkeypatch: pytest.MonkeyPatch, told: str, name: str) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", told)
    assert placement() == Placement(executor=name)


def test_the_section_dr_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DR__QUEUE", "drills")
    monkeypatch.setenv("AIRFLOW__DR__SINGLE_WORKER", "True")
    found = placement()
    assert (found.queue, found.single_worker) == ("drills", True)


# -- queues ------------------------------------------------------------------------------------------------------------
def test_every_task_of_an_attempt_and_its_router_has_the_tiers_queue(spec: Callable[..., DrillSpec], folder: Path) -> None:
    found = queues(drill_dag(str(folder / "orders.py")))
    for group, queue in {"primary": "dr-a", "secondary": "dr-b", "cold": "dr-b", "cold_2": "dr-b"}.items():
        own = {task: name for task, name in found.items() if task.startswith(f"{group}.") or task == f"route_{group}"}
        assert len(own) >= 7
        assert set(own.values()) == {queue}
    assert {found[task] for task in ("start", "route_start", "triage", "answer", "report", "verdict")} == {"default"}


def test_a_default_queue_serves_what_names_none(spec: Callable[..., DrillSpec]) -> None:
    assert set(queues(build_drill_dag(spec(), placement=Placement("CeleryExecutor", "drills"))).values()) == {"drills"}


def test_without_a_queue_airflows_own_default_holds(dag: DAG) -> None:
    assert set(queues(dag).values()) == {"default"}


def test_the_reaper_has_a_task_for_each_host(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert queues(build_reaper_dag(folder)) == {"reap": "default"}
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    assert queues(build_reaper_dag(folder)) == {"reap_dr-a": "dr-a", "reap_dr-b": "dr-b"}
    assert queues(build_reaper_dag(folder, queues=["gone"])) == {"reap_gone": "gone"}
    assert queues(build_reaper_dag()) == {"reap": "default"}


# -- refusals ----------------------------------------------------------------------------------------------------------
def test_several_hosts_need_a_queue_and_the_line_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    spec = folder / "orders.yaml"
    spec.write_text(with_queues("dr-a", None, "dr-b"))
    assert drill_dag(str(folder / "orders.py")).dag_id == "orders"
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    line = next(number for number, line in enumerate(spec.read_text().splitlines(), 1) if "process }" in line)
    with pytest.raises(SpecError) as refused:
        drill_dag(str(folder / "orders.py"))
    assert refused.value.message.startswith(f"{spec}:{line}: tiers[1].sandbox: CeleryExecutor may send")
    assert len(refused.value.message.splitlines()) == 1


@pytest.mark.parametrize("name", ["AIRFLOW__DR__SINGLE_WORKER", "AIRFLOW__DR__QUEUE"])
def test_one_host_or_a_default_queue_will_do(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> None:
    (folder / "orders.yaml").write_text(text())
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    with pytest.raises(SpecError):
        drill_dag(str(folder / "orders.py"))
    monkeypatch.setenv(name, "True")
    assert drill_dag(str(folder / "orders.py")).dag_id == "orders"


def test_a_container_for_each_task_holds_no_sandbox(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    with pytest.raises(SpecError, match="KubernetesExecutor runs each task in a container of its own") as refused:
        drill_dag(str(folder / "orders.py"))
    assert refused.value.message.count("tiers[") == 3


def test_a_loader_shows_the_refusal_as_it_shows_others(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
    found: dict[str, DAG] = {}
    load_drills(folder, found)
    (bad,) = found.values()
    assert bad.dag_id == "bad_spec_orders"
    assert "KubernetesExecutor" in str(bad.doc_md)


@pytest.mark.parametrize("argument", ["dagrun_timeout", "fail_fast"])
def test_what_skips_teardowns_is_refused(spec: Callable[..., DrillSpec], argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} skips teardowns"):
        build_drill_dag(spec(), **{argument: 60})
