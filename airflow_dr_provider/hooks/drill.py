"""The way from an Airflow task to a drill's stages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseHook

from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.domain.waiting import Waiting
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.evidence.metrics import run_metrics, stage_metrics
from airflow_dr_provider.hooks.connections import airflow_connection, database_url, masked
from airflow_dr_provider.hooks.exceptions import DrillFailedError, StageFailedError
from airflow_dr_provider.hooks.forms import behaviour, widgets
from airflow_dr_provider.hooks.narration import Narration
from airflow_dr_provider.hooks.retry_policy import heals
from airflow_dr_provider.hooks.stats import emit
from airflow_dr_provider.provider_configuration import SECTION
from airflow_dr_provider.stages.drill import Drill
from airflow_dr_provider.stages.services import Progress, Services
from airflow_dr_provider.state.database import could_be_made
from airflow_dr_provider.state.location import default_state_url
from airflow_dr_provider.state.store import Store

STATE = "AIRFLOW_DR_STATE"
WORKDIR = "AIRFLOW_DR_WORKDIR"


class DrillHook(BaseHook):
    """Opens the state store for a task and runs stages of a drill.

    The store is looked for in this order: the connection that is named here, ``AIRFLOW_DR_STATE``, the options ``state`` (a
    URL) and ``state_conn_id`` of the section ``[dr]``, the user's default file. The work folder: the argument,
    ``AIRFLOW_DR_WORKDIR``, ``[dr] workdir``, a folder of this user's under the temporary one.

    :param state_conn_id: an Airflow connection to the state database (PostgreSQL or SQLite).
    :param workdir: where local sandboxes live on the worker.
    """

    conn_name_attr = "state_conn_id"
    default_conn_name = "airflow_dr_state"
    conn_type = "airflow_dr"
    hook_name = "Disaster recovery drills: state store"

    def __init__(self, *, state_conn_id: str | None = None, workdir: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.state_conn_id = state_conn_id
        self.workdir = workdir
        self._narration = Narration(log=self.log)
        self._drill = ""

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The form's fields, for Airflow 3.1."""
        return widgets(cls.conn_type)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The form's standard fields, for Airflow 3.1."""
        return behaviour(cls.conn_type)

    def state_url(self) -> str:
        """The store's URL. It may hold a password: never log it."""
        if self.state_conn_id:
            return database_url(self.state_conn_id)
        told = os.environ.get(STATE) or conf.get(SECTION, "state", fallback=None)
        if told:
            return masked(str(told))
        named = conf.get(SECTION, "state_conn_id", fallback=None)
        return database_url(str(named)) if named else default_state_url()

    def work_folder(self) -> Path:
        """Where this worker keeps local sandboxes."""
        told = self.workdir or os.environ.get(WORKDIR) or conf.get(SECTION, "workdir", fallback=None)
        return Path(str(told)).absolute() if told else default_workdir()

    @contextmanager
    def services(self) -> Iterator[Services]:
        """The ports of a run, for the time of a block.

        :raises StateError: when the store can't be used.
        """
        store = Store.open(self.state_url())
        try:
            yield Services(store=store, workdir=self.work_folder(), connections=airflow_connection, progress=self._told)
        finally:
            self._narration.close()
            store.close()

    def get_conn(self) -> Store:
        """The state store; the caller closes it."""
        return Store.open(self.state_url())

    def test_connection(self) -> tuple[bool, str]:
        """Look at the store; nothing is made where there is none yet."""
        try:
            url = self.state_url()
            store = Store.existing(url)
            if store is None:
                return True, f"There is no state store in {could_be_made(url)} yet; the first run makes it."
            try:
                newest = store.runs(limit=1)
                last = f"the latest run is {newest[0].id}, {newest[0].outcome or 'not ended'}" if newest else "no run yet"
                return True, f"The state store {store.url_without_password} can be used; {last}."
            finally:
                store.close()
        except DrillError as error:
            return False, error.message

    @contextmanager
    def drill(self, run_id: str) -> Iterator[Drill]:
        """A run that was opened before, for the time of a block.

        :param run_id: its id in the store, as ``StartDrillOperator`` returned it.
        """
        with judged(), self.services() as services:
            drill = Drill.resume(services, run_id)
            self._drill = drill.run.drill
            yield drill

    def perform(self, run_id: str, rung: int, stage: StageName, run: Callable[[Any], StageResult]) -> dict[str, str]:
        """Perform one stage.

        :param rung: the attempt's place in the chain, from 0.
        :param run: runs the stage's coroutine to its end.
        :return: the attempt's id and the verdict: all that goes to XCom.
        :raises StageFailedError: when the stage did not pass.
        """
        with self.drill(run_id) as drill:
            return _judge(drill, rung, run(drill.perform(rung, stage)))

    def advance(
        self, run_id: str, rung: int, stage: StageName, run: Callable[[Any], StageResult | Waiting]
    ) -> dict[str, str] | Waiting:
        """Perform one stage as far as it goes without waiting for others.

        :return: what :meth:`perform` returns, or what is waited for.
        :raises StageFailedError: when the stage did not pass.
        """
        with self.drill(run_id) as drill:
            outcome = run(drill.advance(rung, stage))
            return outcome if isinstance(outcome, Waiting) else _judge(drill, rung, outcome)

    def cancel(self, run_id: str, rung: int, stage: StageName, *, wanted: Callable[[], bool]) -> bool:
        """End what a stage had begun elsewhere.

        :param wanted: whether somebody still waits for it; only asked where there is something to end.
        :return: whether it was still under way, and is ended.
        """
        with self.drill(run_id) as drill:
            return drill.open_wait(rung, stage) is not None and not wanted() and asyncio.run(drill.cancel(rung, stage))

    def close(self, drill: Drill, run: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Close a run, and tell its numbers to Airflow's statistics: once, by whoever closes it.

        :param run: runs the coroutine to its end.
        :return: the record.
        """
        kept = drill.services.store.run(drill.run.id)
        record = run(drill.close())
        if kept is None or kept.closed_at is None:
            emit(run_metrics(record))
        return record

    def _told(self, event: Progress) -> None:
        if event.result is not None and self._drill:
            emit(stage_metrics(self._drill, event.place, event.result))
        self._narration.say(event)


def _judge(drill: Drill, rung: int, result: StageResult) -> dict[str, str]:
    if result.verdict is not Verdict.PASSED:
        where, stage = drill.rungs[rung].state, result.stage.value
        raise StageFailedError(f"{where} {stage} {result.verdict.value}: {result.signature}. {result.detail}")
    return {"attempt": drill.attempt(rung).attempt.id, "verdict": result.verdict.value}


def default_workdir() -> Path:
    """Where sandboxes live when nobody says, the same place as the command line's."""
    import tempfile

    return Path(tempfile.gettempdir()) / f"airflow-dr-{os.geteuid()}"


@contextmanager
def judged() -> Iterator[None]:
    """Turn what the drill foresaw into Airflow's terms.

    What another try can't help fails the task at once; the rest passes through, so that Airflow's ``retries`` apply.
    """
    try:
        yield
    except DrillError as error:
        if heals(error.code):
            raise
        raise DrillFailedError(f"{error.code}: {error.message}") from error
