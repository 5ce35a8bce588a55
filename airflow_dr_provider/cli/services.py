"""The services of a command: state and work folder as told, or from the environment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_dr_provider.stages.services import Progress, Services
from airflow_dr_provider.state.location import default_state_url
from airflow_dr_provider.state.store import Store

WORKDIR = "AIRFLOW_DR_WORKDIR"


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
        yield Services(store=store, workdir=place, progress=progress or (lambda event: None))
    finally:
        store.close()
