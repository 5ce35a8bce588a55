"""Exit codes: of a run, and of a stage."""

from __future__ import annotations

from enum import IntEnum

from airflow_dr_provider.domain.verdicts import Verdict


class ExitCode(IntEnum):
    """How ``airflow-dr run`` ends; a stage uses the first three of them that fit."""

    RECOVERED = 0
    MANUAL_TRIAGE = 1
    COULD_NOT_VERIFY = 2
    RECOVERED_DEGRADED = 3
    CLEANUP_FAILED = 4


STAGE_EXIT_CODES: dict[Verdict, int] = {
    Verdict.PASSED: 0,
    Verdict.FAILED: 1,
    Verdict.COULD_NOT_VERIFY: 2,
}
