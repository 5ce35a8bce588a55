"""What a run tells the world: people by its notifications, other DAGs by its asset; and what it doesn't tell."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.state.people import Notice, People
from airflow_dr_provider.state.store import Store
from tests.scenarios.conftest import Stage
from tests.scenarios.faulty import Fault, faults
from tests.scenarios.test_people_and_accidents import answer
from tests.support.listeners import mail_server

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]

TOLD = """\
notifications:
  - {kind: email, conn_id: mail, to: [dr@example.org], on: [RECOVERED, MANUAL_TRIAGE, QUESTION]}
tiers:
"""


def telling(stage: Stage) -> Stage:
    return stage.with_spec(stage.spec.read_text().replace("tiers:\n", TOLD))


def mail(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "drills@example.org", "timeout": 5, "retry_limit": 1}
    monkeypatch.setenv(
        "AIRFLOW_CONN_MAIL", json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra})
    )


def notices(place: Path, run_id: str) -> tuple[Notice, ...]:
    store = Store.open(f"sqlite:///{place}/state.db")
    try:
        return People(store).notices(run_id)
    finally:
        store.close()


def events() -> list[dict[str, Any]]:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = select(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        rows = session.scalars(found.where(AssetModel.uri == "dr://matrix/proved").order_by(AssetEvent.id)).all()
        return [dict(row.extra) for row in rows]


def test_a_proved_recovery_is_told_once_and_published(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = events()
    with mail_server() as (port, mails):
        mail(monkeypatch, port)
        ended = telling(stage).by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.state) == ("RECOVERED", "success")
    assert [mail["Subject"] for mail in mails] == ["DR drill matrix: RECOVERED"], "the report tells, the verdict doesn't again"
    [notice] = notices(place, ended.record["run_id"])
    assert (notice.event, notice.sent) == ("RECOVERED", True)
    [event] = events()[len(before) :]
    assert {name: event[name] for name in ("outcome", "tier", "backup", "run")} == {
        "outcome": "RECOVERED",
        "tier": "primary",
        "backup": ended.record["backup"],
        "run": ended.record["run_id"],
    }
    assert event["lsn"]
    assert event["rto_seconds"] == ended.record["achieved"]["rto_seconds"]


def test_nobody_who_can_not_be_told_changes_the_outcome(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server(refuse=True) as (port, mails):
        mail(monkeypatch, port)
        ended = telling(stage).by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.record["exit_code"], ended.state, mails) == ("RECOVERED", 0, "success", [])
    [notice] = notices(place, ended.record["run_id"])
    assert (notice.event, notice.sent) == ("RECOVERED", False)
    assert "hunter2" not in notice.detail


def test_people_are_told_that_they_are_asked_and_how_it_ended(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_dr_provider.notifications.question import question_notifiers

    telling_stage = telling(stage)
    assert telling_stage.other is not None
    triage = stage.dag.task_dict["triage"]
    monkeypatch.setattr(triage, "params", deepcopy(triage.params))
    monkeypatch.setattr(triage, "notifiers", question_notifiers(telling_stage.other))
    before = events()
    with mail_server() as (port, mails), faults(*(Fault(rung, StageName.PROVISION) for rung in range(3))):
        mail(monkeypatch, port)
        ended = telling_stage.by_airflow(
            place, monkeypatch, marked="nothing", meanwhile=partial(answer, "Declare an incident", "{{ 7 * 7 }}", "primary")
        )
    assert (ended.record["outcome"], ended.state) == ("MANUAL_TRIAGE", "failed")
    assert [mail["Subject"] for mail in mails] == ["DR drill matrix: what is to be done?", "DR drill matrix: MANUAL_TRIAGE"]
    assert ended.tasks["proved"] == "skipped"
    assert events() == before, "a drill that failed publishes nothing"


def test_a_drill_of_the_drill_publishes_nothing(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = events()
    conf = {"as_of": stage.disaster.isoformat(), "inject": "control_damaged"}
    ended = stage.by_airflow(place, monkeypatch, conf=conf)
    assert (ended.record["outcome"], ended.state, ended.tasks["proved"]) == ("RECOVERED_DEGRADED", "success", "skipped")
    assert events() == before


def test_a_router_says_why_and_leads_to_the_record(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with faults(Fault(0, StageName.PROVISION)):
        ended = stage.by_airflow(place, monkeypatch)
    dag_id, _, run_id = ended.record["run_id"].partition(":")
    with create_session() as session:
        rows = session.scalars(select(XComModel).where(XComModel.dag_id == dag_id, XComModel.run_id == run_id)).all()
        found = {(row.task_id, row.key): row.value for row in rows}
    why = found["route_primary", "why"]
    assert why["to"] == "secondary.enter"
    assert why["reason"].startswith("primary → secondary: DISK_FULL (")
    assert found["route_primary", "_link_DrillRecordLink"].endswith("/runs/" + run_id.replace(":", "%3A").replace("+", "%2B"))
    assert found["primary.teardown", "_link_SandboxLogLink"].endswith("/attempts/0/log")
