"""What the operators of a drill share: which run they belong to, and how they run a coroutine."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from airflow.sdk import BaseOperator

from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.hooks import retry_policy
from airflow_dr_provider.hooks.drill import DrillHook
from airflow_dr_provider.hooks.interruptible import Interruptible

Result = TypeVar("Result")

DRILL_RUN_ID = "{{ dag.dag_id }}:{{ run_id }}"
"""The id of a DAG run's drill in the state store."""


class DrillMixin:
    """A task of a drill.

    :param drill_run_id: the run's id in the state store; that of the DAG run when left out. (templated)
    :param state_conn_id: an Airflow connection to the state database, when ``AIRFLOW_DR_STATE`` or ``[dr]`` don't name it.
    :param workdir: where local sandboxes live on the worker, when ``AIRFLOW_DR_WORKDIR`` or ``[dr]`` don't say it.
    """

    drill_run_id: str
    state_conn_id: str | None
    workdir: str | None

    def hook(self) -> DrillHook:
        """The way to the state store."""
        return DrillHook(state_conn_id=self.state_conn_id, workdir=self.workdir)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end, or until the task is told to end."""
        self._running = Interruptible()
        return self._running.run(coroutine)

    def on_kill(self) -> None:
        """End what runs in order; the sandbox is its teardown's and the reaper's."""
        running: Interruptible | None = getattr(self, "_running", None)
        if running is not None:
            running.interrupt()


class DrillOperator(DrillMixin, BaseOperator):
    """Base of the operators of a drill. See :class:`DrillMixin` for the parameters."""

    template_fields: Sequence[str] = ("drill_run_id",)

    def __init__(
        self,
        *,
        drill_run_id: str = DRILL_RUN_ID,
        state_conn_id: str | None = None,
        workdir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if retry_policy.AVAILABLE and self.retry_policy is None:
            self.retry_policy = retry_policy.SignatureRetryPolicy()
        self.drill_run_id = drill_run_id
        self.state_conn_id = state_conn_id
        self.workdir = workdir


class StageOperator(DrillOperator):
    """One stage of one attempt.

    Idempotent: a stage that was finished before returns what it returned, whichever worker it ran on. A stage that doesn't
    pass fails the task, without a retry by Airflow; what may heal by itself was tried again inside the stage.

    :param rung: the attempt's place in the chain, from 0.
    """

    stage: StageName

    def __init__(self, *, rung: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rung = rung

    def execute(self, context: Any) -> dict[str, str]:
        """Perform the stage; the attempt's id and its verdict go to XCom."""
        return self.hook().perform(self.drill_run_id, self.rung, self.stage, self.run)
