"""A repository whose place a connection holds, so that specs of several sites can be the same file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from airflow_dr_provider.connections import Connection, ConnectionPort
from airflow_dr_provider.errors import ConfigurationError
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.repository import REPOSITORY_KINDS, ConnectionRepositorySpec, PlacedRepositorySpec

CONNECTION_TYPE = "airflow_dr_repository"
_PLACED: TypeAdapter[PlacedRepositorySpec] = TypeAdapter(PlacedRepositorySpec)


def repository_of_connection(connection: Connection) -> PlacedRepositorySpec:
    """The repository that a connection of type ``airflow_dr_repository`` names: its extra is a spec's ``source.repository``.

    Fields of another kind are passed over, since a form sends all of its fields. Paths are absolute: a connection lies in no folder.

    :raises ConfigurationError: ``CONNECTION_UNKNOWN``, naming the field.
    """
    name = connection.conn_id
    if connection.conn_type not in ("", CONNECTION_TYPE):
        raise _error(
            f"The connection {name} is of type {connection.conn_type}; a repository needs one of type {CONNECTION_TYPE}."
        )
    given = {key: value for key, value in connection.extra.items() if value not in (None, "")}
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in REPOSITORY_KINDS:
        raise _error(
            f"The connection {name} names no kind of repository. Set kind in its extra to one of: {', '.join(REPOSITORY_KINDS)}."
        )
    fields = REPOSITORY_KINDS[kind].model_fields
    chosen = {key: _number(value) if key == "repo" else value for key, value in given.items() if key in fields}
    try:
        placed = _PLACED.validate_python(chosen)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part != kind)
        raise _error(f"The connection {name}: {place or kind}: {first['msg'].removeprefix('Value error, ')}.") from None
    for key in fields:
        value = getattr(placed, key)
        if isinstance(value, Path) and not value.is_absolute():
            raise _error(f"The connection {name}: {key}: {value} is no absolute path; write it from / on.")
    folded = {key: Path(os.path.normpath(value)) for key in fields if isinstance(value := getattr(placed, key), Path)}
    return placed.model_copy(update=folded)


def placed(spec: DrillSpec, connections: ConnectionPort) -> DrillSpec:
    """The spec with its repository in place: the same one, unless a connection holds it.

    :raises ConfigurationError: ``CONNECTION_UNKNOWN`` when the connection can't be had or used.
    """
    named = spec.source.repository
    if not isinstance(named, ConnectionRepositorySpec):
        return spec
    repository = repository_of_connection(connections(named.conn_id))
    return spec.model_copy(update={"source": spec.source.model_copy(update={"repository": repository})})


def _number(value: Any) -> Any:
    """A whole number that a form sent as text."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _error(message: str) -> ConfigurationError:
    return ConfigurationError(message, code="CONNECTION_UNKNOWN")
