"""The console script, as a process: exit codes, which stream says what, and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

EXAMPLE = Path(__file__).parents[1] / "spec" / "example.yaml"
START = "import sys; from airflow_dr_provider.cli import main as module; sys.argv[0] = 'airflow-dr'; {}; module.main()"


def airflow_dr(*arguments: str | Path, setup: str = "pass", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START.format(setup), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def broken(tmp_path: Path, raising: str) -> str:
    """A sub-command of its own that raises."""
    (tmp_path / "breaking.py").write_text(f"import click\n@click.command()\ndef command():\n    {raising}\n")
    return f"sys.path.insert(0, {str(tmp_path)!r}); module.COMMANDS['break'] = ('breaking:command', 'x')"


def test_lint_says_ok(tmp_path: Path) -> None:
    done = airflow_dr("lint", EXAMPLE)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ok {EXAMPLE}\n", "")


def test_lint_says_what_is_wrong(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(EXAMPLE.read_text().replace("role: staging", "role: stagging"))
    (tmp_path / "good.yaml").write_text(EXAMPLE.read_text())
    done = airflow_dr("lint", tmp_path)
    assert (done.returncode, done.stdout) == (2, f"ok {tmp_path / 'good.yaml'}\n")
    assert done.stderr.startswith(f"{bad}:13: tiers[0].role: ")
    assert "did you mean staging?" in done.stderr


def test_lint_as_json(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    done = airflow_dr("lint", "--json", tmp_path / "bad.yaml", tmp_path / "none.yaml", EXAMPLE)
    assert (done.returncode, done.stderr) == (2, "")
    bad, none, good = json.loads(done.stdout)
    assert (bad["ok"], none["ok"], good["ok"]) == (False, False, True)
    assert {problem["path"] for problem in bad["problems"]} == {"drill", "objectives", "source", "tiers"}
    assert "No such file" in none["problems"][0]["message"]


def test_lint_of_nothing_is_no_success(tmp_path: Path) -> None:
    done = airflow_dr("lint", tmp_path)
    assert done.returncode == 2
    assert "no spec" in done.stderr


def test_the_schema_is_one() -> None:
    done = airflow_dr("schema")
    assert done.returncode == 0
    Draft202012Validator.check_schema(json.loads(done.stdout))


@pytest.mark.parametrize("arguments", [[], ["lnt"], ["lint"], ["lint", "--jsn", "x"]], ids=str)
def test_a_wrong_call_is_2(arguments: list[str]) -> None:
    done = airflow_dr(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: airflow-dr" in done.stderr


@pytest.mark.parametrize(
    ("raising", "code", "said"),
    [
        (
            "from airflow_dr_provider.errors import StateError; raise StateError('No store. Make one.')",
            2,
            "No store. Make one.",
        ),
        (
            "from airflow_dr_provider.errors import RunInterruptedError; raise RunInterruptedError(15)",
            143,
            "Ended by signal 15",
        ),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise RuntimeError('a\\nb')", 2, "unforeseen RuntimeError: a b."),
        ("raise SystemExit(3)", 3, ""),
        ("click.get_current_context().exit(4)", 4, ""),
    ],
)
def test_errors_are_one_line(tmp_path: Path, raising: str, code: int, said: str) -> None:
    done = airflow_dr("break", setup=broken(tmp_path, raising), AIRFLOW_DR_DEBUG="0")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.strip().count("\n") == 0


@pytest.mark.parametrize(("options", "environment"), [(["--debug"], {}), ([], {"AIRFLOW_DR_DEBUG": "1"})])
def test_the_traceback_is_there_for_the_asking(tmp_path: Path, options: list[str], environment: dict[str, str]) -> None:
    done = airflow_dr(*options, "break", setup=broken(tmp_path, "raise RuntimeError('x')"), **environment)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_reader_that_went_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-c", START.format("pass"), "schema"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(write)
    assert done.stderr == ""
