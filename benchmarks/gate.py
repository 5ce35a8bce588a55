"""What a gate of twenty checks costs beside its slowest check, on a real restored server.

Prints each run's gate, its slowest check and the sum of all; ends with 1 when the promise is broken.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.runner import run_drill
from airflow_dr_provider.spec.loader import load_text
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.store import Store

RUNS = 5
CHECKS = 20
SMOKE_TESTS = 8
FACTOR, CONSTANT_SECONDS = 1.2, 0.5

SPEC = """\
version: 1
drill: bench
objectives: {{rto: 30m, rpo: 1h, mtd: 4h}}
source:
  repository: {{kind: basebackup, backups: {folder}/backups, archive: {folder}/archive}}
  heartbeat: {{table: public.dr_heartbeat, column: beat_at}}
tiers:
  - {{name: primary, role: staging, sandbox: {{kind: process}}, timeout: 5m, profile: full}}
smoke:
{smoke}
queries:
  - {{name: by_customer, sql: "SELECT sum(amount) FROM orders WHERE customer_id = 7"}}
"""
SMOKE = '  - {{name: smoke_{number}, sql: "SELECT count(*) > {number} FROM orders"}}'
MORE_ROWS = "INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, n % 500 FROM generate_series(1, 300000) n"


def measure(folder: Path, production: DemoProduction) -> list[dict[str, Any]]:
    """The validate stages of several runs; the first, which has no reference to compare with, is not counted."""
    production.sql(MORE_ROWS)
    production.backup("only")
    production.beat()
    production.switch_wal()
    smoke = "\n".join(SMOKE.format(number=number) for number in range(SMOKE_TESTS))
    spec = load_text(SPEC.format(folder=folder, smoke=smoke), source="bench", base=folder)
    store = Store.open(f"sqlite:///{folder}/state.db")
    services = Services(store=store, workdir=folder / "work")
    try:
        return [_gate(asyncio.run(run_drill(services, spec))) for _ in range(RUNS + 1)][1:]
    finally:
        store.close()


def _gate(record: dict[str, Any]) -> dict[str, Any]:
    (attempt,) = record["attempts"]
    assert record["outcome"] == "RECOVERED", attempt["detail"]
    (stage,) = (stage for stage in attempt["stages"] if stage["name"] == "validate")
    seconds = sorted((check["elapsed_seconds"] for check in attempt["checks"]), reverse=True)
    assert len(seconds) >= CHECKS
    names = {check["elapsed_seconds"]: check["name"] for check in attempt["checks"]}
    return {
        "gate": stage["metrics"]["gate_seconds"],
        "slowest": seconds[0],
        "name": names[seconds[0]],
        "sum": sum(seconds),
        "checks": len(seconds),
    }


def main() -> int:
    """Measure, print, judge by the median of what a gate costs beyond its slowest check."""
    folder = Path(tempfile.mkdtemp(prefix="dr-bench-"))
    folder.chmod(0o755)
    try:
        with DemoProduction(folder) as production:
            production.create()
            runs = measure(folder, production)
    finally:
        shutil.rmtree(folder)
    print(f"{'checks':>8}{'gate':>10}{'slowest':>10}{'allowed':>10}{'in a row':>10}   seconds")
    over = []
    for run in runs:
        allowed = FACTOR * run["slowest"] + CONSTANT_SECONDS
        over.append(run["gate"] - allowed)
        print(
            f"{run['checks']:8}{run['gate']:10.3f}{run['slowest']:10.3f}{allowed:10.3f}{run['sum']:10.3f}   slowest: {run['name']}"
        )
    late = statistics.median(over) > 0
    print(f"a gate costs at most {FACTOR:g} x its slowest check + {CONSTANT_SECONDS:g} s: {'BROKEN' if late else 'kept'}")
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
