"""The processes that tasks are forked off import what tasks need; no other process does."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.airflow

SCRIPT = """
import sys
sys.argv = ["airflow", *sys.argv[1:]]
from airflow_dr_provider.preload import LOCAL_SETTINGS
exec(compile(LOCAL_SETTINGS, "airflow_local_settings.py", "exec"))
print("LOADED", sorted(name for name in sys.modules if name in (
    "airflow_dr_provider.stages.restore", "airflow_dr_provider.repositories.basebackup", "airflow_dr_provider.sandboxes.process",
    "airflow_dr_provider.checks.amcheck", "airflow.providers.standard.operators.hitl",
)))
"""


@pytest.mark.parametrize(
    ("command", "loaded"), [("scheduler", 5), ("celery worker --queues dr-a", 5), ("api-server", 0), ("celery flower", 0)]
)
def test_only_the_parents_of_tasks(command: str, loaded: int) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *command.split()], capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("LOADED ")), None)
    assert line is not None, done.stderr[-1500:]
    assert line.count("'") // 2 == loaded, line
