"""A drill whose repository a connection names, from the plan to the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.drills import Bench

pytestmark = pytest.mark.postgres

PLACE = "{kind: basebackup, backups: ./backups, archive: ./archive}"


def named(bench: Bench, **extra: str) -> Path:
    """The bench's spec with a connection instead of a place."""
    bench.spec.write_text(bench.spec.read_text().replace(PLACE, "{kind: connection, conn_id: site}"))
    bench.environment["AIRFLOW_CONN_SITE"] = json.dumps({"conn_type": "airflow_dr_repository", "extra": extra})
    return bench.spec


def test_it_is_found_and_the_record_says_where(bench: Bench) -> None:
    place = {"kind": "basebackup", "backups": str(bench.backups), "archive": str(bench.archive)}
    spec = named(bench, **place)
    assert bench.plan()["exit_code"] == 0
    document = bench.run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED", "third")
    assert document["spec"]["snapshot"]["source"]["repository"] == place
    verified = bench.call("verify", str(spec), "--json")
    assert verified.returncode == 0, verified.stderr
    listed = bench.call("quarantine", "list", str(spec))
    assert listed.returncode == 0, listed.stderr
    watched = bench.call("watch", str(spec), "--json")
    assert "CONNECTION_UNKNOWN" not in watched.stdout + watched.stderr
    assert watched.returncode in (0, 1)


@pytest.mark.parametrize("command", ["plan", "run", "verify", "watch"])
def test_one_that_nobody_defined_is_said(bench: Bench, command: str) -> None:
    spec = named(bench, kind="basebackup")
    del bench.environment["AIRFLOW_CONN_SITE"]
    done = bench.call(command, str(spec))
    assert done.returncode == 2
    assert "Export AIRFLOW_CONN_SITE=" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_one_that_names_no_place_is_said(bench: Bench) -> None:
    spec = named(bench, kind="basebackup", backups=str(bench.backups))
    done = bench.call("plan", str(spec))
    assert done.returncode == 2
    assert "The connection site: archive: Field required." in done.stderr
