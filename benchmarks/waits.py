"""How many gates one triggerer holds: ``python -m benchmarks.waits [--waits 500] [--interval 15] [--minutes 3]``.

A real ``airflow triggerer`` with PostgreSQL as its metadata database takes deferred gates, all of which wait for steps of a
remote environment (a process of its own, over HTTP). Once it has them all, steps get ready spread over the second half of the
time. Printed are the triggerer's CPU and memory (both of its processes), how late each gate was woken, and how often the
environment was asked.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import Waiting
from tests.support.remote_sandbox import KIND, Remote, install, service
from tests.support.triggerer import Triggerers, triggerers

BARS = {"cores": 1.0, "memory": 400 << 20, "late": 2.0}
_TICKS = os.sysconf("SC_CLK_TCK")


def waits(remote: Remote, number: int, interval: float, rate: float, batch: int) -> list[dict[str, Any]]:
    """Begin the steps, and what a gate would wait for of each."""
    settings = {
        "kind": KIND, "endpoint": remote.endpoint, "remote": ["validate"], "poll_seconds": interval,
        "calls_per_second": rate, "batch": batch,
    }  # fmt: skip
    made = []
    for index in range(number):
        name = f"dr-wait-{index:04d}"
        remote.begin(name, stage="validate", seconds=None)
        handle = SandboxHandle(kind=KIND, name=name, place="/nowhere", details={"step": name})
        waiting = Waiting(
            run_id="none", rung=0, stage=StageName.VALIDATE, number=1, kind=KIND, settings=settings, workdir="/nowhere",
            handle=handle, detail="", poll_seconds=interval, deadline=datetime.now(UTC) + timedelta(hours=5),
        )  # fmt: skip
        made.append(waiting.model_dump(mode="json"))
    return made


def members(session: int) -> list[int]:
    """Processes of a session (proc(5), field 6 of stat)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.append(int(entry.name))
    return found


def cpu_seconds(session: int) -> dict[int, float]:
    """User and system time of each process of a session."""
    used = {}
    for process in members(session):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used[process] = (int(fields[11]) + int(fields[12])) / _TICKS
    return used


def memory(session: int) -> tuple[int, int]:
    """RSS and PSS of a session, bytes."""
    rss = pss = 0
    for process in members(session):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.endswith(" kB")}
        rss, pss = rss + sizes.get("Rss", 0), pss + sizes.get("Pss", 0)
    return rss, pss


def measure(place: Triggerers, remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    """Let a triggerer take the gates, and watch it until the last one is woken."""
    place.defer(waits(remote, options.waits, options.interval, options.rate, options.batch))
    process = place.start()
    begun = time.monotonic()
    while len(remote.log()["asked"]) < options.waits:
        if time.monotonic() - begun > 180:
            raise SystemExit((place.folder / "triggerer.log").read_text(errors="replace")[-4000:])
        time.sleep(0.5)
    taken = time.monotonic() - begun
    remote.ready(
        {
            f"dr-wait-{index:04d}": time.time() + 60 * options.minutes * (0.5 + 0.5 * (index + 1) / options.waits)
            for index in range(options.waits)
        }
    )
    first, since = cpu_seconds(process.pid), time.monotonic()
    highest = (0, 0)
    while sum(state == "scheduled" for state, _, _ in place.states().values()) < options.waits:
        highest = max(highest, memory(process.pid), key=lambda sizes: sizes[1])
        if time.monotonic() - since > 60 * options.minutes + 20 * options.interval:
            break
        time.sleep(1.0)
    seconds = time.monotonic() - since
    used = {process: spent - first.get(process, 0.0) for process, spent in cpu_seconds(process.pid).items()}
    log, states = remote.log(), place.states()
    late = sorted(
        at.timestamp() - log["ready"][f"dr-wait-{index:04d}"]
        for index, (state, at, _) in states.items()
        if state == "scheduled" and at is not None
    )
    told = sorted(
        log["told"][name] - at for name, at in log["ready"].items() if at is not None and log["told"][name] is not None
    )
    asked = list(log["asked"].values())
    place.end(process)
    return {
        "woken": len(late), "taken": taken, "seconds": seconds, "used": used, "memory": highest, "late": late, "told": told,
        "asked": asked, "calls": len([call for call in log["calls"] if call[1] == "GET"]),
    }  # fmt: skip


def main() -> int:
    """Print the figures; 1 when one is beyond its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waits", type=int, default=500)
    parser.add_argument("--interval", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second that the account gets")
    parser.add_argument("--batch", type=int, default=1, help="waits that one call asks about")
    parser.add_argument("--minutes", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dr-waits-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        packages = install(folder / "site")
        with service(folder) as remote, triggerers(folder, PYTHONPATH=str(packages)) as place:
            found = measure(place, remote, options)
    cores = sum(found["used"].values()) / found["seconds"]
    rss, pss = found["memory"]
    intervals = [late / options.interval for late in found["late"]]
    per_slot = statistics.mean(found["asked"])
    print(f"{found['woken']} of {options.waits} gates woken, 0 worker slots held; taken over in {found['taken']:.1f} s")
    print(f"CPU   {cores:.2f} cores over {found['seconds']:.0f} s " + str({k: f"{v:.1f} s" for k, v in found["used"].items()}))
    print(f"memory {rss / (1 << 20):.0f} MiB RSS, {pss / (1 << 20):.0f} MiB PSS, both processes")
    print(
        f"late  median {statistics.median(found['late']):.1f} s, highest {max(found['late']):.1f} s "
        f"= {max(intervals):.2f} intervals of {options.interval:g} s"
    )
    print(
        f"told  median {statistics.median(found['told']):.1f} s, highest {max(found['told']):.1f} s after a step was ready; "
        "the rest is Airflow's way from a trigger's event to the task"
    )
    print(f"asked {per_slot:.1f} times a wait, {max(found['asked'])} at most; {found['calls']} calls in all")
    good = (
        found["woken"] == options.waits and cores <= BARS["cores"] and pss <= BARS["memory"] and max(intervals) <= BARS["late"]
    )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
