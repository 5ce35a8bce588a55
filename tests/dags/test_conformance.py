"""What Airflow expects of every class of a provider, checked of each one that is told to it or lies in its rooms."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
from airflow.triggers.base import BaseTrigger

from airflow_dr_provider.get_provider_info import get_provider_info

pytestmark = pytest.mark.airflow

INFO = get_provider_info()
BASES = {"operators": BaseOperator, "sensors": BaseSensorOperator, "hooks": BaseHook, "triggers": BaseTrigger}
HEAVY = ("boto3", "botocore", "kubernetes", "pandas", "numpy", "alembic", "moto", "aiobotocore", "flask_appbuilder", "airflow.providers.openlineage", "airflow.providers.amazon", "airflow.providers.cncf")  # fmt: skip # noqa: E501
MOST_OWN_MODULES = 260


def modules(room: str) -> list[str]:
    return [name for entry in INFO.get(room, []) for name in entry["python-modules"]]


def classes(room: str) -> Iterator[type[Any]]:
    for name in modules(room):
        for _, kind in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if kind.__module__ == name and issubclass(kind, BASES[room]):
                yield kind


def all_of(*rooms: str) -> pytest.MarkDecorator:
    found = [kind for room in rooms for kind in classes(room)]
    return pytest.mark.parametrize("kind", found, ids=lambda kind: kind.__name__)


def own_inits(kind: type[Any]) -> Iterator[Any]:
    for base in kind.__mro__:
        if base.__module__.startswith("airflow_dr_provider") and "__init__" in vars(base):
            yield inspect.unwrap(vars(base)["__init__"])


def documentation(kind: type[Any]) -> str:
    return "\n".join(inspect.getdoc(base) or "" for base in kind.__mro__ if base.__module__.startswith("airflow_dr_provider"))


def initialised_as_given(init: Any) -> set[str]:
    """The attributes that ``__init__`` sets to the argument of the same name, and to nothing else."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    given: set[str] = set()
    other: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                    same = isinstance(node.value, ast.Name) and node.value.id == target.attr
                    (given if same else other).add(target.attr)
    return given - other


# -- operators and sensors ---------------------------------------------------------------------------------------------
@all_of("operators", "sensors")
def test_template_fields_are_kept_as_they_were_given(kind: type[Any]) -> None:
    """Airflow renders the attribute after ``__init__``: what that does with a template's text would be done with braces."""
    kept = {name for init in own_inits(kind) for name in initialised_as_given(init)}
    fields = set(kind.template_fields) - set(vars(BaseOperator).get("template_fields", ()))
    assert fields <= kept


@all_of("operators", "sensors")
def test_every_renderer_is_of_a_template_field(kind: type[Any]) -> None:
    assert set(kind.template_fields_renderers) <= set(kind.template_fields)


@all_of("operators", "sensors")
def test_the_name_says_what_it_is(kind: type[Any]) -> None:
    assert kind.__name__.endswith("Sensor" if issubclass(kind, BaseSensorOperator) else "Operator")


@all_of("operators", "sensors", "hooks", "triggers")
def test_arguments_are_named_and_documented(kind: type[Any]) -> None:
    assert inspect.getdoc(kind)
    told = documentation(kind)
    for init in own_inits(kind):
        for parameter in list(inspect.signature(init).parameters.values())[1:]:
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            assert parameter.kind is parameter.KEYWORD_ONLY, f"{kind.__name__}({parameter.name}) can be given by its place"
            assert f":param {parameter.name}:" in told, f"{kind.__name__}: :param {parameter.name}: is missing"


@all_of("operators", "sensors")
def test_public_methods_are_documented(kind: type[Any]) -> None:
    for name, method in vars(kind).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            assert inspect.getdoc(method), f"{kind.__name__}.{name}"


# -- hooks -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("told", INFO["connection-types"], ids=lambda told: told["connection-type"])
def test_a_connection_type_and_its_hook_agree(told: dict[str, Any]) -> None:
    module, _, name = told["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert hook.conn_type == told["connection-type"]
    assert hook.hook_name == told["hook-name"]
    assert hook.conn_name_attr in inspect.signature(hook).parameters
    assert callable(hook.test_connection)
    made = hook(**{hook.conn_name_attr: "some"})  # as Airflow makes it for the test of a connection
    assert getattr(made, hook.conn_name_attr) == "some"
    hidden = set(told["ui-field-behaviour"]["hidden-fields"])
    assert hidden <= {"host", "port", "login", "password", "schema", "extra", "description"}
    assert set(told["ui-field-behaviour"]["placeholders"]) <= {"host", "port", "login", "schema", *told["conn-fields"]} - hidden
    for field in told["conn-fields"].values():
        assert field["label"]
        assert field["description"].endswith(".")


def test_every_hook_with_a_connection_type_is_told() -> None:
    told = {entry["hook-class-name"] for entry in INFO["connection-types"]}
    own = {f"{kind.__module__}.{kind.__name__}" for kind in classes("hooks") if vars(kind).get("conn_type")}
    assert own == told


# -- triggers ----------------------------------------------------------------------------------------------------------
def sample(kind: Any) -> Any:
    """Some value of a type, for a trigger's argument."""
    if typing.get_origin(kind) is not None and type(None) in typing.get_args(kind):
        return None
    return {str: "text", int: 7, float: 1.5, bool: True, dict: {}, list: []}.get(typing.get_origin(kind) or kind, "text")


@all_of("triggers")
def test_a_trigger_is_what_it_was_after_serialisation(kind: type[Any]) -> None:
    """The triggerer makes it anew from what ``serialize`` returned, in another process."""
    types = typing.get_type_hints(kind.__init__)
    arguments = {
        name: sample(types.get(name, str))
        for name, parameter in list(inspect.signature(kind).parameters.items())
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    path, kept = kind(**arguments).serialize()
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name) is kind
    assert kept == arguments, "an argument is lost, or another one"
    assert json.loads(json.dumps(kept)) == kept
    assert kind(**kept).serialize() == (path, kept)


# -- weight ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    """What importing each listed module brings with it, beyond Airflow's own, in one process."""
    script = (
        "import json, sys, importlib\n"
        "import airflow.sdk, airflow.sdk.bases.sensor, airflow.triggers.base\n"
        "found = {}\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(name)\n"
        "    found[name] = sorted(set(sys.modules) - before)\n"
        "print('WEIGHTS', json.dumps(found))\n"
    )
    names = [name for room in BASES for name in modules(room)]
    done = subprocess.run([sys.executable, "-c", script, json.dumps(names)], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("WEIGHTS "))
    return dict(json.loads(line.removeprefix("WEIGHTS ")))


def test_a_dag_file_brings_nothing_heavy(weights: dict[str, Any]) -> None:
    """Every worker and the DAG processor pay for it at each parse."""
    brought = {name for names in weights.values() for name in names}
    heavy = sorted(name for name in brought if any(name == big or name.startswith(f"{big}.") for big in HEAVY))
    assert heavy == []
    own = [name for name in brought if name.startswith("airflow_dr_provider")]
    assert 10 < len(own) < MOST_OWN_MODULES, len(own)
