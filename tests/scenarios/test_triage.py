"""When no tier recovered: what each answer does, and what it never does."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest

from airflow_dr_provider.domain.verdicts import StageName
from tests.scenarios.conftest import Stage
from tests.scenarios.faulty import Fault, faults
from tests.scenarios.test_people_and_accidents import answer

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]

ALL = tuple(Fault(rung, StageName.PROVISION) for rung in range(3))


@pytest.fixture
def asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The operator writes the answer into its own params, which here, in one process, the next run would begin with."""
    triage = stage.dag.task_dict["triage"]
    monkeypatch.setattr(triage, "params", deepcopy(triage.params))
    return stage


def test_a_tier_is_tried_again_with_another_backup(asked: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = partial(answer, "Try a tier again", "the disk was cleared", "secondary")
    with faults(*ALL):
        ended = asked.by_airflow(place, monkeypatch, marked="nothing", meanwhile=again)
    assert (ended.record["outcome"], ended.record["tier"], ended.state) == ("RECOVERED_DEGRADED", "secondary", "success")
    assert [row[:3] for row in ended.log if row[0] == "manual_triage"] == [("manual_triage", "secondary#2", "asked")]
    assert ended.moves[-1] == ("secondary#2", "recovered", "passed")
    first, *_, last = ended.record["attempts"]
    assert last["candidate"] != first["candidate"], "another backup, for there is one"
    assert "secondary#2 carried it, asked for in triage" in ended.record["reasons"][0]
    kept = ended.record["triage"]
    assert (kept["answer"], kept["by"], kept["reason"]) == ("Try a tier again", "Jo", "the disk was cleared")
    assert (ended.tasks["retry.gate"], ended.tasks["route_retry"], ended.tasks["proved"]) == ("success", "success", "success")
    assert ended.left == []


def test_another_attempt_that_fails_leaves_the_run_where_it_was(
    asked: Stage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faults(*ALL, Fault(4, StageName.PROVISION)):
        ended = asked.by_airflow(
            place, monkeypatch, marked="nothing", meanwhile=partial(answer, "Try a tier again", None, "primary")
        )
    assert (ended.record["outcome"], ended.state) == ("MANUAL_TRIAGE", "failed")
    assert ended.moves[-1][:2] == ("primary#2", "manual_triage")
    assert (ended.tasks["triage"], ended.tasks["report"], ended.tasks["proved"]) == ("success", "success", "skipped")
    assert ended.left == []


@pytest.mark.parametrize(
    ("comment", "kept", "note"),
    [("tape restore tomorrow", "Accept the risk", "outcome stays"), ("  ", "No answer", "none was given")],
    ids=["with a reason", "without"],
)
def test_an_accepted_risk_is_recorded_and_proves_nothing(
    asked: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, comment: str, kept: str, note: str
) -> None:
    with faults(*ALL):
        ended = asked.by_airflow(
            place, monkeypatch, marked="nothing", meanwhile=partial(answer, "Accept the risk", comment, "primary")
        )
    assert (ended.record["outcome"], ended.record["exit_code"], ended.state) == ("MANUAL_TRIAGE", 1, "failed")
    assert (ended.record["triage"]["answer"], ended.record["triage"]["by"]) == (kept, "Jo")
    assert note in ended.record["triage"]["note"]
    assert (ended.tasks["retry.enter"], ended.tasks["proved"]) == ("skipped", "skipped")
