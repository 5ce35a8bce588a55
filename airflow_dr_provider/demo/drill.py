"""``make drill``: a production is made, backed up and damaged, and the shipped DAG drills it on a real Airflow."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from airflow_dr_provider.cli.summary import summary_lines
from airflow_dr_provider.demo.cluster import Cluster
from airflow_dr_provider.demo.scene import BACKUPS, DAMAGED, Scene, make_scene, remains
from airflow_dr_provider.factory.thin import THIN_DAG, THIN_REAPER, THIN_WATCH
from airflow_dr_provider.state.records import Transition
from airflow_dr_provider.state.store import Store

_LIMIT_SECONDS = 300.0


def say(line: str) -> None:
    """One line on the screen, at once."""
    print(line, flush=True)


def place_dags(scene: Scene) -> None:
    """Lay the shipped thin DAG files beside the scene's spec."""
    (scene.dags / "orders.py").write_text(THIN_DAG)
    (scene.dags / "dr_reaper.py").write_text(THIN_REAPER)
    (scene.dags / "dr_watch.py").write_text(THIN_WATCH)


def run_drill_demo(record: Path) -> int:
    """The whole demonstration; 0 when it ended as it is made to end."""
    begun = time.monotonic()
    scene = make_scene(lambda line: say(f"  {line}"))
    try:
        place_dags(scene)
        os.environ.update(scene.environment())
        say(f"  Airflow starts ({time.monotonic() - begun:.0f} s so far)")
        with Cluster(scene.folder / "airflow", scene.dags, scene.environment()) as cluster:
            dag_run = cluster.trigger("orders")
            say(f"  Airflow runs the DAG orders ({time.monotonic() - begun:.0f} s so far)")
            state = _watch(cluster, scene, "orders", dag_run)
            tasks = cluster.tasks("orders", dag_run)
        document = _document(scene)
        wrong = _expectations(scene, document, state, tasks)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(document, indent=2) + "\n")
    finally:
        scene.remove()
    wrong += [f"still running: {line}" for line in remains(scene.folder)]
    for line in summary_lines(document, record_place=str(record)):
        say(line)
    for line in wrong:
        print(f"  NOT AS EXPECTED: {line}", file=sys.stderr)
    say(f"  {time.monotonic() - begun:.0f} s in all; {'as expected' if not wrong else 'NOT as expected'}")
    return 1 if wrong else 0


def _watch(cluster: Cluster, scene: Scene, dag_id: str, dag_run: str) -> str:
    """Print the run's log as it grows, until Airflow says that the DAG run is over; its state."""
    store = Store.open(scene.state)
    shown = 0
    deadline = time.monotonic() + _LIMIT_SECONDS
    try:
        while True:
            state = cluster.state(dag_id, dag_run)
            for run in store.runs(dag_id, limit=1):
                log = store.transitions(run.id)
                for entry in log[shown:]:
                    say(_line(entry, store))
                shown = len(log)
            if state in ("success", "failed"):
                return state
            cluster.check_alive()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the DAG run was not over after {_LIMIT_SECONDS:.0f} s: {cluster.tasks(dag_id, dag_run)}")
            time.sleep(0.25)
    finally:
        store.close()


def _line(entry: Transition, store: Store) -> str:
    """One entry of the log: a stage that ended, or a move of the chain."""
    place, _, stage = entry.source.partition("/")
    if not stage:
        why = f" ({entry.detail})" if entry.detail else ""
        return f"  → {entry.source} → {entry.destination}: {entry.reason}{why}"
    result = next((done.result for done in store.checkpoints(entry.attempt_id or "") if done.stage.value == stage), None)
    mark = {"PASSED": "✓", "FAILED": "✗"}.get(entry.destination, "?")
    code = f"{entry.signature}: " if entry.signature else ""
    detail, seconds = (result.detail, result.elapsed_seconds) if result is not None else ("", 0.0)
    return f"  {mark} {place:<12} {stage:<10} {seconds:7.2f} s  {code}{detail}"


def _document(scene: Scene) -> dict[str, Any]:
    store = Store.open(scene.state)
    try:
        (run,) = store.runs("orders", limit=2)
        if run.record is None:
            raise RuntimeError("the drill's run was never closed: its record is missing")
        broken = store.broken_link(run.id)
        if broken is not None:
            raise RuntimeError(f"the log's entry {broken} doesn't fit the one before it")
        return {**run.record, "unreleased": [resource.name for resource in store.unreleased()]}
    finally:
        store.close()


def _expectations(scene: Scene, document: dict[str, Any], state: str, tasks: dict[str, str]) -> list[str]:
    """Everything in which the drill's end differs from what the demonstration is made to show."""
    first, *others = document["attempts"] or [{}]
    carried = others[-1] if others else {}
    beat = document["achieved"]["rpo_source"] if document.get("achieved") else None
    expected: list[tuple[str, Any, Any]] = [
        ("outcome", document["outcome"], "RECOVERED_DEGRADED"),
        ("state of the DAG run", state, "success"),
        ("backup tried first", first.get("candidate"), DAMAGED),
        ("why it was refused", first.get("signature"), "BACKUP_CHECKSUM_MISMATCH"),
        ("stages of the refused attempt", [s["name"] for s in first.get("stages", [])][-2:], ["restore", "teardown"]),
        ("backup that carried it", document["backup"], BACKUPS[-2]),
        ("tier that carried it", document["tier"], "secondary"),
        ("target of both attempts", _target(first), _target(carried)),
        ("what proves the RPO", beat, "heartbeat"),
        ("the heartbeat recovered", _heartbeat(carried), scene.last_beat),
        ("leftovers", document["leftovers"], []),
        ("resources not released", document["unreleased"], []),
        ("folders of sandboxes", sorted(p.name for p in scene.workdir.iterdir()) if scene.workdir.exists() else [], []),
    ]
    return [f"{what}: {found!r}, not {wanted!r}" for what, found, wanted in expected if found != wanted]


def _target(attempt: dict[str, Any]) -> Any:
    select = next((stage for stage in attempt.get("stages", []) if stage["name"] == "select"), None)
    return select["facts"]["coordinate"]["target"] if select else None


def _heartbeat(attempt: dict[str, Any]) -> Any:
    check = next((check for check in attempt.get("checks", []) if check["name"] == "freshness"), None)
    return check["facts"].get("newest") if check else None
