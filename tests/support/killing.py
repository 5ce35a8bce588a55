"""A runner that kills itself, without a chance to clean up, at a chosen place: ``killing.py SPEC AS_OF STAGE WHEN [FAULT]...``.

WHEN is ``begin`` (the stage has only started), ``done`` (its work is done, its checkpoint not yet written) or ``after`` (the
checkpoint is written).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.runner import run_drill
from airflow_dr_provider.spec.loader import load_spec
from airflow_dr_provider.stages import perform
from airflow_dr_provider.stages.services import Progress, Services
from airflow_dr_provider.state.store import Store


def kill() -> None:
    """End this process as a lost power supply would."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(spec: str, as_of: str, stage: str, when: str, *faults: str) -> None:
    """Run the drill up to the place, and die there."""
    chosen = StageName(stage)
    original = perform.stage_function

    def function(name: StageName) -> Any:
        real = original(name)

        async def killed(context: Any) -> Any:
            result = await real(context)
            kill()
            return result

        return killed if name is chosen and when == "done" else real

    perform.stage_function = function

    def progress(event: Progress) -> None:
        if event.stage is chosen and (event.started if when == "begin" else when == "after" and event.result is not None):
            kill()

    services = Services(
        store=Store.open(os.environ["AIRFLOW_DR_STATE"]),
        workdir=Path(os.environ["AIRFLOW_DR_WORKDIR"]),
        progress=progress,
    )
    asyncio.run(run_drill(services, load_spec(Path(spec)), as_of=datetime.fromisoformat(as_of), inject=faults))


if __name__ == "__main__":
    main(*sys.argv[1:])
