"""The gate of an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import Waiting
from airflow_dr_provider.operators.base import keep_to_the_signature
from airflow_dr_provider.operators.waiting import WaitingMixin, default_deferrable


class ValidationGateSensor(WaitingMixin, BaseSensorOperator):
    """Waits for the verdict on a restored server: every check of the tier's profile, side by side.

    Succeeds when the gate passed, fails when it did not or could not be judged; it is never skipped. The verdict is a
    checkpoint: asked again, or on another worker, it is the same. Where the environment has something of its own to do before the
    gate, the sensor waits for it: deferred, or by ``mode`` and ``poke_interval`` as any sensor does.

    :param rung: the attempt's place in the chain, from 0.
    :param deferrable: whether such a wait is the triggerer's; as ``[operators] default_deferrable`` says when left out.
    :param drill_run_id: the run's id in the state store; that of the DAG run when left out. (templated)
    :param state_conn_id: an Airflow connection to the state database, when ``AIRFLOW_DR_STATE`` or ``[dr]`` don't name it.
    :param workdir: where local sandboxes live on the worker, when ``AIRFLOW_DR_WORKDIR`` or ``[dr]`` don't say it.
    """

    stage = StageName.VALIDATE
    template_fields: Sequence[str] = ("drill_run_id",)

    def __init__(
        self,
        *,
        rung: int,
        drill_run_id: str | None = None,
        state_conn_id: str | None = None,
        workdir: str | None = None,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        keep_to_the_signature(self)
        if self.soft_fail or self.never_fail:
            raise ValueError("A gate that did not pass has failed; soft_fail and never_fail would show it as skipped.")
        self.rung = rung
        self.drill_run_id = drill_run_id
        self.state_conn_id = state_conn_id
        self.workdir = workdir
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Any) -> Any:
        """Put the server through its gate, waiting in the triggerer or as the sensor's mode says."""
        return self.wait(context) if self.deferrable else super().execute(context)

    def poke(self, context: Any) -> PokeReturnValue:
        """Put the server through its gate; done when a verdict is there.

        :raises StageFailedError: when the gate did not pass.
        """
        outcome = self.as_far_as_it_goes(context)
        waits = isinstance(outcome, Waiting)
        return PokeReturnValue(is_done=not waits, xcom_value=None if waits else outcome)
