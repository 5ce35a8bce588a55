"""Import what a drill's tasks need before their processes are forked.

Airflow runs each task in a process that is forked off the scheduler (LocalExecutor) or off a Celery worker. Whatever the
parent hasn't imported every task imports anew, and for a drill that is most of what Airflow adds to a stage
(``benchmarks/airflow_share.py``). Airflow has no option for it; ``airflow_local_settings.py`` in a folder ``config`` of
AIRFLOW_HOME is read by every component when it starts, and :data:`LOCAL_SETTINGS` is its text.
"""

from __future__ import annotations

import contextlib
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module

LOCAL_SETTINGS = '''\
"""Lets the process that starts a drill's tasks import what they need, once."""

from airflow_dr_provider.preload import preload

preload()
__all__ = []  # nothing here is a setting of Airflow's
'''

_PARENTS = (["scheduler"], ["celery", "worker"])
_ROOMS = ("stages", "sandboxes", "checks", "repositories")
_BESIDE = (
    "airflow.dag_processing.dagbag",
    "airflow.providers.standard.operators.hitl",
    "sqlalchemy.dialects.postgresql.psycopg",
    "psycopg",
)


def preload(arguments: Sequence[str] | None = None) -> bool:
    """Import a drill's modules, in a process that others are forked off; elsewhere do nothing.

    :param arguments: of the command; those of this process when left out.
    :return: whether it was such a process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not any(words[: len(parent)] == parent for parent in _PARENTS):
        return False
    import_module("airflow_dr_provider.factory")
    for room in _ROOMS:
        package = import_module(f"airflow_dr_provider.{room}")
        names = [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
        for name in names:
            # An adapter whose library isn't installed is one that nobody here uses.
            with contextlib.suppress(ImportError):
                import_module(name)
    for name in _BESIDE:
        with contextlib.suppress(ImportError):
            import_module(name)
    return True
