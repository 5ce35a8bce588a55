"""What a folder of a thousand drills costs to parse, beside the same DAGs written by hand, and dag-factory's of the same.

    python benchmarks/parse.py [--drills 1000] [--files] [--python /path/to/python]

Each way is parsed by a process of its own, by the `DagBag` that Airflow's DAG processor uses, with everything that belongs to it:
reading YAML, validating it, making the DAGs and Airflow's own checks of them. Imports are done before the clock starts.

`--files` also parses one module a DAG, as the DAG processor does with thin files; `--python` names an interpreter where both
Airflow and dag-factory are installed (`pip install dag-factory`), when they aren't here. dag-factory knows no setup and teardown
and no labels, so its DAGs lack these; and it gets its operators' arguments as they are, nothing of a drill is validated.

Bars: at most 1.3 of what is written by hand, at most 0.6 of dag-factory, at most 32 KB serialised a DAG.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
SPEC = (PACKAGE / "dags" / "orders.yaml").read_text()
BARS = {"by hand": 1.3, "dag-factory": 0.6}
LARGEST_KB = 32

LOADER = '''"""Every drill of the folder: Airflow DAGs."""
from airflow_dr_provider.factory import load_drills
load_drills(__file__.rpartition("/")[0], globals())
'''
DAG_FACTORY_LOADER = '''"""Every DAG of the folder: Airflow DAGs."""
from dagfactory import load_yaml_dags
load_yaml_dags(globals_dict=globals(), dags_folder=__file__.rpartition("/")[0])
'''
BY_HAND = '''"""{name}, written by hand: an Airflow DAG."""
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import DAG, CronTriggerTimetable, Label, Param, TaskGroup, TriggerRule

from airflow_dr_provider.factory.routing import route, route_start
from airflow_dr_provider.operators.drill import (
    DrillAnswerOperator, DrillReportOperator, DrillVerdictOperator, StartDrillOperator,
)
from airflow_dr_provider.operators.pitr_restore import CacheWarmOperator, PITRRestoreOperator
from airflow_dr_provider.operators.pitr_select import PITRSelectOperator
from airflow_dr_provider.operators.sandbox import (
    SandboxProvisionOperator, SandboxReserveOperator, SandboxTeardownOperator,
)
from airflow_dr_provider.sensors.validation_gate import ValidationGateSensor


def make(dag_id):
    spec = None
    with DAG({arguments}{params}) as dag:
{tasks}
{after}    return dag
'''
MEASURE = """
import importlib, json, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
for name in sys.argv[2].split(","):
    importlib.import_module(name)
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
empty = folder.parent / "empty"
empty.mkdir(exist_ok=True)
(empty / "one.py").write_text('from airflow.sdk import DAG\\nDAG("airflow_dag")')
DagBag(str(empty), bundle_path=empty, bundle_name="bench")
begun = time.process_time()
bag = DagBag(str(folder), bundle_path=folder, bundle_name="bench")
parsed = time.process_time() - begun
assert not bag.import_errors, next(iter(bag.import_errors.values()))
some = list(bag.dags.values())[:20]
begun = time.process_time()
sizes = [len(json.dumps(DagSerialization.to_dict(dag))) for dag in some]
serialised = (time.process_time() - begun) / len(some)
tasks = {len(dag.tasks) for dag in bag.dags.values()}
print("RESULT", json.dumps([len(bag.dags), sorted(tasks), parsed, serialised, max(sizes)]))
"""


def one_dag() -> object:
    """The DAG of the example, from which the other ways' sources are written."""
    from airflow_dr_provider.factory import build_drill_dag
    from airflow_dr_provider.spec.loader import load_text

    return build_drill_dag(load_text(SPEC, source="orders.yaml", base=Path("/drills")))


