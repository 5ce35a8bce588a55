"""What Airflow is told about a failed task: again, later, or never."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import DAG, RetryAction
from airflow.serialization.serialized_objects import DagSerialization

from airflow_dr_provider.domain.signatures import SIGNATURES, Domain
from airflow_dr_provider.errors import BackupError, DrillError, SandboxError, StateError
from airflow_dr_provider.hooks.interruptible import TaskInterruptedError
from airflow_dr_provider.hooks.retry_policy import CAP_SECONDS, SignatureRetryPolicy

pytestmark = pytest.mark.airflow
POLICY = SignatureRetryPolicy()


def caused(error: DrillError) -> Exception:
    """A task's own error with a drill's behind it."""
    outer = RuntimeError("the task failed")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize("code", [code for code, known in SIGNATURES.items() if known.domain in (Domain.BACKUP, Domain.DATA)])
def test_a_bad_backup_is_never_tried_again(code: str) -> None:
    decision = POLICY.evaluate(BackupError("x", code=code), 1, 3)
    assert (decision.action, decision.reason) == (RetryAction.FAIL, code)


@pytest.mark.parametrize(
    "error", [SandboxError("x", code="REMOTE_THROTTLED"), StateError("x"), StateError("x", code="STATE_INTERRUPTED")]
)
def test_what_may_heal_is_tried_again_later_each_time(error: DrillError) -> None:
    for given in (error, caused(error)):
        first, third = (POLICY.evaluate(given, number, 3) for number in (1, 3))
        assert first.action is third.action is RetryAction.RETRY
        assert first.reason == error.code
        assert timedelta(seconds=5) <= first.retry_delay <= timedelta(seconds=10)
        assert timedelta(seconds=20) <= third.retry_delay <= timedelta(seconds=40)
    assert POLICY.evaluate(error, 30, 30).retry_delay <= timedelta(seconds=CAP_SECONDS)


def test_an_environment_that_names_its_time_gets_it() -> None:
    error = SandboxError("x", code="REMOTE_THROTTLED", facts={"retry_after": 77.0})
    assert POLICY.evaluate(error, 1, 3).retry_delay == timedelta(seconds=77)


def test_a_lost_worker_is_followed_at_once() -> None:
    decision = POLICY.evaluate(TaskInterruptedError("x"), 1, 3)
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(0))


def test_what_is_no_drills_is_airflows_to_decide() -> None:
    assert POLICY.evaluate(ValueError("x"), 1, 3).action is RetryAction.DEFAULT


def test_every_task_of_a_drill_has_it(dag: DAG) -> None:
    ours = [task for task in dag.tasks if type(task).__module__.startswith("airflow_dr_provider.operators")]
    assert ours
    assert all(isinstance(task.retry_policy, SignatureRetryPolicy) for task in ours)
    DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
