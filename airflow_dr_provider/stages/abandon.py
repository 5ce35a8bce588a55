"""Close a run that nobody will finish, after giving back what it made."""

from __future__ import annotations

from airflow_dr_provider.domain.chain import Outcome
from airflow_dr_provider.domain.exit_codes import ExitCode
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.stages.injection import injections
from airflow_dr_provider.stages.release import release
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Run


async def abandon(services: Services, run: Run, signature: str, detail: str) -> tuple[str, ...]:
    """Release what the run holds and close it as COULD_NOT_VERIFY.

    :return: what could not be removed, in words.
    """
    left: list[str] = []
    for resource in services.store.unreleased(run.id):
        try:
            left.extend(await release(services, resource))
        except (DrillError, OSError) as error:
            left.append(f"{resource.name}: {error}")
    now = services.clock()
    services.store.move(
        run.id,
        source="run",
        destination=Outcome.COULD_NOT_VERIFY.value.lower(),
        reason=signature,
        signature=signature,
        detail=detail,
        now=now,
    )
    code = ExitCode.CLEANUP_FAILED if left else ExitCode.COULD_NOT_VERIFY
    record = {
        "drill": run.drill,
        "run_id": run.id,
        "outcome": Outcome.COULD_NOT_VERIFY.value,
        "exit_code": int(code),
        "error": {"signature": signature, "message": detail},
        "leftovers": left,
        "injected": [
            {"fault": injection.fault, "tier": injection.tier, "detail": f"the run was cut off ({signature})"}
            for injection in injections(run.injected)
        ],
    }
    services.store.close_run(run.id, outcome=Outcome.COULD_NOT_VERIFY.value, exit_code=int(code), record=record, now=now)
    return tuple(left)
