"""Links from a task to the pages of its drill run (:mod:`airflow_dr_provider.plugins.pages`).

The worker resolves them when a task ends, so they need no store to be read and hold no secret.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import attrs
from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperatorLink

PREFIX = "/dr"
"""Where the pages are, below Airflow's own address."""


def record_url(dag_id: str, run_id: str) -> str:
    """The page of a DAG run's drill; without a configured address one that a browser on Airflow's page resolves."""
    return f"{_base()}{record_path(dag_id, run_id)}"


def record_path(dag_id: str, run_id: str) -> str:
    """The same below Airflow's address."""
    return f"{PREFIX}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def _base() -> str:
    return str(conf.get("api", "base_url", fallback="") or "").rstrip("/")


def question_url(dag_id: str, run_id: str) -> str:
    """Where the triage question is answered."""
    return f"{_base()}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}/tasks/triage/required_actions"


@attrs.define
class DrillRecordLink(BaseOperatorLink):
    """To the record: outcome, attempts, stages, checks, and why the chain moved."""

    name = "Drill record"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The page's address."""
        return record_url(ti_key.dag_id, ti_key.run_id)


@attrs.define
class SandboxLogLink(BaseOperatorLink):
    """To the end of the restored server's log."""

    name = "Sandbox log"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The page's address."""
        return f"{record_url(ti_key.dag_id, ti_key.run_id)}/attempts/{int(operator.rung)}/log"
