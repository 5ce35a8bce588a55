"""A gate's context for tests: a healthy one, of which a test changes what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import FileReport, IsolationReport, Probe, ProbeResult, Recovery, WalReport
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

MOMENT = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
TARGET = ResolvedTarget(timeline=1, lsn=Lsn("0/5000100"), requested=RecoveryTarget())
RECOVERY = Recovery(reached=True, replayed_lsn=Lsn("0/5000160"), timeline=1, next_transaction=1000)


async def no_connection(database: str, role: str = "admin") -> Any:
    raise AssertionError(f"this check must not connect ({database}, {role})")


async def every_probe_fails(probes: Sequence[Probe]) -> tuple[ProbeResult, ...]:
    return tuple(ProbeResult(label=probe.label, reached=False, detail="connection refused") for probe in probes)


def coordinate(**changes: Any) -> RestoreCoordinate:
    return RestoreCoordinate(**{"backup_id": "b1", "server_version": 18, "target": TARGET, "segment_size": 16 << 20, **changes})


def context(**changes: Any) -> CheckContext:
    values: dict[str, Any] = {
        "coordinate": coordinate(),
        "recovery": RECOVERY,
        "files": FileReport(files=10, bytes_read=1000, verified=True),
        "wal": WalReport(segments=2, bytes_read=32 << 20),
        "isolation": IsolationReport(wanted="required", reached=("network", "mount")),
        "reference": None,
        "databases": (),
        "heartbeat": None,
        "smoke": (),
        "moment": MOMENT,
        "rpo_seconds": 3600.0,
        "probes": (),
        "connect": no_connection,
        "probe": every_probe_fails,
    }
    return CheckContext(**{**values, **changes})


def outcome(results: Sequence[CheckResult]) -> tuple[Verdict, str | None]:
    """Verdict and signature of the one result."""
    (result,) = results
    assert (result.verdict is Verdict.PASSED) == (result.signature is None)
    return result.verdict, result.signature
