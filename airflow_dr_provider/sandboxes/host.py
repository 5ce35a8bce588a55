"""Which host this is: a sandbox of processes and directories is only there where it was made."""

from __future__ import annotations

import os
import socket

from airflow_dr_provider.domain.reports import SandboxHandle

VARIABLE = "AIRFLOW_DR_HOST"


def this_host() -> str:
    """The name that ``AIRFLOW_DR_HOST`` gives this host, else its host name.

    A worker in a container that is made anew gets another host name and keeps its volume: the variable then tells that it is
    the same host still.
    """
    return os.environ.get(VARIABLE) or socket.gethostname()


def bound() -> dict[str, str]:
    """What a handle's details say of this host."""
    return {"host": this_host()}


def elsewhere(handle: SandboxHandle) -> str | None:
    """The other host that holds a sandbox; None when it is this one, or the handle doesn't say."""
    holder = handle.details.get("host")
    return str(holder) if holder is not None and holder != this_host() else None
