"""What a person asks of one run by the form: another target, a later tier, a server that stays; and what is no request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_dr_provider.factory import build_reaper_dag
from airflow_dr_provider.state.store import Store
from tests.scenarios.conftest import Stage

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]


def asked(stage: Stage, **form: Any) -> dict[str, Any]:
    return {"as_of": stage.disaster.isoformat(), **form}


@pytest.mark.parametrize("tier", ["secondary", "cold"])
def test_a_run_that_begins_at_a_later_tier_is_degraded_at_best(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    ended = stage.by_airflow(place, monkeypatch, conf=asked(stage, first_tier=tier, reason="cold storage audit"))
    assert (ended.record["outcome"], ended.record["tier"], ended.state) == ("RECOVERED_DEGRADED", tier, "success")
    assert ended.moves == [("start", tier, "opened"), (tier, "recovered", "passed")]
    left_out = ["primary", "secondary"][: ["primary", "secondary", "cold"].index(tier)]
    assert ended.record["not_tried"] == left_out
    assert [attempt["tier"] for attempt in ended.record["attempts"]] == [tier]
    assert f"The run began at {tier}, by request: {', '.join(left_out)} not tried." in ended.record["reasons"]
    assert ended.record["request"]["reason"] == "cold storage audit"
    assert all(ended.tasks[f"{name}.enter"] == "skipped" for name in left_out)
    assert (ended.tasks["triage"], ended.tasks["retry.enter"], ended.tasks[f"{tier}.gate"]) == ("skipped", "skipped", "success")
    assert ended.left == []


def test_another_target_than_the_specs(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = stage.by_airflow(place / "usual", monkeypatch)
    lsn = usual.record["attempts"][0]["stages"][0]["facts"]["table"]["chosen"]["target"]["lsn"]
    ended = stage.by_airflow(place / "asked", monkeypatch, conf=asked(stage, recover_to="lsn", target_value=lsn))
    assert (ended.record["outcome"], ended.state) == ("RECOVERED", "success")
    assert ended.record["target"]["requested"] == {"kind": "lsn", "value": lsn, "timeline": "latest"}
    assert usual.record["target"]["requested"]["kind"] == "latest"


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"recover_to": "time", "target_value": "2026-03-01 04:00"}, "has no offset"),
        ({"recover_to": "lsn", "target_value": "{{ 7 * 7 }}"}, "target_value"),
        ({"recover_to": "xid", "target_value": "1; DROP TABLE orders"}, "is no transaction id"),
        ({"recover_to": "time"}, "target_value: it is empty"),
        ({"target_value": "0/1"}, "has no kind"),
        ({"keep_minutes": 5}, "Give a reason"),
        ({"as_of": "{{ macros.datetime.utcnow() }}"}, "is no time"),
        ({"first_tier": "cold", "inject": "heap_bytes", "inject_tier": "primary"}, "isn't tried"),
    ],
    ids=str,
)
def test_what_makes_no_sense_ends_before_a_run_opens(
    stage: Stage,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    form: dict[str, Any],
    told: str,
) -> None:
    said: list[str] = []
    from airflow_dr_provider.operators.drill import StartDrillOperator

    execute = StartDrillOperator.execute

    def noted(self: StartDrillOperator, context: Any) -> Any:
        try:
            return execute(self, context)
        except Exception as error:
            said.append(str(error))
            raise

    monkeypatch.setattr(StartDrillOperator, "execute", noted)
    ended = stage.by_airflow(place, monkeypatch, conf={**asked(stage), **form})
    assert (ended.state, ended.tasks["start"], ended.log) == ("failed", "failed", [])
    assert told in said[0]


def test_templates_that_become_values_change_nothing(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.dag, "render_template_as_native_obj", True)
    reason = "{{ 7 * 7 }} [1, 2] __import__('os')"
    ended = stage.by_airflow(place, monkeypatch, conf=asked(stage, reason=reason, first_tier="cold"))
    assert ended.record["request"]["reason"] == reason
    assert ended.record["outcome"] == "RECOVERED_DEGRADED"


def test_a_server_that_is_kept_stays_until_its_lease_ends(stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = stage.by_airflow(place, monkeypatch, conf=asked(stage, keep_minutes=30, reason="a look at last night's rows"))
    assert (ended.record["outcome"], ended.record["exit_code"], ended.state) == ("RECOVERED", 0, "success")
    assert ended.record["leftovers"] == []
    [kept] = ended.record["kept"]
    assert datetime.now(UTC) < datetime.fromisoformat(kept["until"]) < datetime.now(UTC) + timedelta(minutes=31)
    users = {entry["role"]: entry for entry in _credentials(Path(kept["credentials"]))}
    smoke = users["smoke"]
    with psycopg.connect(
        host=kept["address"], port=kept["port"], user=smoke["user"], password=smoke["password"], dbname="postgres"
    ) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert smoke["password"] not in str(ended.record)
    stage.reap(place, monkeypatch, build_reaper_dag(), dry_run=False)
    assert Path(kept["address"]).exists(), "the reaper leaves it alone while its lease runs"
    store = Store.open(f"sqlite:///{place}/state.db")
    with store._writing() as connection:
        connection.exec_driver_sql("UPDATE dr_resources SET lease_until = '2026-01-01T00:00:00.000000+00:00'")
    store.close()
    assert stage.reap(place, monkeypatch, build_reaper_dag(), dry_run=False) == []
    assert not Path(kept["address"]).exists()


def _credentials(file: Path) -> list[dict[str, str]]:
    import json

    found = json.loads(file.read_text())
    return [{"role": role, **entry} for role, entry in found.items()]
