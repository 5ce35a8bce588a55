"""A notifier for the callbacks of anybody's DAG."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseNotifier
from pydantic import TypeAdapter, ValidationError

from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.evidence.message import Message, outcome_message
from airflow_dr_provider.hooks.drill import DrillHook
from airflow_dr_provider.links.drill import record_url
from airflow_dr_provider.notifications.channels import send
from airflow_dr_provider.operators.base import drill_run_of
from airflow_dr_provider.spec.notifications import Channel


class DrillOutcomeNotifier(BaseNotifier):
    """Sends a drill's outcome: ``on_failure_callback=DrillOutcomeNotifier(kind="email", to=["dr@example.org"])``.

    For DAGs that aren't made of a spec; one that is says it in its spec, under ``notifications``.

    :param kind: ``slack``, ``slack_webhook``, ``email``, ``sns`` or ``pagerduty``; the other arguments are those of that kind
        in a spec.
    :param drill_run_id: the run's id in the state store; that of the DAG run when left out.
    :raises SpecError: when they don't fit together.
    """

    def __init__(self, *, kind: str, drill_run_id: str | None = None, **channel: Any) -> None:
        super().__init__()
        self.drill_run_id = drill_run_id
        adapter: TypeAdapter[Channel] = TypeAdapter(Channel)
        try:
            self.channel = adapter.validate_python({"kind": kind, **channel})
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise SpecError(f"DrillOutcomeNotifier: {said}.") from None

    def notify(self, context: Any) -> None:
        """Send what the record says; a run without one is told of as that.

        :raises NotSentError: when it didn't go out. Airflow logs what a callback raises, and the run stays as it is.
        """
        identifier = self.drill_run_id or drill_run_of(context)
        with DrillHook().services() as services:
            run = services.store.run(identifier)
        link = record_url(context["dag"].dag_id, context["run_id"])
        if run is None or run.record is None:
            lines = (f"Run {identifier} failed before its drill was closed; its record doesn't exist yet.",)
            message = Message(f"DR drill {context['dag'].dag_id}: no record yet", lines, "error", identifier, link)
        else:
            message = outcome_message(run.record, event=str(run.outcome), link=link)
        send(self.channel, message)
