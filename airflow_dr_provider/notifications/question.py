"""Tell people that they are asked."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseNotifier

from airflow_dr_provider.evidence.message import question_message
from airflow_dr_provider.hooks.drill import DrillHook
from airflow_dr_provider.links.drill import question_url
from airflow_dr_provider.notifications.announce import tell
from airflow_dr_provider.spec.models import DrillSpec


class DrillQuestionNotifier(BaseNotifier):
    """Sends a spec's ``QUESTION`` when the triage task asks. A question that nobody could be told of is asked all the same.

    :param spec: the drill.
    """

    def __init__(self, spec: DrillSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec

    def notify(self, context: Any) -> None:
        """Send; never raises."""
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        message = question_message(self.spec.drill, f"{dag_id}:{run_id}", link=question_url(dag_id, run_id))
        try:
            with DrillHook().services() as services:
                tell(services, self.spec.notifications, f"{dag_id}:{run_id}", "QUESTION", message)
        except Exception:
            self.log.exception("nobody could be told of the question")


def question_notifiers(spec: DrillSpec) -> list[BaseNotifier]:
    """The question's notifiers; none when nobody wants to be told."""
    wanted = any("QUESTION" in channel.on for channel in spec.notifications)
    return [DrillQuestionNotifier(spec)] if wanted else []
