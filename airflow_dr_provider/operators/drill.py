"""Open and close a drill run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_dr_provider.domain.cadence import SKIPPED
from airflow_dr_provider.domain.chain import Outcome
from airflow_dr_provider.domain.injection import NONE
from airflow_dr_provider.domain.request import RunRequest
from airflow_dr_provider.domain.triage import Answer
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.hooks.drill import judged
from airflow_dr_provider.hooks.exceptions import DrillFailedError
from airflow_dr_provider.links.drill import DrillRecordLink, record_url
from airflow_dr_provider.notifications.announce import announce
from airflow_dr_provider.operators.base import DrillOperator
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.request import run_request
from airflow_dr_provider.stages.drill import Drill
from airflow_dr_provider.stages.hold_back import hold_back
from airflow_dr_provider.stages.ownership import airflow_run
from airflow_dr_provider.stages.takeover import close_abandoned

RECOVERED = (Outcome.RECOVERED.value, Outcome.RECOVERED_DEGRADED.value)

BY_ITSELF = ("scheduled", "asset_triggered")
"""The types of runs that nobody asked for just now: a blackout holds them back."""


class StartDrillOperator(DrillOperator):
    """Open the run: read the catalog, resolve the recovery target to one LSN, capture the reference.

    What whoever triggered the DAG run asks for is read from its form (:mod:`airflow_dr_provider.factory.form`): another
    target, the tier to begin with, how long to keep the server, and why.

    :param spec: the drill.
    :param as_of: the moment of the disaster, ISO 8601 with an offset; now when empty. (templated)
    :param inject: a fault to inject into the run's own copy, ``FAULT@TIER``; ``none`` or empty for none. (templated)
    :param form: whether the DAG's parameters are the drill's form.
    :param alone: whether no other run of this DAG is under way, so that an unfinished run of it has ended without being closed.
    """

    template_fields: Sequence[str] = ("drill_run_id", "as_of", "inject")

    def __init__(
        self,
        *,
        spec: DrillSpec,
        as_of: str = "{{ params.as_of or '' }}",
        inject: str = "{{ params.inject or '' }}@{{ params.inject_tier or '' }}",
        form: bool = True,
        alone: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.form = form
        self.alone = alone
        self.as_of = as_of
        self.inject = inject

    def execute(self, context: Any) -> str:
        """Open, or find open; the run's id in the state store goes to XCom.

        :raises AirflowSkipException: when a run that nobody asked for would begin within a blackout; the store records it.
        """
        run = context["dag_run"]
        dag_id = context["dag"].dag_id
        owner, kind = airflow_run(dag_id, run.run_id), str(getattr(run.run_type, "value", run.run_type))
        with judged(), self.hook().services() as services:
            if kind in BY_ITSELF:
                why = hold_back(services, self.spec, run_id=self.run_id_in_store, owner=owner, trigger=f"airflow:{kind}")
                if why is not None:
                    raise AirflowSkipException(f"{self.spec.drill} doesn't begin: {why}. Trigger it by hand to run it now.")
            request = _request(self.spec, context["params"]) if self.form else RunRequest()
            self.run(close_abandoned(services, self.spec, keep=self.run_id_in_store, dag_id=dag_id if self.alone else ""))
            drill = self.run(
                Drill.begin(
                    services,
                    self.spec,
                    run_id=self.run_id_in_store,
                    owner=owner,
                    trigger=f"airflow:{kind}",
                    as_of=_moment(self.as_of),
                    inject=_faults(self.inject),
                    request=request,
                )
            )
            self.log.info("run %s: %s", drill.run.id, drill.inputs.target or drill.inputs.stop)
        return self.run_id_in_store


def _request(spec: DrillSpec, params: Mapping[str, Any]) -> RunRequest:
    """What the form says. Its values are data: read as they are, never rendered."""
    minutes = params.get("keep_minutes") or 0
    return run_request(
        spec,
        recover_to=params.get("recover_to"),
        value=params.get("target_value"),
        first_tier=params.get("first_tier"),
        keep_for=f"{minutes}m" if minutes else None,
        reason=params.get("reason"),
    )


def _faults(text: Any) -> tuple[str, ...]:
    fault, _, tier = str(text).strip().partition("@")
    return () if fault in ("", NONE) else (f"{fault}@{tier}" if tier not in ("", "None") else fault,)


def _moment(value: Any) -> datetime | None:
    # A DAG that renders templates as Python's own values makes a number of what looks like one.
    text = str(value or "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SpecError(f"as_of: {text!r} is no time. Write it like 2026-03-01T04:00:00+00:00.") from None
    if moment.tzinfo is None:
        raise SpecError(f"as_of: {text!r} has no offset from UTC. Write it like {text}+00:00.")
    return moment.astimezone(UTC)


def _skip_when_not_begun(task: DrillOperator, context: Any) -> None:
    """Skip what ends a run that a blackout held back, or that somebody's DAG went past.

    :raises AirflowSkipException: then.
    """
    with judged(), task.hook().services() as services:
        run = services.store.run(task.run_id_in_store)
    if run is not None and run.outcome == SKIPPED:
        raise AirflowSkipException("The run was held back by a blackout.")
    if run is None:
        group = task.task_id.rpartition(".")[0]
        start, run_id = f"{group}.start" if group else "start", context["run_id"]
        states = context["ti"].get_task_states(dag_id=context["dag"].dag_id, task_ids=[start], run_ids=[run_id])
        if states.get(run_id, {}).get(start) == "skipped":
            raise AirflowSkipException("The drill was not begun.")


def _closed(task: DrillOperator, context: Any) -> dict[str, Any]:
    """The record of the run, which is closed, and told of, unless it was: by the report, or, when a person marked the run failed
    before that or somebody could not be told then, by the verdict.

    :raises AirflowSkipException: when the run was not begun.
    """
    _skip_when_not_begun(task, context)
    hook = task.hook()
    with hook.drill(task.run_id_in_store) as drill:
        record = hook.close(drill, task.run)
        announce(drill, record, record_url(context["dag"].dag_id, context["run_id"]))
    return record


class DrillAnswerOperator(DrillOperator):
    """Keep what a person answered to the triage question.

    :param question: the task that asked.
    """

    def __init__(self, *, question: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.question = question

    def execute(self, context: Any) -> None:
        """Write the answer to the run's log."""
        given = context["ti"].xcom_pull(task_ids=self.question) or {}
        person, form = given.get("responded_by_user") or {}, given.get("params_input") or {}
        with self.hook().drill(self.run_id_in_store) as drill:
            answer = drill.answer_triage(
                next(iter(given.get("chosen_options") or ()), Answer.NONE.value),
                tier=form.get("tier"),
                reason=str(form.get("comment") or ""),
                by=str(person.get("name") or person.get("id") or ""),
            )
        self.log.info("%s %s%s", answer.chosen, answer.said, f". {answer.note}" if answer.note else "")


