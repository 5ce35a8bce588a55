"""Drills on a real Airflow, triggered over its API."""

from __future__ import annotations

import pytest

from tests.system.conftest import Scene

pytestmark = [pytest.mark.postgres, pytest.mark.airflow, pytest.mark.xdist_group("cluster")]


def test_a_drill_recovers(scene: Scene) -> None:
    dag_run = scene.trigger("solo", reason="to see it")
    assert scene.cluster.await_end("solo", dag_run) == "success"
    run = scene.run("solo", dag_run)
    assert run is not None
    assert (run.outcome, run.exit_code, scene.proved("solo", dag_run)) == ("RECOVERED", 0, ["primary"])
