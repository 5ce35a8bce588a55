"""From YAML files to what Airflow has of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk import DAG, TriggerRule

from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.factory import load_drills, report_bad_specs
from airflow_dr_provider.factory.thin import THIN_DAG, THIN_REAPER, THIN_WATCH
from tests.dags.conftest import text
from tests.support.airflow_parts import DagBag, DagSerialization, dag_bag, sync_bag_to_db

pytestmark = pytest.mark.airflow

SHIPPED = Path(__file__).parents[2] / "dags"
LOADER = '''"""Every drill of a folder: Airflow DAGs."""
from pathlib import Path
from airflow_dr_provider.factory import load_drills
load_drills(Path(__file__).parent / "specs", globals())
'''
REPORTER = '''"""What is wrong with the specs of a folder: no Airflow DAG."""
from pathlib import Path
from airflow_dr_provider.factory import report_bad_specs
report_bad_specs(Path(__file__).parent / "specs")
'''
BAD = text(drill="broken").replace("timeout: 10m", "timeot: 10m")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A DAGs folder with a loader, a reporter, two good specs and a bad one."""
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "billing.yaml").write_text(text(drill="billing"))
    (specs / "broken.yaml").write_text(BAD)
    (specs / "orders.yaml").write_text(text())
    (tmp_path / "all_drills.py").write_text(LOADER)
    (tmp_path / "bad_drills.py").write_text(REPORTER)
    return tmp_path


def bag(folder: Path) -> DagBag:
    return dag_bag(folder, bundle=folder, name="test")


# -- the shipped folder ------------------------------------------------------------------------------------------------
def test_the_shipped_folder_parses() -> None:
    found = bag(SHIPPED)
    assert found.import_errors == {}
    assert set(found.dags) == {"orders", "dr_reaper", "dr_watch"}


def test_the_shipped_files_are_what_the_demonstration_lays_out() -> None:
    assert (SHIPPED / "orders.py").read_text() == THIN_DAG
    assert (SHIPPED / "dr_reaper.py").read_text() == THIN_REAPER
    assert (SHIPPED / "dr_watch.py").read_text() == THIN_WATCH


# -- serialisation -----------------------------------------------------------------------------------------------------
def test_it_survives_serialisation(dag: DAG) -> None:
    data = DagSerialization.to_dict(dag)
    again = DagSerialization.from_dict(json.loads(json.dumps(data)))
    assert set(again.task_ids) == set(dag.task_ids)
    for task in dag.tasks:
        kept = again.task_dict[task.task_id]
        assert kept.downstream_task_ids == task.downstream_task_ids
        assert TriggerRule(kept.trigger_rule) == TriggerRule(task.trigger_rule)
        assert (kept.is_setup, kept.is_teardown) == (task.is_setup, task.is_teardown)


def test_it_is_small(dag: DAG) -> None:
    """Four attempts of three tiers: at most 32 KB in each version that Airflow keeps."""
    assert len(json.dumps(DagSerialization.to_dict(dag))) <= 32 * 1024


def test_it_is_the_same_in_every_process(folder: Path) -> None:
    """Byte for byte but for the order of keys, which is Airflow's; and so is the digest by which Airflow tells versions."""
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from tests.support.airflow_parts import DagSerialization\n"
        "from airflow_dr_provider.factory import build_drill_dag\n"
        "from airflow_dr_provider.spec.loader import load_spec\n"
        "data = DagSerialization.to_dict(build_drill_dag(load_spec(Path(sys.argv[1]))))\n"
        "from airflow.models.serialized_dag import SerializedDagModel\n"
        "print('JSON', SerializedDagModel.hash(data), json.dumps(data, sort_keys=True))\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(folder / "specs" / "orders.yaml")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "4242")
    ]
    digests = set()
    for process in running:
        out, err = process.communicate(timeout=120)
        line = next((line for line in out.splitlines() if line.startswith("JSON ")), None)
        assert line is not None, err[-2000:]
        digests.add(hashlib.sha256(line.encode()).hexdigest())
    assert len(digests) == 1


# -- a bad spec --------------------------------------------------------------------------------------------------------
def test_a_bad_spec_hides_no_other(folder: Path) -> None:
    found = bag(folder)
    assert set(found.dags) == {"orders", "billing", "bad_spec_broken"}
    assert list(found.import_errors) == ["bad_drills.py"]
    for said in (found.import_errors["bad_drills.py"], str(found.dags["bad_spec_broken"].doc_md)):
        assert f"{folder}/specs/broken.yaml:11: tiers[0].timeot: is no key here" in said
    assert found.dags["bad_spec_broken"].schedule is None


