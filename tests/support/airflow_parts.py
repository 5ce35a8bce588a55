"""Parts of Airflow that tests use and that have moved between 3.1 and 3.3: one place knows where each lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

try:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
except ImportError:  # 3.1
    from airflow.models.dagbag import DagBag, sync_bag_to_db  # type: ignore[no-redef]
try:
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # 3.1
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization  # type: ignore[no-redef]
try:
    from airflow.sdk.exceptions import ParamValidationError
except ImportError:  # 3.1
    from airflow.exceptions import ParamValidationError  # type: ignore[no-redef]

__all__ = ["AIRFLOW", "DagBag", "DagSerialization", "ParamValidationError", "dag_bag", "since", "sync_bag_to_db"]


def _version() -> tuple[int, int]:
    from airflow import __version__

    major, minor, *_ = __version__.split(".")
    return int(major), int(minor)


AIRFLOW = _version()
"""The running Airflow, as (major, minor)."""


def since(major: int, minor: int) -> pytest.MarkDecorator:
    """A mark for a test of what an older Airflow doesn't have."""
    return pytest.mark.skipif((major, minor) > AIRFLOW, reason=f"Airflow {major}.{minor} has it first")


def dag_bag(path: Path, *, bundle: Path, name: str) -> Any:
    """The DAGs of a file or folder, as a bundle's."""
    named = {"bundle_name": name} if AIRFLOW >= (3, 2) else {}
    return DagBag(str(path), bundle_path=bundle, **named)


def serialized(dag: Any) -> str:
    """A DAG as the scheduler gets it."""
    return json.dumps(DagSerialization.to_dict(dag), sort_keys=True)
