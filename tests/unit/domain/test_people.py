"""What a person asks and answers, and what the chain makes of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_dr_provider.domain.chain import (
    RECOVERED,
    START,
    TRIAGE,
    Move,
    Outcome,
    asked_rung,
    edges,
    first_rung,
    legal,
    next_step,
    not_tried,
    outcome,
    place,
    unroll,
)
from airflow_dr_provider.domain.exit_codes import ExitCode
from airflow_dr_provider.domain.selection import select
from airflow_dr_provider.domain.triage import Answer, judge_answer
from tests.unit.domain.test_chain import RUNGS, attempt
from tests.unit.domain.test_selection import OLD, TO, WAL, backup, inputs

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
ASKED = (*RUNGS, asked_rung(RUNGS, "primary"))


# -- beginning later ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("tier", "index"), [(None, 0), ("primary", 0), ("secondary", 1), ("cold", 2)])
def test_where_a_run_begins(tier: str | None, index: int) -> None:
    begin = first_rung(RUNGS, tier).index
    assert begin == index
    step = next_step(RUNGS, (), begin=begin)
    assert (step.source, step.rung, step.move) == (START, index, Move.NEXT_RUNG)
    assert legal(RUNGS, step, begin=begin)
    assert legal(RUNGS, step) is (index == 0)


def test_a_run_that_begins_later_is_degraded_at_best() -> None:
    found, code, reasons = outcome(RUNGS, (attempt(2, None),), leftovers=0, rto_met=True, short=False, begin=2)
    assert (found, code) == (Outcome.RECOVERED_DEGRADED, ExitCode.RECOVERED_DEGRADED)
    assert reasons == ("The run began at cold, by request: primary, secondary not tried.",)
    assert not_tried(RUNGS, 2) == ("primary", "secondary")
    failed, *_ = outcome(RUNGS, (attempt(2, "DISK_FULL"),), leftovers=0, rto_met=True, short=False, begin=2)
    assert failed is Outcome.MANUAL_TRIAGE


# -- one more attempt --------------------------------------------------------------------------------------------------
def test_the_attempt_that_was_asked_for_comes_after_the_chain_and_never_by_itself() -> None:
    assert [place(rung) for rung in ASKED[-2:]] == ["cold#3", "primary#2"]
    assert asked_rung(RUNGS, "cold").state == "cold#4"
    last = attempt(4, "DISK_FULL")
    assert next_step(ASKED, (last,)) == next_step(RUNGS, (last,)), "the chain ends where it ends"
    to = {(edge.source, edge.move) for edge in edges(ASKED) if edge.destination == "primary#2" and edge.source != "primary#2"}
    assert to == {(TRIAGE, Move.NEXT_RUNG)}


@pytest.mark.parametrize(
    ("code", "end", "expected"), [(None, RECOVERED, Outcome.RECOVERED_DEGRADED), ("DISK_FULL", TRIAGE, Outcome.MANUAL_TRIAGE)]
)
def test_how_it_ends(code: str | None, end: str, expected: Outcome) -> None:
    history = (attempt(0, "DISK_FULL"), attempt(len(RUNGS), code))
    step = next_step(ASKED, history)
    assert step.destination == end
    assert legal(ASKED, step)
    found, _, reasons = outcome(ASKED, history, leftovers=0, rto_met=True, short=False)
    assert found is expected
    assert ("asked for in triage" in reasons[0]) is (code is None)


def test_another_backup_is_preferred_where_there_is_one() -> None:
    best = backup("b", 10)
    assert select(inputs(WAL, OLD, best, to=TO, tried=("b",), another=True)).rows[0].backup_id == OLD.id
    assert select(inputs(WAL, OLD, best, to=TO, tried=("b",))).rows[0].backup_id == "b"
    alone = select(inputs(WAL, best, to=TO, tried=("b",), another=True))
    assert alone.chosen is not None, "the only one may serve again: nothing was wrong with it"


# -- answers -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("chosen", "given", "counts", "note"),
    [
        (Answer.ACCEPT, {"reason": "tape"}, Answer.ACCEPT, "nothing was proved"),
        (Answer.ACCEPT, {"reason": " "}, Answer.NONE, "none was given"),
        (Answer.INCIDENT, {}, Answer.INCIDENT, ""),
        (Answer.RETRY, {"tier": "cold"}, Answer.RETRY, ""),
        (Answer.RETRY, {"tier": "nowhere"}, Answer.NONE, "no tier 'nowhere'"),
        (Answer.RETRY, {"tier": None}, Answer.NONE, "no tier"),
        (Answer.RETRY, {"tier": "cold", "can_retry": False}, Answer.NONE, "ended when it opened"),
        (Answer.NONE, {}, Answer.NONE, ""),
        ("Be silent", {}, Answer.NONE, ""),
    ],
)  # fmt: skip
def test_what_an_answer_amounts_to(chosen: str, given: dict[str, object], counts: Answer, note: str) -> None:
    options = {"tier": "primary", "reason": "", "can_retry": True, **given}
    found = judge_answer(str(chosen), by="Jo", at=NOW, tiers=["primary", "cold"], **options)  # type: ignore[arg-type]
    assert found.answer is counts
    assert note in found.note
    assert (found.tier is not None) is (counts is Answer.RETRY)


def test_a_chain_of_one() -> None:
    rungs = unroll((("only", "staging", 0),), 1)
    assert asked_rung(rungs, "only").state == "only#2"
