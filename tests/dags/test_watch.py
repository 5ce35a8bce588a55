"""The watch's DAG as Airflow has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.sdk import TriggerRule

from airflow_dr_provider.factory import build_watch_dag
from airflow_dr_provider.factory.thin import THIN_DAG, THIN_WATCH
from airflow_dr_provider.operators.catalog_watch import backup_alias, restorable_asset
from tests.dags.conftest import text
from tests.support.airflow_parts import DagSerialization, dag_bag

pytestmark = pytest.mark.airflow

BAD = text(drill="broken").replace("timeout: 10m", "timeot: 10m")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A DAGs folder with the watch, two drills, a bad spec in a folder below, and YAML that is no drill."""
    (tmp_path / "below").mkdir()
    for name, content in {
        "orders.yaml": text(),
        "billing.yaml": text(drill="billing"),
        "below/broken.yaml": BAD,
        "values.yaml": "replicas: 3\n",
        "orders.py": THIN_DAG,
        "dr_watch.py": THIN_WATCH,
    }.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def test_one_group_a_drill_and_a_bad_spec_beside_them(folder: Path) -> None:
    bag = dag_bag(folder, bundle=folder, name="test")
    assert bag.import_errors == {}
    dag = bag.dags["dr_watch"]
    assert sorted(dag.task_ids) == [
        "bad_spec_below_broken", "billing.findings", "billing.scan", "orders.findings", "orders.scan",
    ]  # fmt: skip
    assert set(dag.task_group.children) == {"bad_spec_below_broken", "billing", "orders"}
    assert "broken.yaml:11: tiers[0].timeot: is no key here" in dag.task_dict["bad_spec_below_broken"].message


def test_its_shape(folder: Path) -> None:
    dag = build_watch_dag(folder)
    dag.validate()
    assert (dag.dag_id, dag.schedule, dag.max_active_runs, dag.catchup) == ("dr_watch", "*/15 * * * *", 1, False)
    scan, findings = dag.task_dict["orders.scan"], dag.task_dict["orders.findings"]
    assert scan.outlets == [restorable_asset("orders"), backup_alias("orders")]
    assert (findings.outlets, findings.upstream_task_ids) == ([], {"orders.scan"})
    assert findings.trigger_rule == TriggerRule.NONE_FAILED, "nothing to publish is when it is needed most"
    assert findings.scan == "{{ ti.xcom_pull(task_ids='orders.scan', key='scan') }}"
    assert not dag.task_dict["billing.scan"].upstream_task_ids, "drills don't wait for each other"
    assert dag.timetable.can_be_scheduled


def test_the_asset() -> None:
    asset = restorable_asset("orders")
    assert (asset.name, asset.uri) == ("dr://orders/restorable", "dr://orders/restorable")


def test_another_schedule_and_another_folder(folder: Path) -> None:
    dag = build_watch_dag(folder / "dr_watch.py", dag_id="watch_below", schedule="0 * * * *")
    assert (dag.dag_id, dag.schedule) == ("watch_below", "0 * * * *")
    assert build_watch_dag(folder / "below").task_ids == ["bad_spec_broken"]


def test_names_that_would_be_the_same(folder: Path) -> None:
    (folder / "bad_spec_one.yaml").write_text(text(drill="bad_spec_broken"))
    (folder / "broken.yaml").write_text(BAD)
    (folder / "below_broken.yaml").write_text(BAD)
    assert {task for task in build_watch_dag(folder).task_ids if "bad_spec" in task} == {
        "bad_spec_broken.scan", "bad_spec_broken.findings", "bad_spec_broken_", "bad_spec_below_broken", "bad_spec_below_broken_",
    }  # fmt: skip


def test_no_drill_at_all(tmp_path: Path) -> None:
    assert build_watch_dag(tmp_path).task_ids == []


def test_it_is_the_same_in_every_process(folder: Path) -> None:
    script = (
        "import json, sys\n"
        "from tests.support.airflow_parts import DagSerialization\n"
        "from airflow_dr_provider.factory import build_watch_dag\n"
        "print('JSON', json.dumps(DagSerialization.to_dict(build_watch_dag(sys.argv[1])), sort_keys=True))\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "4242")
    ]
    said = set()
    for process in running:
        out, err = process.communicate(timeout=120)
        line = next((line for line in out.splitlines() if line.startswith("JSON ")), None)
        assert line is not None, err[-2000:]
        said.add(line)
    assert len(said) == 1


def test_it_survives_serialisation(folder: Path) -> None:
    dag = build_watch_dag(folder)
    again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert set(again.task_ids) == set(dag.task_ids)
    assert [asset.name for asset in again.task_dict["orders.scan"].outlets] == ["dr://orders/restorable", "dr://orders/backup"]
