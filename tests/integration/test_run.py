"""``airflow-dr run`` on a real repository: every way in which a drill is meant to end."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.demo.production import flip_byte
from tests.support.drills import SECOND_TIER, Bench, Repository, end

pytestmark = pytest.mark.postgres


def damage(bench: Bench, backup: str) -> None:
    """Invert a byte in the biggest relation file of a backup."""
    files = [path for path in (bench.backups / backup / "base").rglob("*") if path.is_file()]
    flip_byte(max(files, key=lambda path: (path.stat().st_size, path.name)))


def moves(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(move["from"], move["to"], move["reason"]) for move in document["transitions"]]


def test_a_sound_repository_is_recovered(bench: Bench, repository: Repository) -> None:
    document = bench.run()
    assert (document["outcome"], document["tier"], document["backup"]) == ("RECOVERED", "primary", "third")
    assert document["achieved"]["rpo_source"] == "heartbeat"
    lost = (bench.disaster - repository.facts["heartbeat"]).total_seconds()
    assert document["achieved"]["rpo_seconds"] == pytest.approx(lost, abs=0.01)
    assert set(document["achieved"]["stages"]) >= {"open", "select", "reserve", "provision", "restore", "validate"}
    assert document["achieved"]["rto_seconds"] == pytest.approx(sum(document["achieved"]["stages"].values()), abs=0.01)
    assert [stage["name"] for stage in document["attempts"][0]["stages"]] == [
        "select", "reserve", "provision", "restore", "validate", "teardown",
    ]  # fmt: skip
    assert moves(document) == [("start", "primary", "opened"), ("primary", "recovered", "passed")]
    assert document["attempts"][0]["sandbox"]["released"] is True
    assert document["leftovers"] == []


def test_a_damaged_backup_is_refused_before_a_server_is_started(bench: Bench) -> None:
    damage(bench, "third")
    bench.write(more=SECOND_TIER)
    document = bench.run()
    assert (document["outcome"], document["exit_code"]) == ("RECOVERED_DEGRADED", 3)
    assert (document["tier"], document["backup"]) == ("secondary", "second")
    first, second = document["attempts"]
    assert (first["candidate"], first["verdict"], first["signature"]) == ("third", "FAILED", "BACKUP_CHECKSUM_MISMATCH")
    assert [stage["name"] for stage in first["stages"]] == ["select", "reserve", "provision", "restore", "teardown"]
    assert "recovery" not in first["stages"][3]["facts"]
    targets = [attempt["stages"][0]["facts"]["coordinate"]["target"] for attempt in (first, second)]
    assert targets[0] == targets[1]
    assert moves(document)[1] == ("primary", "secondary", "BACKUP_CHECKSUM_MISMATCH")


def test_the_last_tier_takes_the_next_backup(bench: Bench) -> None:
    damage(bench, "third")
    damage(bench, "second")
    document = bench.run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED_DEGRADED", "first")
    assert [attempt["number"] for attempt in document["attempts"]] == [1, 2, 3]
    assert moves(document)[-1] == ("primary#3", "recovered", "passed")


def test_a_quarantined_backup_is_passed_over_by_the_next_run(bench: Bench) -> None:
    damage(bench, "third")
    bench.run()
    document = bench.run()
    assert (document["outcome"], document["backup"], len(document["attempts"])) == ("RECOVERED", "second", 1)


def test_no_backup_is_left(bench: Bench) -> None:
    for name in ("first", "second", "third"):
        damage(bench, name)
    document = bench.run()
    assert (document["outcome"], document["exit_code"]) == ("MANUAL_TRIAGE", 1)
    assert moves(document)[-1][1] == "manual_triage"


@pytest.mark.parametrize("loss", ["manifest", "base"])
def test_an_unusable_newest_backup_is_a_finding(bench: Bench, loss: str) -> None:
    if loss == "manifest":
        (bench.backups / "third" / "backup_manifest").unlink()
    else:
        (bench.backups / "third" / "backup_label").unlink()
    document = bench.run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED", "second")
    assert any("third" in finding["subject"] for finding in document["findings"])


def test_a_hole_that_no_backup_gets_over(bench: Bench, repository: Repository) -> None:
    (bench.archive / repository.facts["filler_after_third"]).unlink()
    document = bench.run()
    assert (document["outcome"], document["exit_code"]) == ("RECOVERED_DEGRADED", 3)
    assert any(finding["signature"] == "WAL_HOLE" for finding in document["findings"])
    assert document["achieved"]["rpo_seconds"] > (bench.disaster - repository.facts["heartbeat"]).total_seconds()


def test_a_hole_behind_the_newest_backup_stops_nothing(bench: Bench, repository: Repository) -> None:
    (bench.archive / repository.facts["filler_after_first"]).unlink()
    document = bench.run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED", "third")
    assert any(finding["signature"] == "WAL_HOLE" for finding in document["findings"])


def test_a_hole_and_a_damaged_newest_backup(bench: Bench, repository: Repository) -> None:
    (bench.archive / repository.facts["filler_after_second"]).unlink()
    damage(bench, "third")
    document = bench.run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED_DEGRADED", "second")
    assert document["target"]["short"] is True


def test_a_damaged_segment_after_the_newest_backup(bench: Bench, repository: Repository) -> None:
    flip_byte(bench.archive / repository.facts["segment_after_third"], 8192 * 3 + 64)
    document = bench.run()
    assert document["outcome"] in ("RECOVERED_DEGRADED", "MANUAL_TRIAGE")
    assert document["attempts"][0]["signature"] == "WAL_SEGMENT_DAMAGED"


def test_a_stray_history_file_is_no_timeline(bench: Bench) -> None:
    (bench.archive / "00000002.history").write_text("1\t0/3000000\tno recovery target specified\n")
    document = bench.run()
    assert (document["outcome"], document["target"]["timeline"]) == ("RECOVERED", 1)


def test_a_target_in_time(bench: Bench, repository: Repository) -> None:
    moment = repository.facts["before_last"]
    bench.write(target=f'{{time: "{moment.isoformat()}"}}')
    document = bench.run()
    assert document["outcome"] == "RECOVERED"
    assert document["target"]["inclusive"] is False
    assert 0 <= document["achieved"]["rpo_seconds"] < 60


@pytest.mark.parametrize("kind", ["xid", "restore_point", "lsn"])
def test_other_targets(bench: Bench, repository: Repository, kind: str) -> None:
    value = {"xid": repository.facts["xid"], "restore_point": "before_the_mistake"}.get(kind)
    if kind == "lsn":
        value = bench.run()["target"]["lsn"]
    bench.write(target=f'{{{kind}: "{value}"}}')
    document = bench.run()
    assert document["outcome"] == "RECOVERED", document


@pytest.mark.parametrize(
    "target",
    ['{time: "2999-01-01T00:00:00+00:00"}', '{time: "2001-01-01T00:00:00+00:00"}', '{lsn: "FF/0"}', '{xid: "4000000"}',
     "{restore_point: never_made}", '{lsn: "0/1000028"}'],
)  # fmt: skip
def test_a_target_that_nothing_reaches_is_for_a_person(bench: Bench, target: str) -> None:
    bench.write(target=target)
    document = bench.run()
    assert (document["outcome"], document["exit_code"], document["attempts"]) == ("MANUAL_TRIAGE", 1, [])
    assert document["error"]["signature"] in ("TARGET_IN_FUTURE", "TARGET_UNREACHABLE")


def test_a_loss_beyond_the_rpo_is_for_a_person(bench: Bench) -> None:
    document = bench.run(as_of=bench.disaster + timedelta(hours=2))
    assert (document["outcome"], document["exit_code"]) == ("MANUAL_TRIAGE", 1)
    assert document["attempts"][0]["signature"] == "RPO_EXCEEDED"
    assert [stage["name"] for stage in document["attempts"][0]["stages"]] == ["select", "teardown"]


def test_a_wider_tier_takes_what_the_first_one_may_not(bench: Bench) -> None:
    bench.write(more="  - {name: cold, role: cold_storage, sandbox: {kind: process}, timeout: 5m, profile: light, rpo: 1d}")
    document = bench.run(as_of=bench.disaster + timedelta(hours=2))
    assert (document["outcome"], document["tier"]) == ("RECOVERED_DEGRADED", "cold")
    assert document["backup"] == "third"


@pytest.mark.parametrize("loss", ["no_folder", "empty", "no_archive", "no_state", "unwritable_work"])
def test_what_can_not_be_used_is_said_in_a_sentence(bench: Bench, loss: str) -> None:
    arguments: tuple[str, ...] = ()
    if loss == "no_folder":
        bench.backups.rename(bench.folder / "elsewhere")
    elif loss == "empty":
        for path in list(bench.backups.iterdir()):
            subprocess.run(["rm", "-r", str(path)], check=True)
    elif loss == "no_archive":
        bench.archive.rename(bench.folder / "elsewhere")
    elif loss == "no_state":
        arguments = ("--state", "postgresql://nobody:secret@127.0.0.1:1/nothing")
    else:
        (bench.folder / "file").write_text("")
        arguments = ("--workdir", str(bench.folder / "file" / "work"))
    document = bench.run(*arguments)
    assert (document["outcome"], document["exit_code"]) == ("COULD_NOT_VERIFY", 2)
    assert "secret" not in str(document)
    assert document["leftovers"] == []


def test_a_typo_in_the_spec(bench: Bench) -> None:
    bench.spec.write_text(bench.spec.read_text().replace("timeout:", "timeuot:"))
    document = bench.run()
    assert document["exit_code"] == 2
    assert "orders.yaml:" in document["error"]["message"]
    assert "timeout" in document["error"]["message"]


def test_production_as_the_reference(bench: Bench, repository: Repository) -> None:
    bench.environment["AIRFLOW_CONN_ORDERS_RO"] = repository.production.uri
    bench.write(source="production_conn_id: orders_ro", profile="full")
    document = bench.run()
    assert document["outcome"] == "RECOVERED", document["attempts"]
    checks = {check["name"]: check["verdict"] for check in document["attempts"][0]["checks"]}
    assert checks["schema_drift"] == checks["indexes"] == checks["amcheck"] == "PASSED"
    bench.environment["AIRFLOW_CONN_ORDERS_RO"] = "postgresql://orders_ro@127.0.0.1:1/postgres"
    document = bench.run()
    assert document["outcome"] == "RECOVERED"
    assert any("serves" in finding["detail"] for finding in document["findings"])


def test_production_that_was_never_reached(bench: Bench) -> None:
    bench.environment["AIRFLOW_CONN_ORDERS_RO"] = "postgresql://orders_ro@127.0.0.1:1/postgres"
    bench.write(source="production_conn_id: orders_ro")
    document = bench.run()
    assert (document["exit_code"], document["attempts"]) == (2, [])
    assert document["error"]["signature"] == "PRODUCTION_UNREACHABLE"


def test_a_failing_smoke_test_moves_the_chain(bench: Bench) -> None:
    bench.spec.write_text(bench.spec.read_text().replace("count(*) > 0", "count(*) < 0"))
    document = bench.run()
    assert (document["outcome"], document["exit_code"]) == ("MANUAL_TRIAGE", 1)
    assert {attempt["signature"] for attempt in document["attempts"]} == {"SMOKE_FAILED", "NO_CANDIDATE"}


def test_a_signal_cleans_up(bench: Bench) -> None:
    process = subprocess.Popen(
        bench.command("run", str(bench.spec), "--json", "--as-of", bench.disaster.isoformat()),
        env=bench.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
    )  # fmt: skip
    await_sandbox(bench)
    assert end(process) == 128 + 15
    assert process.stdout is not None
    assert b'"error"' in process.stdout.read()
    assert bench.left() == []


def test_a_second_run_is_refused_and_may_wait(bench: Bench) -> None:
    first = subprocess.Popen(
        bench.command("run", str(bench.spec), "--as-of", bench.disaster.isoformat()),
        env=bench.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip
    await_sandbox(bench)
    document = bench.run()
    assert (document["exit_code"], document["error"]["signature"]) == (2, "ALREADY_RUNNING")
    waited = bench.run("--wait")
    assert waited["outcome"] == "RECOVERED"
    assert first.wait(60) == 0


def await_sandbox(bench: Bench) -> None:
    """Wait until a sandbox's folder is there."""
    deadline = time.monotonic() + 60
    while not (bench.workdir.exists() and any(bench.workdir.iterdir())):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_record_is_written_where_it_is_wanted(bench: Bench) -> None:
    place = bench.folder / "record.json"
    document = bench.run("--record", str(place))
    assert document["run_id"] in place.read_text()
    refused = bench.call("run", str(bench.spec), "--record", "/nowhere/record.json")
    assert refused.returncode == 2
    assert "/nowhere/record.json" in refused.stderr


