"""The options of ``[dr]``: what is read is declared, what is declared is read, and Airflow knows both."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import airflow_dr_provider
from airflow_dr_provider.provider_configuration import CONFIG, SECTION
from tests.support.airflow_parts import AIRFLOW, since

pytestmark = pytest.mark.airflow

PACKAGE = Path(airflow_dr_provider.__file__).parent
OPTIONS = CONFIG[SECTION]["options"]
PASSWORD = "n0b0dys-word"


def read_options(folder: Path) -> Iterator[str]:
    """The options that ``conf.get…("dr", …)`` asks for, in any file of a package."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("get")):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "conf" and len(node.args) >= 2):
                continue
            section, option = node.args[:2]
            named = section.value if isinstance(section, ast.Constant) else section.id if isinstance(section, ast.Name) else "?"
            if named in ("dr", "SECTION"):
                assert isinstance(option, ast.Constant), f"{file}: {ast.unparse(node)}: the option's name is not said here"
                yield str(option.value)


def test_what_is_read_is_declared_and_the_reverse() -> None:
    assert set(read_options(PACKAGE)) == set(OPTIONS)


def test_the_reader_of_sources_finds_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('conf.getint("dr", "a")\nconf.get(SECTION, "b", fallback=None)\nconf.get("core", "c")\n')
    assert set(read_options(tmp_path)) == {"a", "b"}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_described(name: str) -> None:
    option = OPTIONS[name]
    assert option["description"].endswith(".")
    assert tuple(map(int, option["version_added"].split("."))) <= tuple(map(int, version("airflow-dr-provider").split(".")))


def airflow(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)


def test_airflow_lists_them() -> None:
    said = airflow("config", "list", "--section", SECTION, "--include-descriptions", "--include-env-vars").stdout
    for name in OPTIONS:
        assert f"AIRFLOW__DR__{name.upper()}" in said
    assert "The URL of the state store" in said


def test_airflow_keeps_a_password_to_itself() -> None:
    url = f"postgresql://dr:{PASSWORD}@db.example/drills"
    if AIRFLOW >= (3, 2):  # 3.1's command line hides nothing
        said = airflow("config", "list", "--section", SECTION, "--hide-sensitive", AIRFLOW__DR__STATE=url).stdout
        assert PASSWORD not in said
    script = (
        "from airflow.providers_manager import ProvidersManager\n"
        "ProvidersManager().initialize_providers_configuration()\n"
        "from airflow.configuration import conf\n"
        "print(conf.as_dict(display_sensitive=False, display_source=True)['dr']['state'])\n"
    )
    command = [sys.executable, "-c", script]
    shown = subprocess.run(
        command, env={**os.environ, "AIRFLOW__DR__STATE": url}, capture_output=True, text=True, check=True
    ).stdout
    assert "< hidden >" in shown
    assert PASSWORD not in shown


def test_airflow_finds_nothing_wrong_with_them() -> None:
    assert "No issues found" in airflow("config", "lint", "--section", SECTION, AIRFLOW__DR__WORKDIR="/x").stdout


@since(3, 2)
def test_a_command_may_say_where_the_store_is() -> None:
    """``state`` is sensitive, so Airflow also takes it from a command's output."""
    script = "from airflow_dr_provider.hooks.drill import DrillHook; print('URL', DrillHook().state_url())"
    environment = {**os.environ, "AIRFLOW__DR__STATE_CMD": "echo sqlite:////told.db"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "URL sqlite:////told.db" in done.stdout
