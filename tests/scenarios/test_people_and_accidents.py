"""What is not a stage's failure: a person who marks tasks, a run that can't begin, something that will not go."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.factory import build_reaper_dag
from airflow_dr_provider.spec.loader import load_spec, spec_digest, spec_snapshot
from airflow_dr_provider.stages.ownership import airflow_run, this_process
from airflow_dr_provider.state.records import Owner
from airflow_dr_provider.state.store import Store
from tests.scenarios.conftest import Stage
from tests.scenarios.faulty import Fault, faults

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]


# -- marks -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("marked", ["gate", "restore", "select"])
def test_a_task_that_was_marked_successful_proves_nothing(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, marked: str
) -> None:
    """Nor does the loss of one that wrote nothing stop the chain: from outside the two look alike."""
    ended = stage.by_airflow(place, monkeypatch, marked=f"triage|primary.{marked}")
    assert ended.tasks[f"primary.{marked}"] == "success"
    assert (ended.record["outcome"], ended.record["tier"], ended.state) == ("RECOVERED_DEGRADED", "secondary", "success")
    assert ended.moves[1][:2] == ("primary", "secondary")
    assert ended.left == []


def test_every_gate_marked_successful_is_no_recovery(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = stage.by_airflow(place, monkeypatch, marked=r"triage|.*\.gate")
    assert ended.state == "failed"
    assert ended.record["outcome"] == "COULD_NOT_VERIFY"
    assert ended.left == []


def test_the_verdict_closes_a_run_that_was_not_reported(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = stage.by_airflow(place, monkeypatch, marked="triage|report")
    assert (ended.record["outcome"], ended.state) == ("RECOVERED", "success")


# -- the question ------------------------------------------------------------------------------------------------------
class Somebody:
    """A user of Airflow's page."""

    def get_id(self) -> str:
        return "jo"

    def get_name(self) -> str:
        return "Jo"


def answer(option: str = "Declare an incident", comment: str | None = "called the vendor", tier: str = "primary") -> None:
    """What the page does with an answer."""
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        for task in session.scalars(select(TaskInstance).where(TaskInstance.state == "awaiting_input")):
            update_hitl_detail(
                dag_id=task.dag_id,
                dag_run_id=task.run_id,
                task_id=task.task_id,
                update_hitl_detail_payload=UpdateHITLDetailPayload(
                    chosen_options=[option], params_input={"comment": comment, "tier": tier}
                ),
                user=Somebody(),
                session=session,
            )


def sweep() -> None:
    """What the scheduler does with a question that nobody answered in time."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    SchedulerJobRunner(job=Job()).check_awaiting_input_timeouts()


@pytest.mark.parametrize(
    ("meanwhile", "kept"),
    [(answer, ("manual_triage", "answered", "Declare an incident")), (sweep, ("manual_triage", "answered", "No answer"))],
    ids=["answered", "ignored"],
)
def test_the_question_ends_and_its_answer_is_kept(
    stage: Stage,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[], None],
    kept: tuple[str, str, str],
) -> None:
    # The operator writes the answer into its own params, which here, in one process, the next run would begin with.
    triage = stage.dag.task_dict["triage"]
    monkeypatch.setattr(triage, "params", deepcopy(triage.params))
    if meanwhile is sweep:
        monkeypatch.setattr(triage, "response_timeout", timedelta(milliseconds=50))
    with faults(*(Fault(rung, StageName.PROVISION) for rung in range(3))):
        ended = stage.by_airflow(place, monkeypatch, marked="nothing", meanwhile=meanwhile)
    assert [row[:3] for row in ended.log if row[0] == "manual_triage"] == [kept]
    assert (ended.tasks["triage"], ended.tasks["answer"]) == ("success", "success")
    assert (ended.record["outcome"], ended.state) == ("MANUAL_TRIAGE", "failed")
    detail = next(entry["detail"] for entry in ended.record["log"] if entry["from"] == "manual_triage")
    assert detail == ("Jo: called the vendor" if meanwhile is answer else "")


# -- runs that end when they open --------------------------------------------------------------------------------------
def test_a_target_that_nothing_reaches_goes_straight_to_triage(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    text = stage.spec.read_text().replace("{recover_to: latest}", f'{{time: "{later}"}}')
    ended = stage.with_spec(text).by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.state) == ("MANUAL_TRIAGE", "failed")
    assert ended.moves == [("start", "manual_triage", "TARGET_IN_FUTURE")]
    assert {task for task, state in ended.tasks.items() if state == "success"} == {
        "start", "route_start", "triage", "answer", "route_answer", "report",
    }  # fmt: skip
    assert not any("primary/" in source for source, *_ in ended.log)


def test_a_repository_that_is_not_there(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = stage.with_spec(stage.spec.read_text().replace("/backups", "/nowhere")).by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.state) == ("COULD_NOT_VERIFY", "failed")
    assert ended.moves == [("start", "could_not_verify", "REPOSITORY_UNREACHABLE")]
    assert (ended.tasks["triage"], ended.tasks["report"], ended.tasks["primary.enter"]) == ("skipped", "success", "skipped")


@pytest.mark.parametrize("moment", ["2026-03-01T04:00:00", "tomorrow"])
def test_a_moment_that_is_none(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    ended = stage.by_airflow(place, monkeypatch, conf={"as_of": moment})
    assert (ended.state, ended.tasks["start"], ended.tasks["verdict"]) == ("failed", "failed", "upstream_failed")
    assert ended.log == []


def open_another(stage: Stage, place: Path, owner: Owner) -> None:
    spec = load_spec(stage.spec)
    store = Store.open(f"sqlite:///{place}/state.db")
    store.open_run(
        run_id="another",
        drill=spec.drill,
        spec_digest=spec_digest(spec),
        spec=spec_snapshot(spec),
        owner=owner,
        trigger="runner",
        as_of=None,
        now=datetime.now(UTC),
    )
    store.close()


@pytest.mark.parametrize("owner", [this_process(), airflow_run("another_dag", "manual__1")], ids=["runner", "another DAG"])
def test_a_drill_that_is_under_way_elsewhere_is_left_alone(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, owner: Owner
) -> None:
    open_another(stage, place, owner)
    ended = stage.by_airflow(place, monkeypatch)
    assert (ended.state, ended.tasks["start"]) == ("failed", "failed")
    store = Store.open(f"sqlite:///{place}/state.db")
    assert [(run.id, run.closed_at) for run in store.runs()] == [("another", None)]
    store.close()


def test_what_this_dag_left_open_is_closed(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_another(stage, place, airflow_run("matrix", "manual__earlier"))
    ended = stage.by_airflow(place, monkeypatch)
    assert (ended.state, ended.record["outcome"]) == ("success", "RECOVERED")
    store = Store.open(f"sqlite:///{place}/state.db")
    earlier = store.run("another")
    store.close()
    assert earlier is not None
    assert earlier.outcome == "COULD_NOT_VERIFY"


# -- what will not go --------------------------------------------------------------------------------------------------
def test_a_sandbox_that_will_not_go_fails_the_run_and_is_the_reapers(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faults(Fault(0, StageName.TEARDOWN), everywhere=True):
        ended = stage.by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.record["exit_code"], ended.state) == ("RECOVERED", 4, "failed")
    assert ended.tasks["verdict"] == "failed"
    assert ended.record["leftovers"]
    assert ended.left
    for rehearsal in (True, False):
        left = stage.reap(place, monkeypatch, build_reaper_dag(), dry_run=rehearsal)
        assert bool(left) is rehearsal
