"""Routing on whole drills: what a tier's gate runs, the manifest of it, checks of one's own, and queries that are watched."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.evidence.drill_context import verified_context
from tests.support.drills import Bench
from tests.support.packages import install_checks

pytestmark = pytest.mark.postgres

NEVER_QUIET = "SELECT count(*) FROM orders WHERE amount = 7"


def write(bench: Bench, *, tier: str = "", end: str = "", smoke: str = '{name: a, sql: "SELECT true"}') -> None:
    """A spec with one tier that tries one backup."""
    bench.write(profile="light")
    text = bench.spec.read_text()
    text = text[: text.index("smoke:")].replace("profile: light", f"profile: light{tier}")
    bench.spec.write_text(f"{text}selection: {{candidates: 1}}\nsmoke:\n  - {smoke}\n{end}")


def checks(document: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {check["name"]: (check["verdict"], check["signature"]) for check in document["attempts"][0]["checks"]}


def with_packages(bench: Bench) -> None:
    place = bench.folder / "packages"
    place.mkdir()
    bench.environment["PYTHONPATH"] = f"{install_checks(place)}:{Path(__file__).parents[2]}"


def test_a_tier_has_what_its_profile_and_its_overrides_say_and_the_manifest_tells_it(bench: Bench) -> None:
    with_packages(bench)
    write(
        bench,
        tier=", checks: {include: [write, balance], exclude: [slow, isolation]}",
        smoke='{name: a, sql: "SELECT 7", expect: 7}\n  - {name: b, sql: "SELECT false", tags: [slow]}',
    )
    document = bench.run()
    assert document["outcome"] == "RECOVERED", checks(document)
    assert list(checks(document)) == [
        "health", "checksum", "system_identifier", "wal_replay", "recovery_target", "archiving_off", "dependencies", "side_effects",
        "freshness", "smoke:a", "synthetic_transaction", "balance",
    ]  # fmt: skip
    assert {verdict for verdict, _ in checks(document).values()} == {"PASSED"}

    manifest = bench.call("manifest", document["run_id"])
    assert manifest.returncode == 0, manifest.stderr
    made = json.loads(manifest.stdout)
    (restore,) = (stage for stage in document["attempts"][0]["stages"] if stage["name"] == "restore")
    assert restore["facts"]["manifest"] == made
    assert [check["name"] for check in made["checks"]][-2:] == ["synthetic_transaction", "balance"]
    assert made["smoke"] == ["a"]
    assert made["context"]["tier"] == "primary"
    assert made["endpoint"]["address"].startswith(str(bench.workdir))
    context = verified_context(made["header"], made["public_key"], now=datetime.fromisoformat(made["made_at"]))
    assert context is not None
    assert context.run_id == document["run_id"]
    header = bench.call("manifest", document["run_id"], "--header")
    assert header.stdout.strip() == f"X-Drill-Context: {made['header']}"


def test_nothing_restored_no_manifest(bench: Bench) -> None:
    assert bench.call("manifest", "no-such-run").returncode == 2
    write(bench)
    for backup in bench.backups.iterdir():
        (backup / "PG_VERSION").write_text("damaged\n")
    document = bench.run()
    done = bench.call("manifest", document["run_id"])
    assert done.returncode == 2
    assert "no restored server yet" in done.stderr


def test_a_check_of_ones_own_that_fails_fails_the_gate_and_a_broken_one_does_not_pass_it(bench: Bench) -> None:
    with_packages(bench)
    write(bench, tier=", checks: {include: [unbalanced, broken]}")
    document = bench.run()
    assert checks(document)["unbalanced"] == ("FAILED", "CUSTOM_CHECK_FAILED")
    assert checks(document)["broken"] == ("COULD_NOT_VERIFY", "CHECK_BROKEN")
    assert document["attempts"][0]["signature"] == "CUSTOM_CHECK_FAILED"
    seen = bench.call("signatures", "orders", "--json")
    assert [(entry["code"], entry["count"]) for entry in json.loads(seen.stdout)] == [("CUSTOM_CHECK_FAILED", 1)]
    assert bench.call("signatures").stdout.startswith("CUSTOM_CHECK_FAILED ")


def test_queries_are_compared_with_the_last_good_run(bench: Bench) -> None:
    query = f"queries:\n  - {{name: by_amount, sql: {json.dumps(NEVER_QUIET)}}}\n"
    write(bench, tier=", checks: {include: [query_plans]}", end=query)
    first = bench.run()
    assert first["outcome"] == "RECOVERED", checks(first)
    assert checks(first)["query:by_amount"] == ("COULD_NOT_VERIFY", "NO_REFERENCE")
    second = bench.run()
    assert checks(second)["query:by_amount"] == ("PASSED", None)

    # As if an index that served the query had been there in the good runs.
    store = bench.store()
    kept = store.latest_reference("orders", "query_baselines")
    assert kept is not None
    before = kept.reference["primary"]["by_amount"]
    assert len(before["latencies"]) == 2
    before["plan"] = {
        "cost": 8.0,
        "root": {"kind": "Index Scan", "relation": "orders", "index": "orders_by_amount", "children": []},
    }
    store.keep_reference(
        kept.model_copy(update={"id": f"{kept.id}-changed", "captured_at": datetime.now(kept.captured_at.tzinfo)})
    )
    store.close()
    third = bench.run()
    assert checks(third)["query:by_amount"] == ("FAILED", "QUERY_PLAN_DEGRADED")
    assert third["outcome"] == "MANUAL_TRIAGE"
    store = bench.store()
    latest = store.latest_reference("orders", "query_baselines")
    assert latest is not None
    assert latest.id.endswith("-changed"), "a gate that failed keeps no baseline"
    store.close()
