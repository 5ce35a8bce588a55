"""Stages that may be done elsewhere: their tasks give the worker back while they wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import conf
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferralError, TaskDeferralTimeout

from airflow_dr_provider.domain.waiting import Waiting
from airflow_dr_provider.hooks.interruptible import TaskInterruptedError
from airflow_dr_provider.hooks.still_wanted import task_states
from airflow_dr_provider.operators.base import StageMixin, StageOperator
from airflow_dr_provider.triggers.sandbox import SandboxTrigger

BACKSTOP = timedelta(minutes=5)
"""By how much Airflow's own limit on a wait lies above the wait's, which the trigger keeps by itself."""
_RUNNING = "running"


def default_deferrable() -> bool:
    """What ``[operators] default_deferrable`` says."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


class WaitingMixin(StageMixin):
    """A task of a stage that may be done elsewhere. Where nothing is remote, nothing is deferred.

    :param deferrable: whether the task waits in the triggerer; as ``[operators] default_deferrable`` says when left out. When it
        does not, it waits on its worker.
    """

    deferrable: bool

    def wait(self, context: Any) -> dict[str, str]:
        """Perform the stage; defer where it has to wait.

        :raises StageFailedError: when the stage did not pass.
        """
        if not self.deferrable:
            return self.to_the_end(context)
        outcome = self.as_far_as_it_goes(context)
        if isinstance(outcome, Waiting):
            self.put_off(outcome)
        return outcome  # type: ignore[return-value]

    def to_the_end(self, context: Any) -> dict[str, str]:
        """Perform the stage, waiting here."""
        try:
            return self.hook().perform(self.run_id_in_store, self.rung, self.stage, self.run)
        except TaskInterruptedError:
            self._end_if_unwanted(context)
            raise

    def as_far_as_it_goes(self, context: Any) -> dict[str, str] | Waiting:
        """Perform the stage, up to a wait."""
        try:
            return self.hook().advance(self.run_id_in_store, self.rung, self.stage, self.run)
        except TaskInterruptedError:
            self._end_if_unwanted(context)
            raise

    def put_off(self, waiting: Waiting) -> None:
        """Leave the worker until the trigger has something to look at.

        :raises TaskDeferred: always.
        """
        self.log.info("%s: %s; waiting until %s at most", waiting.key, waiting.detail, waiting.deadline.isoformat())  # type: ignore[attr-defined]
        trigger = SandboxTrigger(waiting=waiting.model_dump(mode="json"), state_conn_id=self.state_conn_id)
        timeout = max(waiting.deadline - datetime.now(UTC), timedelta(0)) + BACKSTOP
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)  # type: ignore[attr-defined]

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> dict[str, str]:
        """Go on after a wait: the stage asks once more by itself, and waits again if it has to."""
        event = event or {}
        self.log.info("%s: %s %s", event.get("wait"), event.get("state"), event.get("detail") or "")  # type: ignore[attr-defined]
        return self.wait(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Go on after a deferral. A trigger that broke costs a worker's slot, not the drill: the wait goes on here."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]
        except (TaskDeferralError, TaskDeferralTimeout, AirflowSensorTimeout) as error:
            self.log.warning("The trigger ended by itself (%s); waiting on the worker.", error)  # type: ignore[attr-defined]
            return self.to_the_end(context)

    def _end_if_unwanted(self, context: Any) -> None:
        """End the remote step when a person marked or cleared the task; a worker that shuts down leaves it for the next try."""

        def wanted() -> bool:
            return _RUNNING in task_states(context["ti"])

        try:
            if self.hook().cancel(self.run_id_in_store, self.rung, self.stage, wanted=wanted):
                self.log.info("What the stage had begun elsewhere was ended.")  # type: ignore[attr-defined]
        except Exception as error:  # the task is on its way out; its teardown removes what is left
            self.log.warning("What the stage had begun elsewhere could not be ended: %s", error)  # type: ignore[attr-defined]


class WaitingStageOperator(WaitingMixin, StageOperator):
    """One stage of one attempt that may be done elsewhere. See :class:`WaitingMixin` and :class:`.StageOperator`.

    :param deferrable: whether the task waits in the triggerer; as ``[operators] default_deferrable`` says when left out.
    """

    def __init__(self, *, deferrable: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Any) -> dict[str, str]:
        """Perform the stage; the attempt's id and its verdict go to XCom."""
        return self.wait(context)
