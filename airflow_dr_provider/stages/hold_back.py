"""Don't begin a scheduled run within a blackout: it came late, or was caused by something that knows of none."""

from __future__ import annotations

from airflow_dr_provider.domain.cadence import SKIPPED, in_blackout
from airflow_dr_provider.spec.loader import spec_digest, spec_snapshot
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Owner


def hold_back(services: Services, spec: DrillSpec, *, run_id: str, owner: Owner, trigger: str) -> str | None:
    """Record a run as skipped when it would begin within a blackout of its schedule.

    A run that was opened before goes on: what was begun is finished.

    :return: why it doesn't begin; None when it may.
    """
    known = services.store.run(run_id)
    if known is not None:
        return _why(known.record) if known.outcome == SKIPPED else None
    now = services.clock()
    window = in_blackout(spec.cadence, now) if spec.cadence is not None else None
    if window is None:
        return None
    blackout, _, end = window
    reason = f" ({blackout.reason})" if blackout.reason else ""
    why = f"it would begin within a blackout that ends at {end.isoformat(timespec='minutes')}{reason}"
    services.store.open_run(
        run_id=run_id,
        drill=spec.drill,
        spec_digest=spec_digest(spec),
        spec=spec_snapshot(spec),
        owner=owner,
        trigger=trigger,
        as_of=None,
        now=now,
        # It does nothing: another run under way is no hindrance.
        overlap=True,
    )
    services.store.move(run_id, source="run", destination=SKIPPED.lower(), reason="blackout", detail=why, now=now)
    record = {
        "drill": spec.drill,
        "run_id": run_id,
        "outcome": SKIPPED,
        "exit_code": 0,
        "reasons": [why],
        "leftovers": [],
        "injected": [],
    }
    services.store.close_run(run_id, outcome=SKIPPED, exit_code=0, record=record, now=now)
    return why


def _why(record: dict[str, object] | None) -> str:
    reasons = (record or {}).get("reasons")
    return str(reasons[0]) if isinstance(reasons, list) and reasons else "it was skipped"
