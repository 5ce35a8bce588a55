"""The services of a command: state and work folder as told, or from the environment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from airflow_dr_provider.connections import ConnectionPort, from_environment
from airflow_dr_provider.stages.services import Progress, Services
from airflow_dr_provider.state.location import default_state_url
from airflow_dr_provider.state.store import Store

WORKDIR = "AIRFLOW_DR_WORKDIR"
_connections: ContextVar[ConnectionPort] = ContextVar("connections", default=from_environment)


def named_connections() -> ConnectionPort:
    """Where this command's connections come from: the environment, unless Airflow's command line said otherwise."""
    return _connections.get()


def use_connections(port: ConnectionPort) -> None:
    """Take connections from somewhere else, for the rest of this process."""
    _connections.set(port)


def default_workdir() -> Path:
    """Where sandboxes live when nobody says: AIRFLOW_DR_WORKDIR, else a folder of this user's under the temporary one."""
    told = os.environ.get(WORKDIR)
    return Path(told) if told else Path(tempfile.gettempdir()) / f"airflow-dr-{os.geteuid()}"


@contextmanager
def opened_services(
    state: str | None, workdir: Path | None, *, progress: Callable[[Progress], None] | None = None
) -> Iterator[Services]:
    """Services for one command.

    :param state: the store's URL, None for the environment's or the default.
    :raises StateError: when the store can't be used.
    """
    store = Store.open(state or default_state_url())
    try:
        place = (workdir or default_workdir()).absolute()
        told = progress or (lambda event: None)
        yield Services(store=store, workdir=place, connections=named_connections(), progress=told)
    finally:
        store.close()
