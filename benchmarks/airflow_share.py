"""What Airflow adds to a drill: where the time goes between the stages, and how long the chain takes to decide.

Makes the demonstration's scene, starts Airflow as ``make airflow`` tunes it, and runs drills: the path of one tier, and a fall
from a tier to the next. Prints for every task what lay before it, what it took to get to its stage, the stage, and what came
after; ends with 1 when a promise is broken. Best of several runs, for the machine may have other work.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from airflow_dr_provider.demo.cluster import Cluster
from airflow_dr_provider.demo.scene import Scene, make_scene
from airflow_dr_provider.factory.thin import THIN_DAG
from airflow_dr_provider.state.store import Store

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 4
PROMISED_A_TASK = 0.5
PROMISED_DECISION = 1.0
GATE = "validate"
TASKS = {GATE: "gate"}


@dataclass(frozen=True)
class Row:
    """Seconds of one task.

    :param before: from the end of the task before it to its start.
    :param into: from its start to its stage's.
    :param stage: the stage.
    :param after: from the stage's end to its own.
    """

    task: str
    before: float
    into: float
    stage: float
    after: float

    @property
    def share(self) -> float:
        return self.before + self.into + self.after


@dataclass(frozen=True)
class Run:
    rows: tuple[Row, ...]
    wall: float
    decision: float
    fall: float

    @property
    def share(self) -> float:
        """Seconds a task that are not a stage's."""
        return (self.wall - sum(row.stage for row in self.rows)) / len(self.rows)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def drill(cluster: Cluster, scene: Scene, dag_id: str, conf: dict[str, str]) -> Run:
    dag_run = cluster.trigger(dag_id, conf)
    while cluster.state(dag_id, dag_run) not in ("success", "failed"):
        cluster.check_alive()
        time.sleep(0.3)
    path = f"/api/v2/dags/{dag_id}/dagRuns/{dag_run}"
    about = cluster.ask(path)
    entries = cluster.ask(f"{path}/taskInstances?limit=200")["task_instances"]
    done = sorted((entry for entry in entries if entry["state"] in ("success", "failed")), key=lambda entry: entry["end_date"])
    stages = stage_times(scene, f"{dag_id}:{dag_run}")
    last = moment(about["queued_at"])
    rows = []
    for entry in done:
        start, end = moment(entry["start_date"]), moment(entry["end_date"])
        begun, seconds = stages.get(entry["task_id"], (start, 0.0))
        ended = begun + timedelta(seconds=seconds)
        rows.append(
            Row(
                entry["task_id"],
                (start - last).total_seconds(),
                (begun - start).total_seconds(),
                seconds,
                (end - ended).total_seconds(),
            )
        )
        last = end
    times = {entry["task_id"]: entry for entry in done}
    decision = fall = 0.0
    if "route_primary" in times and "secondary.select" in times:
        router, gate = times["route_primary"], times.get("primary.gate") or times["primary.restore"]
        decision = (moment(router["end_date"]) - moment(router["start_date"])).total_seconds()
        fall = (moment(times["secondary.select"]["queued_when"]) - moment(gate["end_date"])).total_seconds()
    wall = (moment(about["end_date"]) - moment(about["queued_at"])).total_seconds()
    return Run(tuple(rows), wall, decision, fall)


def stage_times(scene: Scene, run_id: str) -> dict[str, tuple[datetime, float]]:
    """When each task's own work began, and how long it took."""
    store = Store.open(scene.state)
    try:
        run = store.run(run_id)
        found = {}
        if run is not None:
            found["start"] = (run.opened_at, float(run.inputs["opened_seconds"]))
        for attempt in store.attempts(run_id):
            for done in store.checkpoints(attempt.id):
                task = f"{attempt.tier}.{TASKS.get(done.stage.value, done.stage.value)}"
                found[task] = (done.started_at, done.result.elapsed_seconds)
        return found
    finally:
        store.close()


def show(run: Run) -> None:
    print(f"  {'task':24}{'before':>9}{'into':>9}{'stage':>9}{'after':>9}")
    for row in run.rows:
        print(f"  {row.task:24}{row.before:9.3f}{row.into:9.3f}{row.stage:9.3f}{row.after:9.3f}")


def place(scene: Scene) -> None:
    text = scene.spec.read_text()
    tiers = text.index("  - name: secondary")
    smoke = text.index("smoke:")
    scene.spec.with_name("one.yaml").write_text(
        text[:tiers].replace("drill: orders", "drill: one").replace("selection: {", "selection: {candidates: 1, ")
        + text[smoke:]
    )
    for name in ("orders", "one"):
        scene.spec.with_name(f"{name}.py").write_text(THIN_DAG)


def main() -> int:
    """Measure, print, judge."""
    scene = make_scene(lambda line: None, damage=False)
    try:
        place(scene)
        with Cluster(Path(scene.folder) / "airflow", scene.dags, scene.environment()) as cluster:
            drill(cluster, scene, "one", {})  # the first one fills caches
            single = [drill(cluster, scene, "one", {}) for _ in range(RUNS)]
            falls = [drill(cluster, scene, "orders", {"inject": "server_killed"}) for _ in range(max(1, RUNS // 2))]
    finally:
        scene.remove()
    best = min(single, key=lambda run: run.share)
    print(f"one tier, best of {RUNS}: {best.wall:.1f} s, {len(best.rows)} tasks")
    show(best)
    shares = [run.share for run in single]
    print(f"Airflow's share: {min(shares):.2f} s a task at best, {statistics.median(shares):.2f} s median")
    fallen = min(falls, key=lambda run: run.decision)
    print(f"gate failed: the router's own run {fallen.decision:.2f} s; next tier's first task queued after {fallen.fall:.2f} s")
    show(fallen)
    broken = min(shares) > PROMISED_A_TASK or fallen.decision > PROMISED_DECISION
    if broken:
        print(f"more than promised: {PROMISED_A_TASK} s a task, {PROMISED_DECISION} s for the decision")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
