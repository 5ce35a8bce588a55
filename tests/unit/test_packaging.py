"""The distribution and its lock file: what is built holds what it must, and what is installed is what was locked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution, distributions, entry_points, version
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airflow_dr_provider

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / os.environ.get("AIRFLOW_DR_LOCK", "requirements.lock")).read_text()


def locked(text: str) -> dict[str, Requirement]:
    """The lock's requirements that hold for this machine, by their names."""
    found = {}
    for line in text.splitlines():
        if re.match(r"[a-z0-9]", line):
            requirement = Requirement(line.rstrip(" \\"))
            if requirement.marker is None or requirement.marker.evaluate():
                found[canonicalize_name(requirement.name)] = requirement
    return found


def wanted() -> list[Requirement]:
    """Everything that pyproject.toml asks for directly: dependencies, extras, groups, the build."""
    project = PROJECT["project"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
        PROJECT["build-system"]["requires"],
    ]
    return [Requirement(text) for texts in lists for text in texts if not text.startswith(project["name"])]


def test_the_version_is_said_once_more_only_in_the_package() -> None:
    assert PROJECT["project"]["version"] == airflow_dr_provider.__version__ == version("airflow-dr-provider")


def test_the_lock_answers_every_wish() -> None:
    pins = locked(LOCK)
    for wish in wanted():
        pin = pins[canonicalize_name(wish.name)]
        (pinned,) = pin.specifier
        assert pinned.operator == "=="
        assert wish.specifier.contains(pinned.version, prereleases=True), f"{wish} is not met by {pin}: run `make lock`"


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-floor.lock", "requirements-uv.lock"])
def test_every_pin_has_a_hash_and_names_no_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"://|^--", text, re.M)
    pins = re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]
    assert pins
    for pin in pins:
        assert "--hash=sha256:" in pin, pin.splitlines()[0]


def test_uv_is_pinned_where_pip_reads_it() -> None:
    (wish,) = (ROOT / "requirements-uv.in").read_text().split()
    assert wish in (ROOT / "requirements-uv.lock").read_text()


def test_what_is_installed_is_what_is_locked() -> None:
    wrong = []
    for name, pin in locked(LOCK).items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "nothing"
        if not pin.specifier.contains(found if found != "nothing" else "0", prereleases=True):
            wrong.append(f"{pin}: {found} is installed")
    assert not wrong, f"run `make set-up`: {wrong}"


def test_nothing_that_is_installed_lacks_what_it_needs() -> None:
    installed = {canonicalize_name(found.metadata["Name"]): found.version for found in distributions()}
    installed["psycopg2"] = installed["psycopg2-binary"]  # the same module as a wheel (tool.uv in pyproject.toml)
    environment = default_environment()
    missing = [
        f"{found.metadata['Name']} needs {wish}, there is {installed.get(canonicalize_name(wish.name))}"
        for found in distributions()
        for wish in map(Requirement, found.requires or ())
        if (wish.marker is None or wish.marker.evaluate({**environment, "extra": ""}))
        and not wish.specifier.contains(installed.get(canonicalize_name(wish.name), "0"), prereleases=True)
    ]
    assert not missing


def test_the_command_is_installed() -> None:
    (point,) = entry_points(group="console_scripts", name="airflow-dr")
    assert point.value == "airflow_dr_provider.cli.main:main"
    assert callable(point.load())


def test_the_licence_travels_along() -> None:
    found = distribution("airflow-dr-provider")
    assert found.metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "airflow_dr_provider").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if name.startswith("airflow_dr_provider/")} == package
    assert {name.partition("/")[0] for name in names} == {
        "airflow_dr_provider",
        f"airflow_dr_provider-{airflow_dr_provider.__version__}.dist-info",
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_types_are_announced(wheel: zipfile.ZipFile) -> None:
    """Typing :: Typed is a classifier; a type checker believes the marker file only (PEP 561)."""
    assert "airflow_dr_provider/py.typed" in wheel.namelist()
