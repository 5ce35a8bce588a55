"""What a task's log and Airflow's statistics are told."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.verdicts import CheckResult, StageName, StageResult, Verdict
from airflow_dr_provider.evidence.metrics import Metric, MetricKind
from airflow_dr_provider.hooks import stats
from airflow_dr_provider.hooks.connections import masked
from airflow_dr_provider.hooks.drill import DrillHook
from airflow_dr_provider.hooks.narration import Narration
from airflow_dr_provider.stages.services import Progress

pytestmark = pytest.mark.airflow


class Lines:
    """A logger that keeps what it was given."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def _keep(self, text: str, *arguments: Any) -> None:
        self.kept.append(text % arguments)

    info = warning = error = _keep


def event(**fields: Any) -> Progress:
    return Progress(run_id="r", place="cold#2", **fields)


def test_a_stage_is_a_fold_with_its_end_below() -> None:
    lines = Lines()
    narration = Narration(log=lines)
    narration.say(event(stage=StageName.VALIDATE, started=True))
    narration.say(event(message="half-way"))
    checks = (CheckResult(name="amcheck", verdict=Verdict.FAILED, detail="index broken"),)
    result = StageResult(
        stage=StageName.VALIDATE,
        verdict=Verdict.FAILED,
        signature="INDEX_DAMAGED",
        detail="1 of 1",
        elapsed_seconds=2,
        checks=checks,
    )
    narration.say(event(stage=StageName.VALIDATE, result=result))
    narration.close()
    assert lines.kept == [
        "::group::cold#2 validate",
        "half-way",
        "  amcheck: FAILED: index broken",
        "::endgroup::",
        "cold#2 validate: FAILED INDEX_DAMAGED in 2.0 s, 1 checks: 1 of 1",
    ]


def interrupted(hook: DrillHook) -> None:
    with hook.services() as services:
        services.progress(event(stage=StageName.RESTORE, started=True))
        raise KeyboardInterrupt


def test_a_fold_that_was_interrupted_is_closed(tmp_path: Path) -> None:
    lines = Lines()
    hook = DrillHook(workdir=str(tmp_path))
    hook._narration = Narration(log=lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_DR_STATE", f"sqlite:///{tmp_path}/state.db")
        with pytest.raises(KeyboardInterrupt):
            interrupted(hook)
    assert lines.kept == ["::group::cold#2 restore", "::endgroup::"]


METRIC = Metric(
    drill="orders", group="check", leaf="count", kind=MetricKind.COUNTER, value=1, tags={"tier": "cold", "check": "smoke:a.b"}
)


def test_names_with_and_without_tags() -> None:
    assert stats.name_of(METRIC, tagged=True) == "dr.check.count"
    assert stats.name_of(METRIC, tagged=False) == "dr.orders.check.cold.smoke_a_b.count"


def test_statistics_that_fail_fail_no_task(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(stats.Stats, "incr", staticmethod(broken))
    with caplog.at_level(logging.WARNING):
        stats.emit([METRIC])
    assert "no metrics were sent: OSError: no route" in caplog.text


def test_passwords_are_masked_in_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.log import redact

    monkeypatch.setenv("AIRFLOW_CONN_STORE", "postgresql://dr:first%2Fword@h/d")
    DrillHook(state_conn_id="store").state_url()
    masked("postgresql://dr:second%2Fword@h/d")
    told = str(redact("it said first/word first%2Fword second/word second%2Fword"))
    assert "word" not in told
    assert masked("no url") == "no url"
    assert masked("postgresql://[broken") == "postgresql://[broken"
