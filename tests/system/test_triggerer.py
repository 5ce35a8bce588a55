"""A real triggerer and what may happen to it: restarts end no step, a person does."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import Wait, Waiting, WaitState
from airflow_dr_provider.state.records import Resource, ResourceState
from airflow_dr_provider.state.store import Store
from tests.support.deferred import RUN_ID
from tests.support.remote_sandbox import KIND, Remote, install, service
from tests.support.triggerer import Triggerers, triggerers

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]


@pytest.fixture
def remote(place: Path) -> Iterator[Remote]:
    with service(place) as running:
        yield running


@pytest.fixture
def airflow(place: Path, tmp_path: Path) -> Iterator[Triggerers]:
    packages = install(tmp_path / "site")
    with triggerers(place, PYTHONPATH=str(packages), AIRFLOW_DR_STATE=f"sqlite:///{place}/state.db") as running:
        yield running


def begun(place: Path, remote: Remote, *names: str) -> list[dict[str, Any]]:
    """Steps that a worker began and deferred for: in the environment, in the ledger, and as triggers have them."""
    now, made = datetime.now(UTC), []
    settings = {"kind": KIND, "endpoint": remote.endpoint, "remote": ["validate"], "poll_seconds": 0.5}
    store = Store.open(f"sqlite:///{place}/state.db")
    for name in names:
        remote.begin(name, stage="validate", seconds=None)
        wait = Wait(
            stage=StageName.VALIDATE, number=1, begun_at=now, deadline=now + timedelta(hours=1), late="STAGE_TIMEOUT",
            state=WaitState.BEGUN,
        )  # fmt: skip
        handle = SandboxHandle(kind=KIND, name=name, place=str(place / name), details={"step": name})
        kept = handle.model_copy(update={"details": {**handle.details, "waits": {"validate": wait.model_dump(mode="json")}}})
        store.intend(
            Resource(
                name=name, run_id="none", attempt_id="none.0", kind=KIND, state=ResourceState.CREATED,
                handle=kept.model_dump(mode="json"), settings=settings, workdir=str(place), intended_at=now,
                lease_until=now + timedelta(hours=2),
            )
        )  # fmt: skip
        waiting = Waiting(
            run_id="none", rung=0, stage=StageName.VALIDATE, number=1, kind=KIND, settings=settings, workdir=str(place),
            handle=handle, detail="", poll_seconds=0.5, deadline=wait.deadline,
        )  # fmt: skip
        made.append(waiting.model_dump(mode="json"))
    store.close()
    return made


def state_of(place: Path, name: str) -> str:
    store = Store.open(f"sqlite:///{place}/state.db")
    resource = store.resource(name)
    store.close()
    assert resource is not None
    return str(resource.handle["details"]["waits"]["validate"]["state"])


def until(condition: Callable[[], bool], airflow: Triggerers, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError((airflow.folder / "triggerer.log").read_text(errors="replace")[-4000:])
        time.sleep(0.1)


def asked(remote: Remote, name: str) -> int:
    return int(remote.log()["asked"].get(name, 0))


def test_restarts_end_nothing_and_people_do(place: Path, airflow: Triggerers, remote: Remote) -> None:
    airflow.defer(begun(place, remote, "dr-stays", "dr-failed", "dr-cleared"))
    ids = {index: f"run_id = '{RUN_ID}' AND map_index = {index}" for index in range(3)}

    # Told to end, and killed: another one takes the waits over, and the environment is told nothing.
    first = airflow.start()
    until(lambda: all(asked(remote, name) for name in ("dr-stays", "dr-failed", "dr-cleared")), airflow)
    airflow.end(first, signal.SIGTERM)
    assert remote.log()["cancelled"] == []
    second = airflow.start()
    seen = asked(remote, "dr-stays")
    until(lambda: asked(remote, "dr-stays") > seen + 1, airflow)
    airflow.end(second, signal.SIGKILL)
    airflow.sql("UPDATE job SET latest_heartbeat = latest_heartbeat - interval '1 hour' WHERE job_type = 'TriggererJob'")
    third = airflow.start()
    seen = asked(remote, "dr-stays")
    until(lambda: asked(remote, "dr-stays") > seen + 1, airflow)
    assert remote.log()["cancelled"] == []

    # Another triggerer takes a wait over from one that lives, as after a long silence: it is still wanted.
    airflow.sql("INSERT INTO job (dag_id, state, job_type, latest_heartbeat) VALUES (NULL, 'running', 'TriggererJob', now())")
    ((other,),) = airflow.sql("SELECT max(id) FROM job")
    ((trigger,),) = airflow.sql(f"SELECT trigger_id FROM task_instance WHERE {ids[0]}")
    airflow.sql(f"UPDATE trigger SET triggerer_id = {other} WHERE id = {trigger}")
    until(lambda: "the task still waits" in _logs(airflow), airflow)
    assert remote.log()["cancelled"] == []
    assert state_of(place, "dr-stays") == "begun"
    airflow.sql(f"UPDATE trigger SET triggerer_id = NULL WHERE id = {trigger}")

    # A person marks one failed and clears another.
    airflow.sql(f"UPDATE task_instance SET state = 'failed' WHERE {ids[1]}")
    until(lambda: remote.log()["cancelled"] == ["dr-failed"], airflow)
    assert state_of(place, "dr-failed") == "cancelled"
    # Airflow lets go of a cleared task's trigger when the scheduler takes the task up again.
    airflow.sql(f"UPDATE task_instance SET state = 'queued' WHERE {ids[2]}")
    until(lambda: remote.log()["cancelled"] == ["dr-failed", "dr-cleared"], airflow)
    assert state_of(place, "dr-cleared") == "cancelled"

    # And the one that stayed is woken.
    remote.ready({"dr-stays": time.time()})
    airflow.await_state("scheduled", 1)
    airflow.end(third)
    assert remote.log()["begun"] == {"dr-stays": 1, "dr-failed": 1, "dr-cleared": 1}


def _logs(airflow: Triggerers) -> str:
    """What triggerers wrote, of themselves and for tasks."""
    files = [airflow.folder / "triggerer.log", *(airflow.folder / "airflow" / "logs").rglob("*.log")]
    return "\n".join(file.read_text(errors="replace") for file in files if file.exists())
