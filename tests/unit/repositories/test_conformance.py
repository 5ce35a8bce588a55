"""Every registered repository is what its Protocol asks for; nothing but its own module has to know it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from airflow_dr_provider.repositories.base import REPOSITORIES, Repository, repository
from airflow_dr_provider.spec.repository import REPOSITORY_KINDS, RepositorySpec

METHODS = [name for name, member in vars(Repository).items() if inspect.isfunction(member) and not name.startswith("_")]
SMALLEST: dict[str, dict[str, str]] = {
    "basebackup": {"backups": "backups", "archive": "archive"},
    "pgbackrest": {"stanza": "main"},
    "barman": {"server": "main"},
    "walg": {"env_file": "walg.env"},
}
"""The least that a spec has to say of each kind."""

kinds = pytest.mark.parametrize("kind", sorted(REPOSITORIES))


def adapter(kind: str) -> type[Any]:
    """The class that is registered for a kind."""
    module, _, name = REPOSITORIES[kind].partition(":")
    found: type[Any] = getattr(import_module(module), name)
    return found


def way(method: Callable[..., Any]) -> str:
    """How a method is to be called: awaited, iterated, or plainly."""
    if inspect.iscoroutinefunction(method):
        return "awaited"
    iterated = inspect.isasyncgenfunction(method) or "AsyncIterator" in str(inspect.signature(method).return_annotation)
    return "iterated" if iterated else "plain"


def test_the_protocol_has_the_methods_that_are_compared_here() -> None:
    assert METHODS == [
        "catalog", "last_record", "find_target", "verify", "inventory", "read_items", "restore", "fetch_wal",
    ]  # fmt: skip


@kinds
@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_called_as_the_protocol_says(kind: str, name: str) -> None:
    wanted, found = getattr(Repository, name), getattr(adapter(kind), name, None)
    assert found is not None, f"{REPOSITORIES[kind]} has no {name}"
    ours, theirs = inspect.signature(found), inspect.signature(wanted)
    shape = [(parameter.name, parameter.kind, parameter.default) for parameter in ours.parameters.values()]
    assert shape == [(parameter.name, parameter.kind, parameter.default) for parameter in theirs.parameters.values()]
    assert ours.return_annotation == theirs.return_annotation
    assert way(found) == way(wanted)


@kinds
def test_an_adapter_is_documented(kind: str) -> None:
    found = adapter(kind)
    for thing in (sys.modules[found.__module__], found, *(getattr(found, name) for name in METHODS if hasattr(found, name))):
        words = inspect.cleandoc(thing.__doc__ or "")
        assert words.partition("\n")[0].endswith("."), thing


@kinds
def test_a_kind_s_settings_have_a_model_of_that_kind(kind: str) -> None:
    model = REPOSITORY_KINDS[kind]
    assert get_args(model.model_fields["kind"].annotation) == (kind,)
    union = TypeAdapter(RepositorySpec)
    assert type(union.validate_python({"kind": kind, **SMALLEST[kind]})) is model
    undescribed = [name for name, field in model.model_fields.items() if not field.description]
    assert undescribed == []  # what the JSON Schema, and so an editor, says


def test_registry_and_spec_know_the_same_kinds() -> None:
    assert set(REPOSITORIES) == set(REPOSITORY_KINDS) == set(SMALLEST)


@kinds
def test_making_an_adapter_asks_nothing_of_the_machine(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is there and no program: that is for the first call to find, in words."""
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = REPOSITORY_KINDS[kind].model_validate({"kind": kind, **SMALLEST[kind]})
    assert type(repository(kind, settings, base=tmp_path)) is adapter(kind)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [None, *sorted(REPOSITORIES)])
def test_only_the_repository_that_is_used_is_imported(kind: str | None) -> None:
    modules = {name: target.partition(":")[0] for name, target in REPOSITORIES.items()}
    used = f"importlib.import_module({modules[kind]!r})" if kind is not None else "None"
    code = f"import importlib, sys; import airflow_dr_provider.repositories.base; {used}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert {name for name, module in modules.items() if module in imported} == ({kind} if kind is not None else set())
