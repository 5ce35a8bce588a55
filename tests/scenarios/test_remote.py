"""Drills as DAGs whose first tier is done elsewhere: deferred, on the worker, rescheduled; and where nothing is remote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider import custom_sandboxes
from airflow_dr_provider.domain.waiting import Waiting
from airflow_dr_provider.triggers import sandbox as triggers
from tests.scenarios.conftest import SPEC, Stage
from tests.support.remote_sandbox import KIND, Remote, install, service

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]

LOCAL = "sandbox: {{kind: process}}"
WAITERS = ("provision", "restore", "gate", "teardown")


@pytest.fixture
def remote(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """The environment, and its package where this process finds it."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(install(tmp_path / "site"))])
    custom_sandboxes.custom_sandboxes.cache_clear()
    with service(place) as running:
        yield running
    custom_sandboxes.custom_sandboxes.cache_clear()


@pytest.fixture
def deferred(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that a trigger waited for."""
    seen: list[str] = []
    real = triggers.until_settled

    async def until_settled(waiting: Waiting) -> Any:
        seen.append(waiting.stage.value)
        return await real(waiting)

    monkeypatch.setattr(triggers, "until_settled", until_settled)
    return seen


def with_remote_tier(stage: Stage, remote: Remote, *stages: str, **more: Any) -> Stage:
    folder = stage.folder
    keys = {
        "endpoint": remote.endpoint,
        "remote": f"[{', '.join(stages)}]",
        "repository": f"{{kind: basebackup, backups: {folder}/backups, archive: {folder}/archive}}",
        **more,
    }
    sandbox = f"{{kind: {KIND}, " + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"
    text = SPEC.replace(LOCAL, "sandbox: <>", 1).format(folder=folder).replace("<>", sandbox)
    return stage.with_spec(text)


@contextmanager
def tasks(stage: Stage, **settings: Any) -> Iterator[None]:
    """The first tier's tasks with other settings, for a block."""
    chosen = [stage.dag.task_dict[f"primary.{name}"] for name in WAITERS]
    before = [{key: getattr(task, key) for key in settings if hasattr(task, key)} for task in chosen]
    for task in chosen:
        for key, value in settings.items():
            if hasattr(task, key):
                setattr(task, key, value)
    try:
        yield
    finally:
        for task, values in zip(chosen, before, strict=True):
            for key, value in values.items():
                setattr(task, key, value)


def test_every_wait_is_the_triggerers(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, remote: Remote, deferred: list[str]
) -> None:
    changed = with_remote_tier(stage, remote, "provision", "restore", "validate", "teardown")
    with tasks(stage, deferrable=True):
        ended = changed.by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.record["tier"], ended.state) == ("RECOVERED", "primary", "success")
    assert list(dict.fromkeys(deferred)) == ["provision", "restore", "validate", "teardown"]
    assert set(remote.log()["begun"].values()) == {1}
    assert ended.left == []


def test_without_deferral_the_worker_waits(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, remote: Remote, deferred: list[str]
) -> None:
    with tasks(stage, deferrable=False, mode="poke", poke_interval=0.3):
        ended = with_remote_tier(stage, remote, "provision", "validate").by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.state) == ("RECOVERED", "success")
    assert deferred == []
    assert set(remote.log()["begun"].values()) == {1}


def test_a_gate_that_is_rescheduled(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, remote: Remote, deferred: list[str]
) -> None:
    changed = with_remote_tier(stage, remote, "validate", seconds=2)
    with tasks(stage, deferrable=False, mode="reschedule", poke_interval=0.5):
        ended = changed.by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.state) == ("RECOVERED", "success")
    assert deferred == []
    (asked,) = remote.log()["asked"].values()
    assert asked >= 2


@pytest.mark.parametrize("deferrable", [True, False])
def test_what_the_environment_gave_up_is_carried_by_the_next_tier(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, remote: Remote, deferrable: bool
) -> None:
    remote.faults(fail={"restore": {}})
    with tasks(stage, deferrable=deferrable):
        ended = with_remote_tier(stage, remote, "restore").by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.record["tier"], ended.state) == ("RECOVERED_DEGRADED", "secondary", "success")
    assert ended.moves[1] == ("primary", "secondary", "REMOTE_FAILED")
    assert ended.tasks["primary.restore"] == "failed"
    assert ended.left == []


def test_a_wait_that_is_too_late_is_named(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, remote: Remote) -> None:
    text = SPEC.replace(LOCAL, "sandbox: <>", 1).format(folder=stage.folder).replace("timeout: 3m", "timeout: 6s", 1)
    sandbox = f"{{kind: {KIND}, endpoint: {remote.endpoint}, seconds: 600}}"
    changed = stage.with_spec(text.replace("<>", sandbox))
    with tasks(stage, deferrable=True):
        ended = changed.by_airflow(place, monkeypatch)
    assert ended.moves[1] == ("primary", "secondary", "STAGE_TIMEOUT")
    assert ended.state == "success"
    assert len(remote.log()["cancelled"]) == 1


def test_a_trigger_that_breaks_costs_a_workers_slot_and_no_drill(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, remote: Remote
) -> None:
    from airflow.sdk.exceptions import TaskDeferralError

    from airflow_dr_provider.operators.waiting import WaitingMixin

    def broken(self: Any, context: Any, event: Any = None) -> None:
        raise TaskDeferralError("Trigger failure")

    monkeypatch.setattr(WaitingMixin, "execute_complete", broken)
    with tasks(stage, deferrable=True):
        ended = with_remote_tier(stage, remote, "provision").by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.state) == ("RECOVERED", "success")


def test_where_nothing_is_remote_nothing_is_deferred(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, deferred: list[str]
) -> None:
    with tasks(stage, deferrable=True):
        ended = stage.by_airflow(place, monkeypatch)
    assert (ended.record["outcome"], ended.state) == ("RECOVERED", "success")
    assert deferred == []
