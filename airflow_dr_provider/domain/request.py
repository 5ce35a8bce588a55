"""What a person asks of one run, beyond what the spec says. A run on schedule asks for nothing."""

from __future__ import annotations

from airflow_dr_provider.domain.target import RecoveryTarget
from airflow_dr_provider.domain.value import Value

LONGEST_KEEP_SECONDS = 24 * 3600
"""For how long a restored server may stay up at most: it holds production's data, and nobody else looks after it."""
LONGEST_REASON = 500


class RunRequest(Value):
    """The wishes of whoever triggered a run.

    :param target: how far to recover instead of what the spec says.
    :param first_tier: the tier to begin with; None for the chain's first.
    :param keep_seconds: for how long the server that carried the recovery stays up after the run; 0 to remove it.
    :param reason: why, in that person's words.
    """

    target: RecoveryTarget | None = None
    first_tier: str | None = None
    keep_seconds: int = 0
    reason: str = ""


PLAIN = RunRequest()
"""A run as the spec has it."""
