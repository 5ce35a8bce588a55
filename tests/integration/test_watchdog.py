"""An attempt that passes a limit ends in order and by a name; one that can't end in time is not begun."""

from __future__ import annotations

import pytest

from airflow_dr_provider.demo.production import flip_byte
from tests.support.drills import Bench

pytestmark = pytest.mark.postgres

TIERS = """\
  - {name: secondary, role: isolated, sandbox: {kind: process}, timeout: 5m, profile: light}
  - {name: cold, role: cold_storage, sandbox: {kind: process}, timeout: 20s, profile: light}
"""


def say(bench: Bench, line: str, *, instead: str = "") -> None:
    """Another line in the spec, or one in place of another."""
    text = bench.spec.read_text()
    assert not instead or instead in text
    bench.spec.write_text(text.replace(instead, line) if instead else f"{text}{line}\n")


def ends(document: dict[str, object]) -> list[tuple[str, str, str]]:
    moves: list[dict[str, str]] = document["transitions"]  # type: ignore[assignment]
    return [(move["from"], move["to"], move["reason"]) for move in moves]


@pytest.mark.parametrize(("limit", "code"), [("memory_free: 1024TiB", "MEMORY_LOW"), ("disk_free: 1024TiB", "DISK_LOW")])
def test_a_limit_that_is_passed_ends_each_attempt(bench: Bench, limit: str, code: str) -> None:
    bench.write(more=TIERS)
    say(bench, f"limits: {{{limit}}}")
    document = bench.run()
    assert (document["outcome"], document["exit_code"], document["leftovers"]) == ("MANUAL_TRIAGE", 1, [])
    assert [reason for _, _, reason in ends(document)] == ["opened", code, code, code]
    restore = document["attempts"][0]["stages"][3]
    assert (restore["name"], restore["signature"]) == ("restore", code)
    assert restore["facts"]["vitals"]["disk_free"] > 0


def test_a_healthy_drill_is_watched_and_passes(bench: Bench) -> None:
    document = bench.run()
    assert document["outcome"] == "RECOVERED"
    seen = {stage["name"]: stage["metrics"] for stage in document["attempts"][0]["stages"]}["restore"]
    assert seen["lowest_disk_free_bytes"] > 32 << 20
    assert seen["lowest_memory_free_bytes"] > 32 << 20


def test_a_server_that_stands_still_is_told_from_one_that_died(bench: Bench) -> None:
    bench.write(more=TIERS)
    say(bench, "limits: {unreachable: 1s}")
    document = bench.run("--inject", "server_frozen")
    assert ends(document)[1:] == [("primary", "secondary", "SERVER_UNREACHABLE"), ("secondary", "recovered", "passed")]
    assert document["injected"][0]["as_expected"]


def test_a_tier_that_can_not_end_in_time_is_not_begun(bench: Bench) -> None:
    """By its timeout at first, and by what it took before as soon as that is known."""
    bench.write(more=TIERS)
    say(bench, "objectives: {rto: 30s, rpo: 1h, mtd: 2m}", instead="objectives: {rto: 30m, rpo: 1h, mtd: 4h}")
    files = [path for path in (bench.backups / "third" / "base").rglob("*") if path.is_file()]
    flip_byte(max(files, key=lambda path: (path.stat().st_size, path.name)))
    document = bench.run()
    assert ends(document)[1:] == [
        ("primary", "secondary", "BACKUP_CHECKSUM_MISMATCH"),
        ("secondary", "cold", "BUDGET_EXHAUSTED"),
        ("cold", "recovered", "passed"),
    ]
    skipped = document["attempts"][1]
    assert [stage["name"] for stage in skipped["stages"]] == ["select", "teardown"]
    assert "300 s by its timeout" in skipped["detail"]
    assert "of the tolerable downtime; it was not begun" in skipped["detail"]
    store = bench.store()
    store.lift_quarantine(store.runs()[0].inputs["repository"], "third", now=bench.disaster)
    store.close()
    # With a generous tolerance the second tier carries a run; after it, what it takes is known.
    say(bench, "mtd: 1d}", instead="mtd: 2m}")
    assert ends(bench.run())[-1][0] == "secondary"
    store = bench.store()
    store.lift_quarantine(store.runs()[0].inputs["repository"], "third", now=bench.disaster)
    store.close()
    say(bench, "mtd: 2m}", instead="mtd: 1d}")
    assert ends(bench.run())[-1][0] == "secondary"


def test_the_tolerable_downtime_ends_what_hangs(bench: Bench) -> None:
    say(bench, "objectives: {rto: 3s, rpo: 1h, mtd: 4s}", instead="objectives: {rto: 30m, rpo: 1h, mtd: 4h}")
    document = bench.run("--inject", "stage_hangs")
    assert ends(document)[-1] == ("primary", "manual_triage", "BUDGET_EXHAUSTED")
    assert document["leftovers"] == []
