"""``airflow dr …``: the same commands, on the store that this Airflow's tasks use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_dr_provider.cli.registry import COMMANDS
from tests.dags.conftest import text
from tests.support.airflow_parts import since

pytestmark = [pytest.mark.airflow, since(3, 2)]


def airflow(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_every_command_is_there() -> None:
    said = airflow("dr", "--help").stdout
    assert all(f"\n    {name}" in said for name in COMMANDS)


def test_a_commands_own_help_is_shown() -> None:
    done = airflow("dr", "plan", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: airflow dr plan [OPTIONS] SPEC")


def test_options_and_exit_code_are_the_commands_own(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(text())
    bad.write_text(text().replace("timeout", "timeot"))
    done = airflow("dr", "lint", "--json", str(good))
    assert (done.returncode, json.loads(done.stdout)[0]["drill"]) == (0, "orders")
    done = airflow("dr", "lint", "--json", str(bad))
    assert done.returncode == 2
    assert "timeot: is no key here" in done.stdout
    assert airflow("dr", "plan", "--no-such-option").returncode == 2


def test_the_tasks_store_and_connections_are_used(tmp_path: Path) -> None:
    url, spec = f"sqlite:///{tmp_path}/configured.db", tmp_path / "orders.yaml"
    assert airflow("dr", "runs", AIRFLOW__DR__STATE=url).returncode == 0
    assert (tmp_path / "configured.db").exists()
    spec.write_text(
        text().replace("{kind: basebackup, backups: ./backups, archive: ./archive}", "{kind: connection, conn_id: site}")
    )
    extra = json.dumps({"kind": "basebackup", "backups": f"{tmp_path}/nowhere", "archive": f"{tmp_path}/wal"})
    site = json.dumps({"conn_type": "airflow_dr_repository", "extra": extra})
    done = airflow("dr", "plan", str(spec), AIRFLOW__DR__STATE=url, AIRFLOW_CONN_SITE=site)
    assert (done.returncode, f"The backup folder {tmp_path}/nowhere is not there" in done.stderr) == (2, True)
    (tmp_path / "elsewhere.db").touch()
    told = f"sqlite:///{tmp_path}/told.db"
    assert airflow("dr", "runs", AIRFLOW__DR__STATE=url, AIRFLOW_DR_STATE=told).returncode == 0
    assert (tmp_path / "told.db").exists()


def test_airflow_starts_as_fast_as_before() -> None:
    """What every ``airflow …`` imports of this package."""
    script = (
        "import sys\n"
        "import airflow.cli.cli_parser as parser\n"
        "assert 'dr' in parser.ALL_COMMANDS_DICT\n"
        "parser.get_parser()\n"
        "print('OWN', *sorted(name for name in sys.modules if name.startswith('airflow_dr_provider')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("OWN "))
    assert {name.removeprefix("airflow_dr_provider") for name in line.split()[1:]} == {
        "", ".cli", ".cli.airflow", ".cli.registry", ".get_provider_info", ".provider_configuration",
    }  # fmt: skip
