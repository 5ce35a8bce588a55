"""The test session's own safety nets, each seen to catch what it is there for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
CONFIGURATION = "[pytest]\nmarkers =\n  postgres: x\n  airflow: x\n"


def run(tmp_path: Path, test: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "pytest.ini").write_text(CONFIGURATION)
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(test)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "AIRFLOW", "DRILL", "TMPDIR"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *environment.pop("options", "").split()],
        cwd=tmp_path,
        env={**clean, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


SKIPS = "import pytest\n@pytest.mark.postgres\ndef test_one():\n    pytest.skip('no PostgreSQL here')\ndef test_two(): pass\n"


def test_a_skip_passes_where_postgresql_is_not_required(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPS)
    assert (done.returncode, "1 passed, 1 skipped" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("options", ["", "-p xdist -n 2"])
def test_a_skip_fails_where_postgresql_is_required(tmp_path: Path, options: str) -> None:
    done = run(tmp_path, SKIPS, AIRFLOW_DR_REQUIRE_POSTGRES="1", options=options)
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "needs PostgreSQL and was skipped: Skipped: no PostgreSQL here" in done.stdout


def test_a_module_that_skips_itself_fails_too(tmp_path: Path) -> None:
    test = "import pytest\npytestmark = pytest.mark.postgres\npytest.skip('none', allow_module_level=True)\n"
    assert run(tmp_path, test).returncode == 5
    done = run(tmp_path, test, AIRFLOW_DR_REQUIRE_POSTGRES="1")
    assert done.returncode == 2, done.stdout
    assert "has tests that need PostgreSQL and was skipped: Skipped: none" in done.stdout


def test_a_skip_that_is_not_about_postgresql_stays_one(tmp_path: Path) -> None:
    done = run(
        tmp_path, "import pytest\ndef test_one(): pytest.skip('x')\ndef test_two(): pass\n", AIRFLOW_DR_REQUIRE_POSTGRES="1"
    )
    assert (done.returncode, "1 passed, 1 skipped" in done.stdout) == (0, True), done.stdout


LEAVES = (
    "import subprocess, sys, tempfile\n"
    "def test_one():\n"
    "    command = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
    "    subprocess.Popen(command, cwd=tempfile.mkdtemp(), start_new_session=True)\n"
)


def test_a_process_that_was_left_fails_the_session_and_is_ended(tmp_path: Path) -> None:
    done = run(tmp_path, LEAVES)
    assert done.returncode == 1, done.stdout
    assert "left behind by the tests" in done.stdout
    number = next(line for line in done.stdout.splitlines() if line.startswith("process ")).split()[1].rstrip(":")
    state = Path(f"/proc/{number}/stat")
    assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] in {"Z", "X"}


def test_nothing_stays_in_the_temporary_folder(tmp_path: Path) -> None:
    test = "def test_one(place, tmp_path):\n    (place / 'a').touch()\n    (tmp_path / 'b').touch()\n"
    done = run(tmp_path, test, options="-p xdist -n 1")
    assert done.returncode == 0, done.stdout
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir() and entry.name != "__pycache__"] == []


def test_the_environment_is_nobodys(tmp_path: Path) -> None:
    test = (
        "import os\n"
        "def test_one():\n"
        "    assert not {'PGHOST', 'AIRFLOW_DR_STATE', 'AIRFLOW_CONN_X', 'AIRFLOW__CORE__EXECUTOR'} & set(os.environ)\n"
        "    assert os.environ['AIRFLOW_HOME'].startswith(os.environ['TMPDIR'])\n"
    )
    told = {"PGHOST": "a", "AIRFLOW_DR_STATE": "b", "AIRFLOW_CONN_X": "c", "AIRFLOW__CORE__EXECUTOR": "d", "AIRFLOW_HOME": "/e"}
    done = run(tmp_path, test, **told)
    assert done.returncode == 0, done.stdout


def test_the_place_can_be_entered_by_another_account(place: Path) -> None:
    for folder in (place, *place.parents):
        assert folder.stat().st_mode & 0o001, folder
    assert place.is_relative_to(tempfile.gettempdir())
