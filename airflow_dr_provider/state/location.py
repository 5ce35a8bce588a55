"""Where the state store is when nobody says."""

from __future__ import annotations

import os
from pathlib import Path

ENVIRONMENT = "AIRFLOW_DR_STATE"


def default_state_url() -> str:
    """AIRFLOW_DR_STATE, else a file of this user's (XDG base directory specification, state home)."""
    told = os.environ.get(ENVIRONMENT)
    if told:
        return told
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return f"sqlite:///{home}/airflow-dr/state.db"
