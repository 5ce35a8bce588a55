"""Kinds of sandbox that other installed packages bring, known by their entry points without importing any of them.

A package names its adapter (:class:`~airflow_dr_provider.sandboxes.base.Sandbox`) in the group :data:`GROUP`; a tier's
``sandbox.kind`` is that name::

    [project.entry-points."airflow_dr_provider.sandboxes"]
    acme_cloud = "acme_drills.sandbox:AcmeSandbox"

An adapter with a pydantic model as ``Settings`` gets the rest of the tier's ``sandbox`` as one of these.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint
from typing import Any

from airflow_dr_provider.errors import ConfigurationError
from airflow_dr_provider.installed import installed

GROUP = "airflow_dr_provider.sandboxes"


@cache
def custom_sandboxes() -> dict[str, EntryPoint]:
    """The entry points by name, sorted; one whose name couldn't be written in a spec is passed over, a built-in kind outranks it."""
    return installed(GROUP, longest=32)


def load_custom_sandbox(kind: str) -> Any:
    """Import the adapter of a kind.

    :raises ConfigurationError: ``PROGRAMS_NOT_FOUND`` when it isn't there or can't be imported.
    """
    point = custom_sandboxes().get(kind)
    if point is None:
        raise ConfigurationError(
            f"The sandbox kind {kind} isn't installed here. Install the package that brings it on every worker and triggerer.",
            code="PROGRAMS_NOT_FOUND",
        )
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist is not None else point.value
        raise ConfigurationError(
            f"The sandbox kind {kind} of the package {package} can't be imported ({type(error).__name__}: {error}). "
            f"Install what it needs on every worker and triggerer.",
            code="PROGRAMS_NOT_FOUND",
        ) from error
