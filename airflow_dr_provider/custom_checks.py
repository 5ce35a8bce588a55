"""Checks that other installed packages bring, known by their entry points without importing any of them.

A package names its check in the group :data:`GROUP`; a spec includes it in a tier by that name::

    [project.entry-points."airflow_dr_provider.checks"]
    ledger_balance = "acme_checks.ledger:LedgerBalance"
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint
from typing import Any

from airflow_dr_provider.installed import installed

GROUP = "airflow_dr_provider.checks"


@cache
def custom_checks() -> dict[str, EntryPoint]:
    """The entry points by name, sorted; one whose name couldn't be written in a spec is passed over."""
    return installed(GROUP, longest=63)


def load_custom_check(name: str) -> Any:
    """Import a custom check's class.

    :raises KeyError: for a name that no installed package brings.
    :raises Exception: whatever its import raises.
    """
    return custom_checks()[name].load()