def test_a_deep_work_folder(bench: Bench) -> None:
    deep = bench.folder / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    document = bench.run("--workdir", str(deep / "work"))
    assert document["outcome"] == "RECOVERED", document
    assert list(deep.iterdir()) == [] or list((deep / "work").iterdir()) == []


def test_a_last_good_run_is_the_next_ones_reference(bench: Bench) -> None:
    assert bench.run()["outcome"] == "RECOVERED"
    document = bench.run()
    checks = {check["name"]: check["verdict"] for check in document["attempts"][0]["checks"]}
    assert checks["schema_drift"] == checks["indexes"] == checks["row_counts"] == "PASSED"


def test_what_production_made_right_after_a_good_runs_point_is_made_since(bench: Bench) -> None:
    """Though the copy that became the reference gave out the same transaction ids for its own work."""
    bench.write(target="{restore_point: before_the_mistake}")
    assert bench.run()["outcome"] == "RECOVERED"
    bench.write()
    document = bench.run()
    assert (document["outcome"], document["attempts"][0]["signature"]) == ("RECOVERED", None), document["attempts"][0]["detail"]
    (drift,) = (check for check in document["attempts"][0]["checks"] if check["name"] == "schema_drift")
    assert "table public.made_next extra" in drift["detail"]


def test_the_permission_of_a_backup(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root reads everything")
    for path in [bench.backups / "third", *(bench.backups / "third").rglob("*")]:
        os.chown(path, 12345, 12345, follow_symlinks=False)
    assert bench.run()["backup"] == "third"


def test_the_folder_of_the_spec_is_where_paths_start(bench: Bench, tmp_path: Path) -> None:
    document = bench.run()
    assert str(bench.backups) in str(document["spec"]["snapshot"])