def test_good_drills_beside_a_bad_spec_can_be_scheduled(folder: Path, airflow_database: Path) -> None:
    """An import error makes every DAG of its file stale, so none may come from the file of the good ones."""
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

    with create_session() as session:
        session.add(DagBundleModel(name="test"))
    try:
        for _ in range(2):
            sync_bag_to_db(bag(folder), "test", None)
        with create_session() as session:
            found = {
                row.dag_id: row.is_stale for row in session.scalars(select(DagModel).where(DagModel.bundle_name == "test"))
            }
        assert found == {"orders": False, "billing": False, "bad_spec_broken": False}
    finally:
        with create_session() as session:
            session.execute(delete(DagModel).where(DagModel.bundle_name == "test"))


def test_a_bad_spec_beside_its_thin_file_is_an_import_error(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BAD)
    (tmp_path / "orders.yaml").write_text(text())
    for name in ("broken", "orders", "lonely"):
        (tmp_path / f"{name}.py").write_text(THIN_DAG)
    found = bag(tmp_path)
    assert set(found.dags) == {"orders"}
    assert "broken.yaml:11: tiers[0].timeot: is no key here" in found.import_errors["broken.py"]
    assert "lonely.yaml: isn't there" in found.import_errors["lonely.py"]
    assert "There are: broken.yaml, orders.yaml" in found.import_errors["lonely.py"]


def test_a_drill_that_is_there_twice(folder: Path) -> None:
    (folder / "specs" / "zzz.yaml").write_text(text())
    found = bag(folder)
    assert "bad_spec_zzz" in found.dags
    assert "orders" in found.dags
    assert "is taken by" in found.import_errors["bad_drills.py"]


def test_nothing_is_reported_where_nothing_is_wrong(folder: Path) -> None:
    (folder / "specs" / "broken.yaml").unlink()
    report_bad_specs(folder / "specs")
    (folder / "specs" / "broken.yaml").write_text("version: 1\n")
    with pytest.raises(SpecError, match=r"broken\.yaml"):
        report_bad_specs(folder / "specs")


def test_a_worker_builds_only_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "billing")
    namespace: dict[str, object] = {}
    load_drills(folder / "specs", namespace)
    assert list(namespace) == ["billing"]
    report_bad_specs(folder / "specs")


def test_a_worker_makes_only_its_own_of_a_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that says in plain sight that it is another drill isn't even parsed."""
    from airflow_dr_provider.spec import loader

    for number in range(50):
        (tmp_path / f"drill{number}.yaml").write_text(text(drill=f"drill{number}"))
    read: list[str] = []
    load = loader.load_text
    monkeypatch.setattr(loader, "load_text", lambda *given, **more: (read.append(more["source"]), load(*given, **more))[1])
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "drill7")
    namespace: dict[str, object] = {}
    load_drills(tmp_path, namespace)
    assert (list(namespace), read) == (["drill7"], [str(tmp_path / "drill7.yaml")])


def test_a_relative_folder_starts_from_the_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    namespace: dict[str, object] = {"__file__": str(folder / "all_drills.py")}
    load_drills("specs", namespace)
    assert {"orders", "billing"} <= set(namespace)


def test_parameters_are_the_dags_and_no_tasks(dag: DAG) -> None:
    assert {"as_of", "reason", "inject", "inject_tier"} <= set(dag.params)
    assert all(not task.params for task in dag.tasks if task.task_id != "triage")
    assert set(dag.task_dict["triage"].params) == {"comment", "tier"}


# -- parsing looks at nothing else -------------------------------------------------------------------------------------
_WATCHING: list[list[str]] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if not _WATCHING:
        return
    if event == "open" and isinstance(arguments[0], str) and not arguments[0].endswith((".py", ".pyc", ".mo")):
        # Messages in other languages (.mo) are looked for once a process, by whoever is first.
        _WATCHING[-1].append(arguments[0])
    elif event.startswith(("socket.", "subprocess.", "sqlite3.", "os.system", "os.exec", "os.posix_spawn", "os.fork")):
        _WATCHING[-1].append(event)


@pytest.fixture
def touched() -> Iterator[list[str]]:
    """Files, sockets, programs and databases that the test opened. An audit hook can't be taken out; it can be idle."""
    if not any(hook is _audit for hook in _HOOKS):
        sys.addaudithook(_audit)
        _HOOKS.append(_audit)
    _WATCHING.append([])
    yield _WATCHING[-1]
    _WATCHING.pop()


_HOOKS: list[object] = []


def test_parsing_reads_the_specs_and_nothing_else(folder: Path, touched: list[str]) -> None:
    load_drills(folder / "specs", {})
    assert {Path(name).name for name in touched} == {"orders.yaml", "billing.yaml", "broken.yaml"}


def test_the_watch_would_notice(tmp_path: Path, touched: list[str]) -> None:
    (tmp_path / "other").write_text("")
    subprocess.run(["true"], check=True)
    assert any(name.endswith("other") for name in touched)
    assert any(name.startswith("subprocess") for name in touched)
