"""A run in numbers."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.verdicts import CheckResult, StageName, StageResult, Verdict
from airflow_dr_provider.evidence.metrics import Metric, MetricKind, run_metrics, stage_metrics, watch_metrics
from airflow_dr_provider.evidence.open_metrics import open_metrics
from airflow_dr_provider.state.records import Owner
from airflow_dr_provider.state.store import Store

RECORD: dict[str, Any] = {
    "drill": "orders",
    "outcome": "RECOVERED_DEGRADED",
    "exit_code": 3,
    "objectives": {"rto_seconds": 1800.0, "rpo_seconds": 3600.0, "mtd_seconds": 14400.0},
    "achieved": {"rto_seconds": 12.25, "rpo_seconds": None},
    "attempts": [{}, {}],
    "leftovers": [],
    "closed_at": "2026-03-01T04:00:00+00:00",
    "injected": [],
}
MOMENT = datetime(2026, 3, 1, 4, tzinfo=UTC)


def values(metrics: tuple[Metric, ...]) -> dict[str, float]:
    return {f"{metric.group}.{metric.leaf}": metric.value for metric in metrics}


def test_a_run() -> None:
    found = run_metrics(RECORD)
    assert found[0].tags == {"outcome": "RECOVERED_DEGRADED"}
    assert values(found) == {
        "run.count": 1,
        "run.rto_seconds": 12.25,
        "run.rto_objective_seconds": 1800.0,
        "run.rpo_objective_seconds": 3600.0,
        "run.attempts": 2,
        "run.leftovers": 0,
        "run.exit_code": 3,
        "run.closed_timestamp_seconds": MOMENT.timestamp(),
    }


@pytest.mark.parametrize(("expected", "noticed"), [(True, "yes"), (False, "no")])
def test_a_run_with_an_injected_fault_is_nobodys_baseline(expected: bool, noticed: str) -> None:
    (only,) = run_metrics({**RECORD, "injected": [{"as_expected": expected}]})
    assert (only.group, only.tags) == ("injection", {"noticed": noticed})


def test_a_stage() -> None:
    checks = (CheckResult(name="smoke:x", verdict=Verdict.PASSED), CheckResult(name="amcheck", verdict=Verdict.FAILED))
    result = StageResult(
        stage=StageName.VALIDATE, verdict=Verdict.FAILED, signature="INDEX_DAMAGED", elapsed_seconds=2.5, checks=checks
    )
    found = stage_metrics("orders", "cold#2", result)
    where = {"tier": "cold", "stage": "validate", "verdict": "FAILED"}
    assert [(metric.group, metric.leaf, metric.kind, metric.value, metric.tags) for metric in found] == [
        ("stage", "count", MetricKind.COUNTER, 1, where),
        ("stage", "duration", MetricKind.TIMING, 2.5, where),
        ("failure", "count", MetricKind.COUNTER, 1, {"tier": "cold", "signature": "INDEX_DAMAGED"}),
        ("check", "count", MetricKind.COUNTER, 1, {"tier": "cold", "check": "smoke:x", "verdict": "PASSED"}),
        ("check", "count", MetricKind.COUNTER, 1, {"tier": "cold", "check": "amcheck", "verdict": "FAILED"}),
    ]


def test_a_scan() -> None:
    assert values(watch_metrics("orders", findings=0, age_seconds=None)) == {"watch.findings": 0}
    assert values(watch_metrics("orders", findings=2, age_seconds=7.5)) == {
        "watch.findings": 2, "watch.restorable_age_seconds": 7.5,
    }  # fmt: skip


def test_for_prometheus() -> None:
    text = open_metrics([{**RECORD, "drill": "zoo"}, RECORD, {**RECORD, "drill": "spoilt", "injected": [{}]}])
    assert 'airflow_dr_run_rto_seconds{drill="orders"} 12.25\nairflow_dr_run_rto_seconds{drill="zoo"} 12.25\n' in text
    assert 'airflow_dr_run_outcome{drill="orders",outcome="RECOVERED_DEGRADED"} 1' in text
    assert "rpo_seconds{" not in text  # not measured is not 0
    assert "spoilt" not in text
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families)) == 8
    assert open_metrics([]) == ""


def test_the_command_takes_each_drills_latest(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    store = Store.open(url)
    for number, (outcome, injected) in enumerate([("RECOVERED", ()), ("MANUAL_TRIAGE", ()), ("RECOVERED", ("heap_bytes",))]):
        store.open_run(
            run_id=f"r{number}",
            drill="orders",
            spec_digest="d",
            spec={},
            owner=Owner(kind="runner", name="here"),
            trigger="test",
            as_of=None,
            now=MOMENT.replace(minute=number),
            overlap=False,
            injected=injected,
        )
        record = {**RECORD, "outcome": outcome, "injected": list(injected)}
        store.close_run(f"r{number}", outcome=outcome, exit_code=0, record=record, now=MOMENT)
    store.close()
    file = tmp_path / "airflow_dr.prom"
    command = [sys.executable, "-m", "airflow_dr_provider.cli.main", "metrics", "--state", url]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 'outcome="MANUAL_TRIAGE"} 1' in shown
    subprocess.run([*command, "--output", str(file)], check=True)
    assert file.read_text() == shown
    assert [entry.name for entry in tmp_path.glob(".airflow-dr-*")] == []
    done = subprocess.run([*command, "--output", "/nowhere/x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "can't be written" in done.stderr


def test_every_number_is_in_the_manual() -> None:
    page = (Path(__file__).parents[3] / "docs" / "airflow.md").read_text()
    result = StageResult(
        stage=StageName.SELECT, verdict=Verdict.FAILED, signature="X", checks=(CheckResult(name="x", verdict=Verdict.PASSED),)
    )
    achieved = {"rto_seconds": 1.0, "rpo_seconds": 1.0}
    made = (
        *run_metrics({**RECORD, "achieved": achieved}),
        *run_metrics({**RECORD, "injected": [{"as_expected": True}]}),
        *stage_metrics("orders", "cold", result),
        *watch_metrics("orders", findings=0, age_seconds=1.0),
    )
    for metric in made:
        assert f"`dr.{metric.group}.{metric.leaf}`" in page
        row = next(line for line in page.splitlines() if f"`dr.{metric.group}.{metric.leaf}`" in line)
        assert all(f"`{tag}`" in row for tag in metric.tags)