class DrillReportOperator(DrillOperator):
    """Close the run: release what is left, decide the outcome, write the record."""

    operator_extra_links = (DrillRecordLink(),)

    def execute(self, context: Any) -> dict[str, Any]:
        """Close; outcome and exit code go to XCom.

        :raises AirflowSkipException: when the run was not begun.
        """
        record = _closed(self, context)
        self.log.info("%s, exit code %s: %s", record["outcome"], record["exit_code"], "; ".join(record.get("reasons", ())))
        return {"outcome": record["outcome"], "exit_code": record["exit_code"]}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What the run proved, for the OpenLineage provider."""
        from airflow_dr_provider.hooks._openlineage import run_lineage

        with self.hook().drill(self.run_id_in_store) as drill:
            return run_lineage(drill, drill.run.record) if drill.run.record else None


class DrillVerdictOperator(DrillOperator):
    """Decide the DAG run's state: it succeeds when a recovery was proved and nothing is left.

    A teardown below everything, so that it also runs when a person marked the run failed; it then closes the run itself.
    """

    def execute(self, context: Any) -> str:
        """Fail unless the drill recovered.

        :raises AirflowSkipException: when the run was not begun.
        :raises DrillFailedError: with the outcome.
        """
        record = _closed(self, context)
        for kept in record.get("kept", ()):
            self.log.info("kept by request until %s: %s", kept["until"], kept["name"])
        why = failure_of(record)
        if why:
            raise DrillFailedError(f"{record['outcome']} (exit code {record['exit_code']}): {why}")
        return str(record["outcome"])


def failure_of(record: Mapping[str, Any]) -> str:
    """Why a run is no success; empty for one that is. A server that is kept by request is no leftover."""
    injected = [f"{entry['fault']}: {entry['detail']}" for entry in record["injected"] if not entry.get("as_expected")]
    if record["outcome"] in RECOVERED and not record["leftovers"] and not injected:
        return ""
    said: str = record.get("error", {}).get("message") or "; ".join(
        (*record.get("reasons", ()), *record["leftovers"], *injected)
    )
    return said or str(record["outcome"])