# -- by hand -----------------------------------------------------------------------------------------------------------
def by_hand(*, params_first: bool) -> str:
    """The source of a module that makes the same DAG, one statement a task and an edge.

    :param params_first: whether the parameters are given to the DAG, as one writes it, or set after its tasks.
    """
    dag = one_dag()
    lines: list[str] = []
    names: dict[str, str] = {}
    groups: dict[str | None, list[object]] = {}
    for task in dag.tasks:
        group = task.task_group.group_id if task.task_group else None
        groups.setdefault(group, []).append(task)
    for group, tasks in groups.items():
        indent = "        "
        if group is not None:
            lines.append(f"{indent}with TaskGroup(group_id={group!r}, tooltip={tasks[0].task_group.tooltip!r}):")
            indent += "    "
        for task in tasks:
            names[task.task_id] = f"{task.task_id.replace(chr(46), chr(95))}_task"
            arguments = {"task_id": repr(task.label), **arguments_of(task)}
            written = ", ".join(f"{name}={value}" for name, value in arguments.items())
            lines.append(f"{indent}{names[task.task_id]} = {type(task).__name__}({written})")
    for task in dag.tasks:
        if task.is_teardown:
            setups = [names[name] for name in task.upstream_task_ids if dag.task_dict[name].is_setup]
            failing = ", on_failure_fail_dagrun=True" if task.on_failure_fail_dagrun else ""
            lines.append(f"        {names[task.task_id]}.as_teardown(setups=[{', '.join(setups)}]{failing})")
    for task in dag.tasks:
        plain = [name for name in sorted(task.downstream_task_ids) if not dag.get_edge_info(task.task_id, name)]
        setups = {name for name in plain if task.is_setup and dag.task_dict[name].is_teardown}
        plain = [names[name] for name in plain if name not in setups]
        if plain:
            lines.append(f"        {names[task.task_id]} >> [{', '.join(plain)}]")
        for name in sorted(task.downstream_task_ids):
            if label := dag.get_edge_info(task.task_id, name).get("label"):
                lines.append(f"        {names[task.task_id]} >> Label({label!r}) >> {names[name]}")
    arguments = (
        f"dag_id=dag_id, description={dag.description!r}, doc_md={dag.doc_md!r}, tags={sorted(dag.tags)!r}, "
        'schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC"), catchup=False, max_active_runs=1, '
        'default_args={"owner": "dr", "retries": 2, "retry_delay": timedelta(seconds=10)}'
    )
    params = "{" + ", ".join(f"{name!r}: {param(dag.params.get_param(name))}" for name in dag.params) + "}"
    return BY_HAND.format(
        name="orders",
        arguments=arguments,
        params=f", params={params}" if params_first else "",
        tasks="\n".join(lines),
        after="" if params_first else f"    dag.params = {params}\n",
    )


def arguments_of(task: object) -> dict[str, str]:
    """The arguments that a person would write."""
    found = {}
    for name in ("rung", "op_kwargs", "question", "subject", "body", "options", "defaults"):
        if hasattr(task, name) and getattr(task, name) not in ({}, None):
            found[name] = repr(getattr(task, name))
    if hasattr(task, "spec"):
        found["spec"] = "spec"
    if hasattr(task, "python_callable"):
        found["python_callable"] = task.python_callable.__name__
    if task.trigger_rule not in ("all_success", "all_done_setup_success"):
        found["trigger_rule"] = f"TriggerRule.{task.trigger_rule.name}"
    if task.execution_timeout is not None:
        found["execution_timeout"] = f"timedelta(seconds={int(task.execution_timeout.total_seconds())})"
    if type(task).__name__ == "ValidationGateSensor":
        found["timeout"] = str(task.timeout)
    if task.priority_weight != 1:
        found["priority_weight"] = str(task.priority_weight)
    if type(task).__name__ == "HITLOperator":
        found["response_timeout"] = f"timedelta(seconds={int(task.response_timeout.total_seconds())})"
        found["params"] = "{" + ", ".join(f"{name!r}: {param(task.params.get_param(name))}" for name in task.params) + "}"
        found["retries"] = "0"
    return found


def param(known: object) -> str:
    """A parameter as one writes it."""
    schema = ", ".join(f"{name}={value!r}" for name, value in known.schema.items())
    return f"Param({known.value!r}, description={known.description!r}, {schema})"


# -- dag-factory -------------------------------------------------------------------------------------------------------
def dag_factory(dag_id: str, dag: object) -> str:
    """dag-factory's YAML of the same tasks and edges."""
    import yaml

    tasks = []
    for task in dag.tasks:
        kind = type(task)
        # dag-factory wants names that are unique in the whole DAG, without their groups.
        entry: dict[str, object] = {"task_id": task.task_id.replace(".", "_"), "operator": f"{kind.__module__}.{kind.__name__}"}
        if task.task_group and task.task_group.group_id:
            entry["task_group_name"] = task.task_group.group_id
        for name in ("rung", "op_kwargs", "question", "subject", "body", "options", "defaults"):
            if hasattr(task, name) and getattr(task, name) not in ({}, None):
                entry[name] = getattr(task, name)
        if hasattr(task, "spec"):
            entry["spec"] = {"drill": dag_id}
        if hasattr(task, "python_callable"):
            called = task.python_callable
            entry["python_callable"] = f"{called.__module__}.{called.__name__}"
        if task.trigger_rule not in ("all_success", "all_done_setup_success"):
            entry["trigger_rule"] = task.trigger_rule.value
        if task.execution_timeout is not None:
            entry["execution_timeout"] = {
                "__type__": "datetime.timedelta", "seconds": int(task.execution_timeout.total_seconds()),
            }  # fmt: skip
        if kind.__name__ == "ValidationGateSensor":
            entry["timeout"] = task.timeout
        if task.priority_weight != 1:
            entry["priority_weight"] = task.priority_weight
        if upstream := sorted(task.upstream_task_ids):
            entry["dependencies"] = [name.replace(".", "_") for name in upstream]
        tasks.append(entry)
    document = {
        dag_id: {
            "description": dag.description,
            "schedule": "0 3 * * *",
            "catchup": False,
            "max_active_runs": 1,
            "tags": sorted(dag.tags),
            "default_args": {"owner": "dr", "retries": 2, "start_date": "2026-01-01"},
            "params": {name: dag.params.get_param(name).value for name in dag.params},
            "task_groups": [
                {"group_name": name, "tooltip": group.tooltip} for name, group in dag.task_group_dict.items() if name
            ],
            "tasks": tasks,
        }
    }
    return yaml.safe_dump(document, sort_keys=False)


