"""The drills of a world: which target, which reference, which profile; and what is red about an outcome."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_dr_provider.connections import Connection, _from_uri
from airflow_dr_provider.runner import run_drill
from airflow_dr_provider.spec.loader import load_text
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.store import Store
from tests.scenarios.shapes.world import Point, World

SPEC = """\
version: 1
drill: {drill}
objectives: {{rto: 30m, rpo: 6h, mtd: 8h}}
source:
  repository: {repository}
  {connection}heartbeat: {{table: public.dr_heartbeat, column: beat_at}}
  reference: {reference}
target: {target}
selection: {{candidates: 1}}
tiers:
  - {{name: primary, role: staging, sandbox: {{kind: process}}, timeout: 5m, profile: {profile}, cache_warming: {warming}}}
smoke:
  - {{name: orders_present, database: postgres, sql: "SELECT count(*) > 0 FROM orders"}}
queries:
  - {{name: by_customer, database: postgres, sql: "SELECT sum(amount) FROM orders WHERE customer_id = 7"}}
"""
BY_DESIGN = {
    ("NO_REFERENCE", "no good run is kept yet, or the account that read production may not see what would tell"),
    ("INDEX_INVALID", "invalid, and nothing tells how it was in production"),
    ("NO_PAGE_CHECKSUMS", "the cluster was made without page checksums"),
    ("MATVIEW_UNPOPULATED", "empty, and nothing tells how it was in production"),
    ("SEQUENCE_BEHIND", "behind its table, and nothing tells how it was in production"),
    ("COLLATION_DIFFERS", "another version of a collation's library on this host"),
}
"""What a check may leave undecided on a sound copy, never required, and why."""
_DESIGNED = {code for code, _ in BY_DESIGN}


@dataclass(frozen=True)
class Outcome:
    """What a drill made of a sound backup.

    :param reds: sentences; empty when it was right.
    :param undecided: ``check: CODE`` of what a check left undecided by design.
    """

    world: str
    drill: str
    seconds: float
    reds: tuple[str, ...]
    undecided: tuple[str, ...]


def drills(world: World, count: int, chance: random.Random) -> Iterator[Outcome]:
    """Run drills on one world, one after the other, with one state store."""
    store = Store.open(f"sqlite:///{world.folder}/state.db")
    try:
        for number in range(count):
            point = world.points[-1] if number in (0, 1) else chance.choice(world.points)
            yield _drill(world, store, number, point, chance)
    finally:
        store.close()


def _drill(world: World, store: Store, number: int, point: Point, chance: random.Random) -> Outcome:
    # The first two compare with each other: what the first one proved is the second one's reference.
    live = bool(world.shape.account) and number > 1
    profile = "full" if number in (0, 1) else chance.choice(("full", "full", "full", "standard", "light"))
    warming = chance.choice(("none", "none", "light", "full"))
    reference = "production" if live else "last_good_run"
    text = SPEC.format(
        # Against an older reference an object that production dropped counts as lost, so there only the same point compares.
        drill="sound" if live or number < 2 else f"point{world.points.index(point)}",
        repository=world.repository,
        connection="production_conn_id: production\n  " if world.shape.account else "",
        reference=reference,
        target=point.target,
        profile=profile,
        warming=warming,
    )
    services = Services(store=store, workdir=world.folder / "work", connections=lambda _: _connection(world))
    spec = load_text(text, source="sound", base=world.folder)
    moment: datetime = point.moment
    record = asyncio.run(run_drill(services, spec, as_of=moment))
    left = [entry.name for entry in services.workdir.iterdir()] if services.workdir.exists() else []
    seconds = (record.get("achieved") or {}).get("rto_seconds") or 0.0
    reds, undecided = judge(record, left)
    return Outcome(
        world=world.shape.label,
        drill=f"{point.target} {profile} against {reference}, warming {warming}",
        seconds=float(seconds),
        reds=tuple(reds),
        undecided=tuple(undecided),
    )


def _connection(world: World) -> Connection:
    return _from_uri("production", world.connection)


def judge(record: dict[str, Any], left: list[str]) -> tuple[list[str], list[str]]:
    """What is red, and what was left undecided by design, in a record of a sound backup."""
    reds: list[str] = []
    undecided: list[str] = []
    if record["outcome"] != "RECOVERED":
        reds.append(f"outcome {record['outcome']}: {record.get('error') or [a['signature'] for a in record['attempts']]}")
    if record["leftovers"] or left:
        reds.append(f"left behind: {record['leftovers']}, {left}")
    reds += [
        f"finding {finding['signature']}: {finding['detail']}"
        for finding in record["findings"]
        if finding["signature"] not in (None, "NO_REFERENCE")
    ]
    for attempt in record["attempts"]:
        for stage in attempt["stages"]:
            if stage["verdict"] != "PASSED" and stage["name"] != "validate":
                reds.append(f"{stage['name']}: {stage['signature']}: {stage['detail']}")
        for check in attempt["checks"]:
            if check["verdict"] == "PASSED":
                continue
            if check["verdict"] == "COULD_NOT_VERIFY" and not check["required"] and check["signature"] in _DESIGNED:
                undecided.append(f"{check['name']}: {check['signature']}")
            else:
                reds.append(f"{check['name']}: {check['verdict']} {check['signature']}: {check['detail']}")
    return reds, undecided
