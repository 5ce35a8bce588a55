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
"""The same as :func:`drill_run_of`, as a template."""


def drill_run_of(context: Any) -> str:
    """The id of a DAG run's drill in the state store."""
    return f"{context['dag'].dag_id}:{context['run_id']}"


def keep_to_the_signature(task: Any) -> None:
    """Let the failure's signature decide about another try, where Airflow can be told (3.3 and newer) and nobody said otherwise."""
    if retry_policy.AVAILABLE and task.retry_policy is None:
        task.retry_policy = retry_policy.SignatureRetryPolicy()


class DrillMixin:
    """A task of a drill.

    :param drill_run_id: the run's id in the state store; that of the DAG run when left out. (templated)
    :param state_conn_id: an Airflow connection to the state database, when ``AIRFLOW_DR_STATE`` or ``[dr]`` don't name it.
    :param workdir: where local sandboxes live on the worker, when ``AIRFLOW_DR_WORKDIR`` or ``[dr]`` don't say it.
    """

    drill_run_id: str | None
    state_conn_id: str | None
    workdir: str | None

    _context_run_id: str = ""

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Airflow's, and note which DAG run this is: without a template, which each version of each DAG would hold forty times."""
        super().render_template_fields(context, jinja_env)  # type: ignore[misc]
        self._context_run_id = drill_run_of(context)

    @property
    def run_id_in_store(self) -> str:
        """The id of the task's drill in the state store."""
        return self.drill_run_id or self._context_run_id

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


class StageMixin(DrillMixin):
    """A task that performs one stage of one attempt.

    :param rung: the attempt's place in the chain, from 0.
    """

    stage: StageName
    rung: int

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What the stage read and made, for the OpenLineage provider; the same when it failed."""
        from airflow_dr_provider.hooks._openlineage import stage_lineage

        with self.hook().drill(self.run_id_in_store) as drill:
            return stage_lineage(drill, self.rung, self.stage)


class DrillOperator(DrillMixin, BaseOperator):
    """Base of the operators of a drill. See :class:`DrillMixin` for the parameters."""

    template_fields: Sequence[str] = ("drill_run_id",)

    def __init__(
        self,
        *,
        drill_run_id: str | None = None,
        state_conn_id: str | None = None,
        workdir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        keep_to_the_signature(self)
        self.drill_run_id = drill_run_id
        self.state_conn_id = state_conn_id
        self.workdir = workdir


class StageOperator(StageMixin, DrillOperator):
    """One stage of one attempt.

    Idempotent: a stage that was finished before returns what it returned, whichever worker it ran on. A stage that doesn't
    pass fails the task, without a retry by Airflow; what may heal by itself was tried again inside the stage.

    :param rung: the attempt's place in the chain, from 0.
    """

    def __init__(self, *, rung: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rung = rung

    def execute(self, context: Any) -> dict[str, str]:
        """Perform the stage; the attempt's id and its verdict go to XCom."""
        return self.hook().perform(self.run_id_in_store, self.rung, self.stage, self.run)
