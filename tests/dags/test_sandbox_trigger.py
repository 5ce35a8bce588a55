"""The trigger by itself: what Airflow keeps of it, what it fires, and which default decides whether there is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.sdk._shared.module_loading import import_string
from airflow.triggers.base import TriggerEvent

from airflow_dr_provider import custom_sandboxes
from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import Waiting
from airflow_dr_provider.operators.pitr_restore import PITRRestoreOperator
from airflow_dr_provider.operators.sandbox import SandboxProvisionOperator, SandboxTeardownOperator
from airflow_dr_provider.sensors.validation_gate import ValidationGateSensor
from airflow_dr_provider.triggers.sandbox import SandboxTrigger
from tests.support.remote_sandbox import KIND, Remote, install, service

pytestmark = pytest.mark.airflow


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    monkeypatch.setattr(sys, "path", [*sys.path, str(install(tmp_path / "site"))])
    custom_sandboxes.custom_sandboxes.cache_clear()
    with service(tmp_path) as running:
        yield running
    custom_sandboxes.custom_sandboxes.cache_clear()


def waiting(endpoint: str, *, seconds: float = 60, name: str = "dr-a") -> Waiting:
    return Waiting(
        run_id="none", rung=0, stage=StageName.VALIDATE, number=1, kind=KIND,
        settings={"kind": KIND, "endpoint": endpoint, "remote": ["validate"], "poll_seconds": 0.2}, workdir="/nowhere",
        handle=SandboxHandle(kind=KIND, name=name, place="/nowhere", details={"step": name}), detail="",
        poll_seconds=0.2, deadline=datetime.now(UTC) + timedelta(seconds=seconds),
    )  # fmt: skip


async def events(trigger: SandboxTrigger) -> list[TriggerEvent]:
    return [event async for event in trigger.run()]


def test_airflow_keeps_it_and_makes_it_again(airflow_database: Path) -> None:
    trigger = SandboxTrigger(waiting=waiting("http://127.0.0.1:1").model_dump(mode="json"), state_conn_id="drills")
    row = Trigger.from_object(trigger)
    again = import_string(row.classpath)(**Trigger._decrypt_kwargs(row.encrypted_kwargs))
    assert again.serialize() == trigger.serialize()
    assert Waiting.model_validate(again.waiting) == Waiting.model_validate(trigger.waiting)


@pytest.mark.parametrize(("fault", "state"), [({}, "ready"), ({"validate": {}}, "failed")])
async def test_one_event_when_there_is_something_to_look_at(remote: Remote, fault: dict[str, Any], state: str) -> None:
    remote.faults(fail=fault)
    remote.begin("dr-a", stage="validate", seconds=0.5)
    (event,) = await events(SandboxTrigger(waiting=waiting(remote.endpoint).model_dump(mode="json")))
    assert event.payload["wait"] == "dr-a/validate/1"
    assert event.payload["state"] == state


async def test_it_ends_at_its_deadline(remote: Remote) -> None:
    remote.begin("dr-a", stage="validate", seconds=600)
    (event,) = await events(SandboxTrigger(waiting=waiting(remote.endpoint, seconds=1).model_dump(mode="json")))
    assert event.payload["state"] == "late"


async def test_a_step_that_is_unknown_is_something_to_look_at(remote: Remote) -> None:
    (event,) = await events(SandboxTrigger(waiting=waiting(remote.endpoint).model_dump(mode="json")))
    assert event.payload["state"] == "error"
    assert "SANDBOX_LOST" in event.payload["detail"]


async def test_an_environment_that_is_away_for_a_while_is_asked_again(remote: Remote) -> None:
    remote.faults(error=2, reset=1, throttle=1)
    (event,) = await events(SandboxTrigger(waiting=waiting(remote.endpoint).model_dump(mode="json")))
    assert event.payload["state"] == "error", "four refusals were no answer; that the step is unknown is one"
    assert len([status for _, _, status in remote.log()["calls"] if status != 200]) == 4


@pytest.mark.parametrize("configured", ["True", "False", None])
def test_airflows_default_decides(monkeypatch: pytest.MonkeyPatch, configured: str | None) -> None:
    if configured is not None:
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", configured)
    kinds = (SandboxProvisionOperator, PITRRestoreOperator, SandboxTeardownOperator, ValidationGateSensor)
    for number, kind in enumerate(kinds):
        assert kind(task_id=f"t{number}", rung=0).deferrable is (configured == "True")
        assert kind(task_id=f"d{number}", rung=0, deferrable=True).deferrable is True
        assert kind(task_id=f"n{number}", rung=0, deferrable=False).deferrable is False
