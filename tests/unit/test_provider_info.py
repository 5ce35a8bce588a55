"""What Airflow is told about this provider is what is there."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, metadata, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import airflow_dr_provider
from airflow_dr_provider.get_provider_info import EXTRA_LINKS, NOTIFICATIONS, PLUGINS, ROOMS, get_provider_info

PACKAGE = Path(airflow_dr_provider.__file__).parent


@pytest.fixture(scope="module")
def info() -> dict[str, Any]:
    return get_provider_info()


def listed(info: dict[str, Any], room: str) -> list[str]:
    return [module for entry in info.get(room, []) for module in entry["python-modules"]]


def on_disk(room: str) -> list[str]:
    return [f"airflow_dr_provider.{room}.{module.name}" for module in pkgutil.iter_modules([str(PACKAGE / room)])]


def plugin_entry_points() -> list[str]:
    """The plugins that an installed package is found by."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    return [path.replace(":", ".") for path in project["entry-points"]["airflow.plugins"].values()]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    spec = find_spec("airflow")
    assert spec is not None
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    file = next(folder / "provider_info.schema.json" for folder in folders if (folder / "provider_info.schema.json").exists())
    return json.loads(file.read_text())


def test_airflows_schema_accepts_it(info: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.validate(info, schema)
    known = set(schema["properties"])
    # The schema allows unknown keys; a misspelt one would simply have no effect. `versions` every provider has, and `cli` is
    # passed over by Airflow 3.1.
    assert set(info) - known <= {"versions", "cli"}


def test_airflows_schema_would_refuse_a_wrong_one(info: dict[str, Any], schema: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**info, "operators": [{"python-modules": "one"}]}, schema)


def test_it_agrees_with_the_distribution(info: dict[str, Any]) -> None:
    assert info["package-name"] == metadata("airflow-dr-provider")["Name"]
    assert info["versions"] == [version("airflow-dr-provider")] == [airflow_dr_provider.__version__]


def test_the_entry_point_is_installed(info: dict[str, Any]) -> None:
    found = [point for point in entry_points(group="apache_airflow_provider") if point.value.startswith("airflow_dr_provider")]
    assert [point.name for point in found] == ["provider_info"]
    assert found[0].load()() == info


def test_every_integration_that_is_named_is_declared(info: dict[str, Any]) -> None:
    declared = {entry["integration-name"] for entry in info["integrations"]}
    assert {entry["integration-name"] for room in ROOMS for entry in info.get(room, [])} <= declared


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_of_a_room_is_listed(info: dict[str, Any], room: str) -> None:
    assert listed(info, room) == sorted(name for name in on_disk(room) if not name.rpartition(".")[2].startswith("_"))


@pytest.mark.airflow
def test_everything_that_is_listed_imports(info: dict[str, Any]) -> None:
    for room in ROOMS:
        for module in listed(info, room):
            importlib.import_module(module)
    for path in (*NOTIFICATIONS, *EXTRA_LINKS, *(path for _, path in PLUGINS)):
        module, _, name = path.rpartition(".")
        assert inspect.isclass(getattr(importlib.import_module(module), name)), path


@pytest.mark.airflow
def test_every_class_that_airflow_looks_up_is_listed() -> None:
    from airflow.plugins_manager import AirflowPlugin
    from airflow.sdk.bases.notifier import BaseNotifier
    from airflow.sdk.bases.operatorlink import BaseOperatorLink

    rooms = {
        "notifications": (BaseNotifier, NOTIFICATIONS),
        "links": (BaseOperatorLink, EXTRA_LINKS),
        "plugins": (AirflowPlugin, (*(path for _, path in PLUGINS), *plugin_entry_points())),
    }
    for room, (base, names) in rooms.items():
        found = set()
        for name in on_disk(room):
            module = importlib.import_module(name)
            for _, kind in inspect.getmembers(module, inspect.isclass):
                if issubclass(kind, base) and kind is not base and kind.__module__ == name:
                    found.add(f"{name}.{kind.__name__}")
        assert found == set(names), f"{room}: what is there and what get_provider_info.py names differ"


def test_plugins_are_installed_as_entry_points() -> None:
    found = [point.value.replace(":", ".") for point in entry_points(group="airflow.plugins")]
    assert set(plugin_entry_points()) <= set(found), "the installed package is older than pyproject.toml: install it again"


@pytest.mark.airflow
def test_airflow_finds_the_provider(info: dict[str, Any]) -> None:
    """Through the machinery of ``airflow providers list``, which validates, checks names and drops what it dislikes."""
    script = (
        "import json\n"
        "from airflow.providers_manager import ProvidersManager\n"
        "found = ProvidersManager().providers['airflow-dr-provider']\n"
        "print('FOUND', json.dumps([found.version, found.data['name'], sorted(found.data)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    assert line is not None, done.stderr[-1500:]
    found_version, found_name, keys = json.loads(line.removeprefix("FOUND "))
    assert (found_version, found_name) == (airflow_dr_provider.__version__, info["name"])
    assert set(info) <= set(keys)


def test_asking_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from airflow_dr_provider.get_provider_info import get_provider_info\n"
        "get_provider_info()\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'airflow', 'sqlalchemy', 'pydantic', 'psycopg', 'click'}))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"
