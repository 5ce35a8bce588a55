"""A fault that was asked for in the trigger form: both faces make the same of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_dr_provider.runner import run_drill
from airflow_dr_provider.spec.loader import load_spec
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.store import Store
from tests.scenarios.conftest import Stage

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]


@pytest.mark.parametrize(("fault", "tier", "code"), [("wal_damaged", "primary", "RECOVERY_ENDED_EARLY"),
                                                     ("server_killed", "primary", "SERVER_DIED")])  # fmt: skip
def test_the_form_injects_what_the_command_line_does(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch, fault: str, tier: str, code: str
) -> None:
    (place / "airflow").mkdir()
    conf = {"as_of": stage.disaster.isoformat(), "inject": fault, "inject_tier": tier}
    ended = stage.by_airflow(place / "airflow", monkeypatch, conf=conf)
    (place / "runner").mkdir()
    store = Store.open(f"sqlite:///{place}/runner/state.db")
    services = Services(store=store, workdir=place / "runner" / "work")
    record = asyncio.run(run_drill(services, load_spec(stage.spec), as_of=stage.disaster, inject=[f"{fault}@{tier}"]))
    store.close()
    assert ended.record["injected"] == record["injected"]
    assert (record["injected"][0]["signature"], record["injected"][0]["as_expected"]) == (code, True)
    assert (ended.record["tier"], ended.state, ended.left) == ("secondary", "success", [])