# -- measuring ---------------------------------------------------------------------------------------------------------
def lay_out(place: Path, drills: int, *, files: bool, known: bool) -> dict[str, tuple[Path, str]]:
    """The folders of every way, and what each imports before the clock starts."""
    from airflow_dr_provider.factory.thin import THIN_DAG

    names = [f"orders_{number:04}" for number in range(drills)]
    dag = one_dag()
    ours = "airflow_dr_provider.factory,airflow_dr_provider.spec.loader"
    hand = f"{ours},airflow_dr_provider.sensors.validation_gate"
    found = {way: (place / way, hand if "hand" in way else ours) for way in ("load_drills", "by hand", "by hand, params last")}
    if files:
        found |= {"thin files": (place / "thin", ours), "by hand, files": (place / "hand-files", hand)}
    if known:
        found["dag-factory"] = (place / "dagfactory", f"{hand},dagfactory")
    for folder, _ in found.values():
        folder.mkdir()
    for way in ("by hand", "by hand, params last"):
        source = by_hand(params_first=way == "by hand")
        calls = "\n".join(f"{name} = make({name!r})" for name in names)
        (found[way][0] / "every.py").write_text(f"{source}\n\n{calls}\n")
    (found["load_drills"][0] / "every.py").write_text(LOADER)
    if known:
        (found["dag-factory"][0] / "every.py").write_text(DAG_FACTORY_LOADER)
    source = by_hand(params_first=True)
    for name in names:
        text = SPEC.replace("drill: orders\n", f"drill: {name}\n")
        (found["load_drills"][0] / f"{name}.yaml").write_text(text)
        if files:
            (found["thin files"][0] / f"{name}.yaml").write_text(text)
            (found["thin files"][0] / f"{name}.py").write_text(THIN_DAG)
            (found["by hand, files"][0] / f"{name}.py").write_text(f"{source}\n\ndag = make({name!r})\n")
        if known:
            (found["dag-factory"][0] / f"{name}.yaml").write_text(dag_factory(name, dag))
    return found


def measure(python: str, folder: Path, imports: str) -> tuple[int, list[int], float, float, int]:
    """Parse a folder in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*(os.environ.get("PYTHONPATH") or "").split(os.pathsep), str(PACKAGE)]).strip(
            os.pathsep
        ),
        "AIRFLOW_HOME": str(folder.parent / "home"),
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "3600",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }
    done = subprocess.run(
        [python, "-c", MEASURE, str(folder), imports], env=environment, capture_output=True, text=True, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        sys.exit(f"{folder.name}: {done.stderr[-3000:]}{done.stdout[-1000:]}")
    result = json.loads(line.removeprefix("RESULT "))
    return tuple(result)


def has_dag_factory(python: str) -> bool:
    return subprocess.run([python, "-c", "import dagfactory"], capture_output=True, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drills", type=int, default=1000)
    parser.add_argument("--files", action="store_true", help="one module a DAG, too")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with Airflow and dag-factory")
    arguments = parser.parse_args()
    known = has_dag_factory(arguments.python)
    with tempfile.TemporaryDirectory() as place:
        ways = lay_out(Path(place), arguments.drills, files=arguments.files, known=known)
        # Every way by the same interpreter, so that nothing but the way differs.
        found = {way: measure(arguments.python, *where) for way, where in ways.items()}
    ours = found["load_drills"]
    print(f"{'':<22}{'DAGs':>6} {'tasks':>6} {'parse':>9} {'each':>9} {'serialise':>10} {'largest':>9}   ours is")
    for way, (count, tasks, parsed, serialised, largest) in found.items():
        base = found["thin files"] if way in ("by hand, files", "thin files") else ours
        print(
            f"{way:<22}{count:>6} {'/'.join(map(str, tasks)):>6} {parsed:>7.2f} s {parsed / count * 1e3:>6.1f} ms "
            f"{serialised * 1e3:>7.1f} ms {largest / 1024:>6.1f} KB   {base[2] / parsed:.2f} of it"
        )
    if not known:
        print("dag-factory isn't installed there: `pip install dag-factory`, or name an interpreter that has it with --python.")
    failed = [f"more than {bar} of {way}" for way, bar in BARS.items() if way in found and ours[2] > bar * found[way][2]]
    if ours[4] > LARGEST_KB * 1024:
        failed.append(f"more than {LARGEST_KB} KB serialised")
    print("; ".join(failed) if failed else "within the bars")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
