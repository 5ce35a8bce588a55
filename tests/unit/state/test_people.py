"""What people asked, answered and were told: kept once, and the first answer counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_dr_provider.domain.request import PLAIN, RunRequest
from airflow_dr_provider.domain.target import RecoveryTarget, TargetKind
from airflow_dr_provider.domain.triage import Answer, TriageAnswer
from airflow_dr_provider.errors import StateError
from airflow_dr_provider.state.people import LONGEST_LOG, Notice, People
from airflow_dr_provider.state.records import ResourceState
from airflow_dr_provider.state.store import Store
from tests.unit.state.test_store import NOW, open_run, resource

REQUEST = RunRequest(
    target=RecoveryTarget(kind=TargetKind.LSN, value="0/1"), first_tier="cold", keep_seconds=60, reason="<b>ünïcode</b>"
)
ANSWER = TriageAnswer(
    answer=Answer.RETRY, chosen="Try a tier again", tier="cold", reason="r", by="Jo", at=datetime(2026, 3, 1, tzinfo=UTC)
)


def test_a_request_is_kept_with_its_run(store: Store) -> None:
    assert open_run(store, "a", request=REQUEST).request == REQUEST
    store.close_run("a", outcome="RECOVERED", exit_code=0, record={}, now=NOW)
    open_run(store, "b")
    assert [run.request for run in (store.run("a"), store.run("b")) if run is not None] == [REQUEST, PLAIN]


def test_the_first_answer_counts(store: Store) -> None:
    open_run(store)
    people = People(store)
    assert people.answer("orders-1", ANSWER) == ANSWER
    later = ANSWER.model_copy(update={"answer": Answer.INCIDENT, "tier": None})
    assert people.answer("orders-1", later) == ANSWER
    run = store.run("orders-1")
    assert run is not None
    assert run.triage == ANSWER


def test_an_answer_that_comes_too_late_or_to_nobody(store: Store) -> None:
    open_run(store)
    store.close_run("orders-1", outcome="MANUAL_TRIAGE", exit_code=1, record={}, now=NOW)
    with pytest.raises(StateError, match="too late"):
        People(store).answer("orders-1", ANSWER)
    with pytest.raises(StateError, match="knows no run"):
        People(store).answer("other", ANSWER)


def test_a_kept_sandbox_has_its_lease_and_keeps_the_first_one(store: Store) -> None:
    open_run(store)
    store.intend(resource())
    until = NOW + timedelta(minutes=5)
    kept = People(store).keep_sandbox("box", until)
    assert (kept.state, kept.lease_until) == (ResourceState.KEPT, until)
    assert People(store).keep_sandbox("box", until + timedelta(hours=9)).lease_until == until
    assert [entry.name for entry in store.unreleased()] == ["box"]
    store.released("box", now=NOW)
    with pytest.raises(StateError, match="isn't there any more"):
        People(store).keep_sandbox("box", until)


def test_a_log_is_kept_once_and_only_its_end(store: Store) -> None:
    people = People(store)
    assert people.log("orders-1.0") is None
    people.keep_log("orders-1.0", "x" * LONGEST_LOG + "end", now=NOW)
    people.keep_log("orders-1.0", "another", now=NOW)
    text = people.log("orders-1.0")
    assert text is not None
    assert (len(text), text[-4:]) == (LONGEST_LOG, "xend")


def test_a_later_try_replaces_what_was_noted(store: Store) -> None:
    people = People(store)
    first = Notice(run_id="r", event="QUESTION", channel="email", sent=False, detail="d", at=NOW)
    people.note(first)
    people.note(first.model_copy(update={"channel": "slack"}))
    people.note(first.model_copy(update={"sent": True, "detail": ""}))
    assert {(n.channel, n.sent) for n in people.notices("r")} == {("email", True), ("slack", False)}
    assert people.notices("other") == ()
