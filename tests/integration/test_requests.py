"""What a person asks of one run on the command line; and that what outlives a run has an end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from tests.support.drills import SECOND_TIER, Bench

pytestmark = pytest.mark.postgres


def test_a_later_tier_and_another_target(bench: Bench) -> None:
    bench.write(more=SECOND_TIER)
    lsn = bench.run("--reason", "first")["target"]["lsn"]
    record = bench.run("--first-tier", "secondary", "--target", f"lsn={lsn}", "--reason", "an audit of the second way")
    assert (record["outcome"], record["tier"], record["not_tried"]) == ("RECOVERED_DEGRADED", "secondary", ["primary"])
    assert record["target"]["requested"]["value"] == lsn
    assert record["request"]["reason"] == "an audit of the second way"
    assert bench.left() == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--target", "lsn=nothing"), "target_value"),
        (("--first-tier", "tape"), "no tier 'tape'"),
        (("--keep-for", "2h"), "Give a reason"),
        (("--first-tier", "secondary", "--inject", "heap_bytes@primary"), "isn't tried"),
    ],
)
def test_what_is_refused_opens_no_run(bench: Bench, options: tuple[str, ...], told: str) -> None:
    bench.write(more=SECOND_TIER)
    done = bench.call("run", str(bench.spec), *options)
    assert done.returncode == 2
    assert told in done.stderr
    store = bench.store()
    assert store.runs() == ()
    store.close()


def test_a_server_that_is_kept_outlives_its_process_and_not_its_lease(bench: Bench) -> None:
    bench.write(more=SECOND_TIER)
    record = bench.run("--keep-for", "1h", "--reason", "a look at a lost row")
    assert (record["outcome"], record["exit_code"], record["leftovers"]) == ("RECOVERED", 0, [])
    [kept] = record["kept"]
    login = json.loads(Path(kept["credentials"]).read_text())["smoke"]

    def answers() -> bool:
        try:
            with psycopg.connect(
                host=kept["address"], port=kept["port"], user=login["user"], password=login["password"], dbname="postgres"
            ) as connection:
                return connection.execute("SELECT true").fetchone() == (True,)
        except psycopg.OperationalError:
            return False

    assert answers()
    assert "in use" in bench.call("reap").stdout
    assert bench.run("--reason", "another run beside it")["outcome"] == "RECOVERED"
    assert answers()
    store = bench.store()
    [resource] = store.unreleased()
    assert datetime.now(UTC) < resource.lease_until
    with store._writing() as connection:
        connection.exec_driver_sql("UPDATE dr_resources SET lease_until = '2026-01-01T00:00:00.000000+00:00'")
    store.close()
    assert "released" in bench.call("reap").stdout
    assert not answers()
    assert bench.left() == []


def test_what_failed_is_not_kept(bench: Bench) -> None:
    bench.write(more=SECOND_TIER)
    record = bench.run("--keep-for", "1h", "--reason", "x", "--inject", "control_damaged")
    [kept] = record["kept"]
    assert [attempt["sandbox"]["released"] for attempt in record["attempts"]] == [True, False]
    assert kept["name"] == record["attempts"][1]["sandbox"]["name"]
    bench.call("reap", "--all")
    assert bench.left() == []
