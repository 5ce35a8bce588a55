"""Which room may import which, and what the command line must not import to start."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def contracts(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", script, "--no-cache", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_contracts_are_kept() -> None:
    done = contracts(ROOT)
    assert done.returncode == 0, done.stdout
    kept = re.search(r"Contracts: (\d+) kept, 0 broken", done.stdout)
    assert kept is not None, done.stdout
    assert int(kept[1]) == (ROOT / "pyproject.toml").read_text().count("[[tool.importlinter.contracts]]")


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("domain/lsn.py", "import subprocess"),
        ("domain/lsn.py", "from airflow_dr_provider.state import store"),
        ("state/store.py", "from airflow_dr_provider.repositories import base"),
        ("stages/__init__.py", "from airflow_dr_provider import cli"),
        ("stages/__init__.py", "from airflow.sdk import DAG"),
    ],
)
def test_the_contracts_would_notice(tmp_path: Path, module: str, line: str) -> None:
    """On a copy of the package's imports alone, with one import too many."""
    for file in (ROOT / "airflow_dr_provider").rglob("*.py"):
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text()
        # The floors are checked on the real files above; here every other file is empty, so that one cause is seen.
        copy.write_text(f"{text}\n{line}\n" if file == ROOT / "airflow_dr_provider" / module else "")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    done = contracts(tmp_path)
    assert done.returncode == 1, done.stdout
    assert " broken" in done.stdout


HEAVY = ("airflow", "sqlalchemy", "alembic", "pandas", "psycopg", "boto3", "kubernetes")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["lint", "--help"], ["run", "--help"], ["plan", "--help"]], ids=" ".join
)
def test_the_command_line_starts_light(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "airflow_dr_provider.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    imported = {match[1].partition(".")[0] for match in re.finditer(r"^import time:.*\|\s+(\S+)$", done.stderr, re.M)}
    assert "click" in imported  # the report was read
    assert imported.isdisjoint(HEAVY), sorted(imported & set(HEAVY))
