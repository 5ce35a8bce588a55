"""The routing manifest: where a restored server is, what it is, and what is asked of it, for the gate and for other test runners."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from airflow_dr_provider.domain.reports import Endpoint
from airflow_dr_provider.domain.routing import RoutedCheck
from airflow_dr_provider.domain.target import ResolvedTarget
from airflow_dr_provider.domain.value import Value

HEADER = "X-Drill-Context"
"""The name under which a test runner passes the signed context on."""


class DrillContext(Value):
    """What whoever is called by a test runner may rely on: this is a drill, and which.

    :param epoch: the attempt's place in the chain, from 0. A later attempt of the run has a higher one: what carries a lower one
        belongs to a sandbox that is gone.
    :param expires_at: when the sandbox's lease ends.
    """

    drill: str
    run_id: str
    tier: str
    role: str
    epoch: int
    expires_at: datetime


class RoutingManifest(Value):
    """Made when the restored server has been opened; kept in the record.

    :param checks: in the order in which the gate begins them.
    :param smoke: the smoke tests that run on this tier, by name; queries likewise.
    :param header: the signed context, as the value of the header :data:`HEADER`.
    :param public_key: by which the header is verified: base64 of an Ed25519 key that was made for this manifest alone. Its
        private half was never kept.
    """

    format: int = 1
    made_at: datetime
    context: DrillContext
    endpoint: Endpoint
    profile: str
    backup: str
    server_version: int
    target: ResolvedTarget
    checks: tuple[RoutedCheck, ...]
    smoke: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    header: str = Field(description="the value of X-Drill-Context")
    public_key: str
