"""Airflow's faces by themselves: what every operator keeps to, where the store is looked for, how a task is ended."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import BaseHook, BaseOperator

from airflow_dr_provider.errors import ConfigurationError, SandboxError, SpecError, StateError
from airflow_dr_provider.get_provider_info import get_provider_info
from airflow_dr_provider.hooks.connections import airflow_connection, database_url
from airflow_dr_provider.hooks.drill import DrillHook, judged
from airflow_dr_provider.hooks.exceptions import DrillFailedError
from airflow_dr_provider.hooks.interruptible import Interruptible, TaskInterruptedError
from airflow_dr_provider.operators.sandbox import SandboxTeardownOperator

pytestmark = pytest.mark.airflow


def classes() -> Iterator[type[Any]]:
    for room in ("operators", "sensors", "hooks"):
        for entry in get_provider_info()[room]:
            for name in entry["python-modules"]:
                for _, kind in inspect.getmembers(importlib.import_module(name), inspect.isclass):
                    if kind.__module__ == name and issubclass(kind, BaseOperator | BaseHook):
                        yield kind


@pytest.mark.parametrize("kind", list(classes()), ids=lambda kind: kind.__name__)
def test_conventions(kind: type[Any]) -> None:
    assert inspect.getdoc(kind)
    parameters = [
        parameter
        for base in kind.__mro__
        if base.__module__.startswith("airflow_dr_provider") and "__init__" in vars(base)
        for parameter in list(inspect.signature(inspect.unwrap(vars(base)["__init__"])).parameters.values())[1:]
    ]
    assert all(parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD) for parameter in parameters)
    if issubclass(kind, BaseOperator):
        names = {parameter.name for parameter in parameters}
        assert set(kind.template_fields) <= names, "a template field is an argument of that name"
        documented = "".join(inspect.getdoc(base) or "" for base in kind.__mro__ if base.__module__.startswith("airflow_dr"))
        assert all(f":param {name}:" in documented for name in names - {"kwargs"})


def test_a_task_that_runs_nothing_can_be_ended() -> None:
    SandboxTeardownOperator(task_id="teardown", rung=0).on_kill()


# -- the store ---------------------------------------------------------------------------------------------------------
def test_where_the_store_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/home/state")
    assert DrillHook().state_url() == "sqlite:////home/state/airflow-dr/state.db"
    monkeypatch.setenv("AIRFLOW_CONN_DRILLS", "postgresql://dr:p%40ss@db.example:5433/drills")
    monkeypatch.setenv("AIRFLOW__DR__STATE_CONN_ID", "drills")
    assert DrillHook().state_url() == "postgresql://dr:p%40ss@db.example:5433/drills"
    monkeypatch.setenv("AIRFLOW__DR__STATE", "sqlite:////configured.db")
    assert DrillHook().state_url() == "sqlite:////configured.db"
    monkeypatch.setenv("AIRFLOW_DR_STATE", "sqlite:////told.db")
    assert DrillHook().state_url() == "sqlite:////told.db"
    assert DrillHook(state_conn_id="drills").state_url() == "postgresql://dr:p%40ss@db.example:5433/drills"


def test_where_sandboxes_live(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DrillHook().work_folder().name.startswith("airflow-dr-")
    monkeypatch.setenv("AIRFLOW__DR__WORKDIR", "/configured")
    assert DrillHook().work_folder() == Path("/configured")
    monkeypatch.setenv("AIRFLOW_DR_WORKDIR", "/told")
    assert DrillHook().work_folder() == Path("/told")
    assert DrillHook(workdir="/argument").work_folder() == Path("/argument")


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("sqlite:////var/lib/drills.db", "sqlite:////var/lib/drills.db"),
        ("sqlite:///%2Fvar%2Flib%2Fdrills.db", "sqlite:////var/lib/drills.db"),
        ("postgres://dr@/drills", "postgresql://dr@/drills"),
        ("postgres://u%3Aser:pa%2Fss@h:1/d", "postgresql://u%3Aser:pa%2Fss@h:1/d"),
    ],
)
def test_a_connection_as_a_url(monkeypatch: pytest.MonkeyPatch, uri: str, url: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_STORE", uri)
    assert database_url("store") == url


def test_a_connection_in_the_packages_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_RO", "postgresql://ro:secret@db:5433/orders?sslmode=require")
    found = airflow_connection("orders_ro")
    assert (found.host, found.port, found.login, found.password, found.database) == ("db", 5433, "ro", "secret", "orders")
    assert found.extra == {"sslmode": "require"}
    assert "secret" not in repr(found)


def test_a_connection_that_airflow_does_not_know(airflow_database: Path) -> None:
    with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_NO_SUCH") as caught:
        airflow_connection("no_such")
    assert caught.value.code == "CONNECTION_UNKNOWN"


# -- errors ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [SpecError("x"), StateError("x", code="ALREADY_RUNNING")])
def test_what_a_person_has_to_change_is_not_tried_again(error: Exception) -> None:
    with pytest.raises(DrillFailedError), judged():
        raise error


@pytest.mark.parametrize("error", [StateError("x"), SandboxError("x"), RuntimeError("x")])
def test_what_may_heal_is_airflows_to_try_again(error: Exception) -> None:
    with pytest.raises(type(error)), judged():
        raise error


# -- ending a task -----------------------------------------------------------------------------------------------------
def test_an_interrupted_coroutine_cleans_up_and_can_be_tried_again() -> None:
    running, begun, cleaned = Interruptible(), threading.Event(), []

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    def interrupt() -> None:
        assert begun.wait(10)
        running.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(TaskInterruptedError):
        running.run(work())
    thread.join()
    assert cleaned == [True]
    running.interrupt()


def test_one_that_is_not_interrupted_returns() -> None:
    async def work() -> int:
        return 7

    assert Interruptible().run(work()) == 7
