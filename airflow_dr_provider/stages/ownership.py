"""Who walks a run, and whether it still lives."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from pathlib import Path

from airflow_dr_provider.spec.loader import spec_from_snapshot
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Owner, Run


def this_process() -> Owner:
    """The owner that this process is."""
    return Owner(
        kind="runner", name=socket.gethostname(), boot=_boot(), process=os.getpid(), started=_started(os.getpid()) or 0
    )


def airflow_run(dag_id: str, dag_run_id: str) -> Owner:
    """The owner that a DAG run is."""
    return Owner(kind="airflow", name=f"{dag_id}/{dag_run_id}")


def is_abandoned(services: Services, run: Run, now: datetime) -> bool:
    """Whether nobody walks an unfinished run any more.

    A runner on this machine is looked up by process id and start time, on this boot. One on another machine, or a DAG run,
    can't be looked up from here: it counts as abandoned once it was silent for longer than its MTD and its triage may take.
    """
    owner = run.owner
    if owner.kind == "runner" and owner.name == socket.gethostname():
        return owner.boot != _boot() or _started(owner.process) != owner.started
    spec = spec_from_snapshot(run.spec)
    silence: timedelta = spec.objectives.mtd + spec.triage.response_timeout
    return now - last_sign(services, run) > silence


def last_sign(services: Services, run: Run) -> datetime:
    """When a run was last heard of."""
    log = services.store.transitions(run.id)
    return max((run.opened_at, *(entry.at for entry in log[-1:])))


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(process: int) -> int | None:
    """Field 22 of ``/proc/<pid>/stat`` (proc(5)): the start in clock ticks since boot; None when there is no such process."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
