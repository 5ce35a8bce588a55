"""What a drill tells the systems around it: numbers to a statistics server, folds to its logs, events to OpenLineage."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.verdicts import StageName
from tests.scenarios.conftest import Stage

pytestmark = [pytest.mark.postgres, pytest.mark.airflow]

SCRIPT = """
import sys
from datetime import datetime, UTC
from pathlib import Path
try:  # as the task runner does when it starts
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
except ImportError:
    pass
from tests.support.airflow_parts import dag_bag
folder = Path(sys.argv[1])
dag = dag_bag(folder / "matrix.py", bundle=folder, name="dags-folder").dags["matrix"]
run = dag.test(logical_date=datetime.fromisoformat(sys.argv[3]), run_conf={"as_of": sys.argv[2]}, mark_success_pattern="triage")
print("STATE", run.state)
"""


@dataclass(frozen=True)
class Told:
    """What one run of the drill told."""

    metrics: dict[str, str]
    log: str
    events: list[dict[str, Any]]


def run(stage: Stage, place: Path, moment: str, **environment: str) -> Told:
    """One run in a process of its own, a statistics server listening."""
    dags = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(dags), stage.disaster.isoformat(), moment],
            env={
                **os.environ,
                "AIRFLOW_DR_STATE": f"sqlite:///{place}/state.db",
                "AIRFLOW_DR_WORKDIR": str(place / "work"),
                "AIRFLOW__METRICS__STATSD_ON": "True",
                "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
                "AIRFLOW__METRICS__STATSD_PORT": str(server.getsockname()[1]),
                "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                    {"type": "file", "log_file_path": str(place / "events.jsonl"), "append": True}
                ),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert re.search(r"^STATE .*success", done.stdout, re.M), said[-4000:]
        metrics = dict(line.split(":", 1) for line in received(server))
    events = place / "events.jsonl"
    lines = events.read_text().splitlines() if events.exists() else []
    return Told(metrics=metrics, log=said, events=[json.loads(line) for line in lines])


def received(server: socket.socket) -> Iterator[str]:
    while True:
        try:
            yield from server.recv(1 << 16).decode().splitlines()
        except TimeoutError:
            return


@pytest.fixture(scope="module")
def plain(stage: Stage) -> Iterator[Told]:
    """A run with plain StatsD."""
    place = Path(tempfile.mkdtemp(prefix="dr-"))
    place.chmod(0o755)
    yield run(stage, place, "2025-01-01T00:00:00+00:00")
    shutil.rmtree(place)


def value(told: Told, name: str) -> float:
    return float(told.metrics[name].partition("|")[0])


def test_the_numbers_of_a_run(plain: Told) -> None:
    own = {name: value for name, value in plain.metrics.items() if name.startswith("airflow.dr.")}
    assert own["airflow.dr.matrix.run.RECOVERED.count"] == "1|c"
    assert own["airflow.dr.matrix.run.leftovers"] == "0|g"
    assert own["airflow.dr.matrix.run.rto_objective_seconds"].startswith("1800")
    assert 0 < value(plain, "airflow.dr.matrix.run.rto_seconds") < 1800
    assert 0 <= value(plain, "airflow.dr.matrix.run.rpo_seconds") < 3600
    for stage in ("select", "reserve", "provision", "restore", "warm", "validate", "teardown"):
        assert own[f"airflow.dr.matrix.stage.primary.{stage}.PASSED.count"] == "1|c"
        assert own[f"airflow.dr.matrix.stage.primary.{stage}.PASSED.duration"].endswith("|ms")
    assert own["airflow.dr.matrix.check.primary.smoke_orders_present.PASSED.count"] == "1|c"
    # A restore of a real cluster takes longer than a hundredth of a second: milliseconds, as Airflow's own.
    assert value(plain, "airflow.dr.matrix.stage.primary.restore.PASSED.duration") > 10


def test_the_log_has_a_fold_for_each_stage(plain: Told) -> None:
    folds = re.findall(r"::group::(primary \w+)", plain.log)
    assert folds == [f"primary {name.value}" for name in StageName]
    assert plain.log.count("::endgroup::") >= len(folds)
    inside = plain.log.split("::group::primary validate", 1)[1].split("::endgroup::", 1)[0]
    assert "smoke:orders_present: PASSED" in inside
    below = plain.log.split("::group::primary validate", 1)[1].split("::endgroup::", 1)[1]
    assert re.search(r"primary validate: PASSED in [\d.]+ s, \d+ checks", below)


def test_with_tags(stage: Stage, place: Path) -> None:
    """Airflow's influx style writes tags behind the name; a datadog client needs a package that isn't here."""
    told = run(stage, place, "2025-01-02T00:00:00+00:00", AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED="True")
    assert told.metrics["airflow.dr.run.count,drill=matrix,outcome=RECOVERED"] == "1|c"
    assert "airflow.dr.stage.duration,drill=matrix,tier=primary,stage=restore,verdict=PASSED" in told.metrics
    assert not [name for name in told.metrics if name.startswith("airflow.dr.matrix.")]


# -- OpenLineage -------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(find_spec("openlineage") is None, reason="the OpenLineage provider is not installed")
def test_lineage_from_the_backup_to_the_copy_to_the_outcome(plain: Told, stage: Stage) -> None:
    ended = {event["job"]["name"]: event for event in plain.events if event["eventType"] == "COMPLETE"}
    backup = [(f"basebackup:{stage.folder}/backups", "second")]
    restore = ended["matrix.primary.restore"]
    assert [(entry["namespace"], entry["name"]) for entry in restore["inputs"]] == backup
    ((copy,),) = [[(entry["namespace"], entry["name"]) for entry in restore["outputs"]]]
    facet = restore["run"]["facets"]["airflowDr_stage"]
    assert (facet["drill"], facet["tier"], facet["stage"], facet["verdict"]) == ("matrix", "primary", "restore", "PASSED")
    assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", facet["recoveryTarget"])
    gate = ended["matrix.primary.gate"]
    (judged,) = gate["inputs"]
    assert (judged["namespace"], judged["name"]) == copy
    asserted = {entry["assertion"]: entry["success"] for entry in judged["inputFacets"]["dataQualityAssertions"]["assertions"]}
    assert asserted["smoke:orders_present"] is True
    report = ended["matrix.report"]
    assert [(entry["namespace"], entry["name"]) for entry in report["inputs"]] == backup
    outcome = report["run"]["facets"]["airflowDr_outcome"]
    assert (outcome["outcome"], outcome["exitCode"], outcome["leftovers"]) == ("RECOVERED", 0, 0)
    assert outcome["rtoSeconds"] > 0
