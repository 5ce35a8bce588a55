"""The compose file: no engine runs where the tests run, so what an engine would refuse is looked for here.

``compose-spec.json`` is the Compose Specification's own schema (Apache-2.0), as check-jsonschema 0.39.0 ships it.
The demo production's scripts are run for real, on a PostgreSQL without a container around it.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from airflow_dr_provider.demo.production import DemoProduction

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yaml").read_text()
SCHEMA = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
SCRIPTS = ROOT / "docker" / "production"
VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\})")


def read(text: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """The document as compose sees it: merged, then every variable replaced."""

    def replaced(value: Any) -> Any:
        if isinstance(value, str):
            return VARIABLE.sub(
                lambda match: "$" if match["escaped"] else (environment or {}).get(match["name"]) or match["default"] or "",
                value,
            )
        if isinstance(value, dict):
            return {key: replaced(inner) for key, inner in value.items()}
        return [replaced(inner) for inner in value] if isinstance(value, list) else value

    return replaced(YAML(typ="safe", pure=True).load(text))


DOCUMENT = read(TEXT)
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
AIRFLOW = [name for name in SERVICES if name.startswith("airflow-")]


def mounts(service: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(*volume.split(":"), "rw")[:3] for volume in service.get("volumes", [])]


# -- the schema --------------------------------------------------------------------------------------------------------
def test_the_compose_schema_accepts_it() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(DOCUMENT)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "redis", "helthcheck"), {}),
        (("services", "redis", "restart"), 3),
        (("services", "airflow-worker", "depends_on", "redis", "condition"), "service_fine"),
        (("services", "airflow-worker", "shm_size"), []),
        (("volume",), {}),
    ],
)
def test_the_compose_schema_would_refuse_a_mistake(path: tuple[str, ...], value: Any) -> None:
    wrong = copy.deepcopy(DOCUMENT)
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(wrong)


def test_it_is_of_todays_form() -> None:
    assert "version" not in DOCUMENT
    assert "container_name" not in TEXT


# -- what refers to what -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_refers_to_is_there(name: str) -> None:
    service = SERVICES[name]
    for other, how in service.get("depends_on", {}).items():
        assert other in SERVICES
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], f"{name} waits for the health of {other}, which has no check"
        if how["condition"] == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "no", f"{other} never completes: it is restarted"
    assert set(service.get("networks", [])) <= set(DOCUMENT["networks"])
    for source, target, _ in mounts(service):
        assert target.startswith("/")
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in DOCUMENT["volumes"], source
    if "build" in service:
        assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_nothing_is_declared_for_nobody() -> None:
    used = {source for service in SERVICES.values() for source, _, _ in mounts(service)}
    assert set(DOCUMENT["volumes"]) <= used
    assert set(DOCUMENT["networks"]) == {network for service in SERVICES.values() for network in service.get("networks", [])}


def test_no_service_waits_for_itself() -> None:
    waits = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    while waits:
        free = {name for name, others in waits.items() if not others}
        assert free, f"these wait for each other: {sorted(waits)}"
        waits = {name: others - free for name, others in waits.items() if name not in free}


@pytest.mark.parametrize("name", SERVICES)
def test_what_lives_on_is_watched_and_what_ends_is_not_restarted(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) == (SERVICES[name]["restart"] != "no")


def hosts(url: str) -> str | None:
    match = re.search(r"//(?:[^@/]*@)?([^:/]+)", url)
    return match[1] if match else None


def test_every_address_is_a_services_name_that_can_be_reached() -> None:
    worker = SERVICES["airflow-worker"]
    for key, value in worker["environment"].items():
        if "://" in value and hosts(value) != "localhost":
            assert hosts(value) in SERVICES, f"{key}: {value}"
            assert set(SERVICES[str(hosts(value))]["networks"]) & set(worker["networks"]), key
    for name in ("production-heartbeat", "production-base-backups"):
        assert SERVICES[name]["environment"]["PGHOST"] == "production"


def test_every_variable_is_explained_and_has_the_default_that_the_comment_says() -> None:
    explained = {
        match[1]: match[2]
        for match in re.finditer(r"^#   ([A-Z][A-Z_]+)\s{2,}.*?\s{2,}(\S.*)$", TEXT.split("\nname:")[0], re.M)
    }
    used: dict[str, set[str]] = {}
    for match in VARIABLE.finditer(TEXT):
        if match["name"]:
            used.setdefault(match["name"], set()).add(match["default"] or "")
    assert set(explained) == set(used)
    for name, defaults in used.items():
        assert len(defaults) == 1, f"{name} has several defaults: {defaults}"
        assert explained[name] == defaults.pop() or explained[name].startswith(("a try-out value", "none:")), name


def test_a_password_that_is_set_reaches_both_ends() -> None:
    names = set(re.findall(r"\$\{(\w+(?:PASSWORD|SECRET\w*|KEY))", TEXT))
    told = {name: f"told-{name.lower()}" for name in names}
    services = read(TEXT, told)["services"]
    worker = services["airflow-worker"]["environment"]
    assert services["metadata"]["environment"]["POSTGRES_PASSWORD"] in worker["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert services["metadata"]["environment"]["POSTGRES_PASSWORD"] in worker["AIRFLOW__CELERY__RESULT_BACKEND"]
    assert services["drill-state"]["environment"]["POSTGRES_PASSWORD"] in worker["AIRFLOW_DR_STATE"]
    production = services["production"]["environment"]
    assert production["DEMO_READER_PASSWORD"] in worker["AIRFLOW_CONN_ORDERS_RO"]
    assert production["DEMO_BACKUP_PASSWORD"] == services["production-base-backups"]["environment"]["PGPASSWORD"]
    assert production["POSTGRES_PASSWORD"] == services["production-heartbeat"]["environment"]["PGPASSWORD"]
    # No default of a secret is left anywhere once all are set.
    assert not re.search(r"only-for-trying-out|:(airflow|drills|orders_ro)@", json.dumps(services))


# -- Airflow -----------------------------------------------------------------------------------------------------------
def test_every_component_of_airflow_is_there() -> None:
    commands = {SERVICES[name]["command"] for name in AIRFLOW if isinstance(SERVICES[name]["command"], str)}
    assert commands == {"api-server", "scheduler", "dag-processor", "triggerer", "celery worker"}
    assert {SERVICES[name]["image"] for name in AIRFLOW} == {"airflow-dr:local"}
    assert len({SERVICES[name]["environment"]["AIRFLOW__API_AUTH__JWT_SECRET"] for name in AIRFLOW}) == 1


@pytest.mark.airflow
def test_every_setting_exists_in_this_airflow() -> None:
    from airflow.configuration import retrieve_configuration_description

    known = retrieve_configuration_description(include_providers=False)
    from airflow.providers.celery.get_provider_info import get_provider_info

    sections = {section: set(body["options"]) for section, body in {**known, **get_provider_info()["config"]}.items()}
    sections["dr"] = {"single_worker"}  # this provider's own; placement.py reads it, as the test below shows
    for name in AIRFLOW:
        for key in SERVICES[name]["environment"]:
            if key.startswith("AIRFLOW__"):
                _, section, option = key.lower().split("__")
                assert option in sections.get(section, set()), f"{name}: {key}"


def test_the_image_is_the_airflow_that_is_locked() -> None:
    locked = re.search(r"^apache-airflow==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    assert locked is not None
    assert f"ARG AIRFLOW_IMAGE=apache/airflow:{locked[1]}\n" in dockerfile
    assert SERVICES["airflow-worker"]["build"]["dockerfile"] == "docker/Dockerfile"
    for needed in ("pgbackrest", "postgresql-${major}", "util-linux"):
        assert needed in dockerfile


def test_what_the_dockerfile_copies_is_sent_and_there() -> None:
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines():
        words = shlex.split(line) if line.startswith("COPY ") and "--from" not in line else []
        copied |= {word.removeprefix("./") for word in words[1:-1] if not word.startswith("--")}
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)


def test_the_sandboxes_major_version_is_productions() -> None:
    majors = re.search(r'ARG POSTGRES_MAJORS="([\d ]+)"', (ROOT / "docker" / "Dockerfile").read_text())
    assert majors is not None
    assert re.search(r":(\d+)", SERVICES["production"]["image"])[1] in majors[1].split()  # type: ignore[index]


def test_the_worker_has_what_a_drill_needs_and_no_more() -> None:
    worker = SERVICES["airflow-worker"]
    targets = {target: (source, mode) for source, target, mode in mounts(worker)}
    assert targets[worker["environment"]["AIRFLOW_DR_WORKDIR"]] == ("sandboxes", "rw")
    assert targets["/backups"] == ("backups", "ro")
    assert "cap_add" not in worker
    assert not worker.get("privileged")
    assert [name for name in SERVICES if "docker.sock" in json.dumps(SERVICES[name])] == []
    assert {name for name in AIRFLOW if "production" in SERVICES[name]["networks"]} == {"airflow-worker"}


@pytest.mark.airflow
def test_its_executor_takes_the_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery may have workers on several hosts, which a sandbox needs a queue for; here there is one, under a fixed name."""
    from airflow_dr_provider.factory.placement import placement
    from airflow_dr_provider.spec.loader import load_spec

    for name, value in SERVICES["airflow-dag-processor"]["environment"].items():
        if name.startswith(("AIRFLOW__CORE__EXECUTOR", "AIRFLOW__DR__")):
            monkeypatch.setenv(name, str(value))
    here = placement()
    assert (here.executor, here.single_worker) == ("CeleryExecutor", True)
    assert list(here.refusals(load_spec(ROOT / "docker" / "dags" / "orders.yaml"))) == []
    assert SERVICES["airflow-worker"]["hostname"]


def test_only_the_page_is_published_and_only_on_the_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"airflow-api-server": ["127.0.0.1:8080:8080"]}


def test_the_drills_folders_are_the_volume() -> None:
    spec = YAML(typ="safe", pure=True).load((ROOT / "docker" / "dags" / "orders.yaml").read_text())
    repository = spec["source"]["repository"]
    made = SERVICES["production-folders"]["entrypoint"]
    assert {repository["backups"], repository["archive"]} == set(made[-2:])
    connection = f"AIRFLOW_CONN_{spec['source']['production_conn_id'].upper()}"
    assert connection in SERVICES["airflow-worker"]["environment"]


# -- the demo production's scripts, for real ----------------------------------------------------------------------------
def test_the_scripts_can_be_run() -> None:
    for script in SCRIPTS.glob("*.sh"):
        assert script.stat().st_mode & stat.S_IXOTH, script
        subprocess.run(["bash", "-n", script], check=True)


def archive(folder: Path, source: Path, name: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WAL_ARCHIVE": str(folder)}
    return subprocess.run(
        [SCRIPTS / "archive-wal.sh", source, name], env=environment, capture_output=True, text=True, check=False
    )


def test_a_segment_is_archived_whole_and_never_overwritten(place: Path) -> None:
    source, other = place / "source", place / "other"
    source.write_bytes(b"a" * 5000)
    other.write_bytes(b"b" * 5000)
    folder = place / "wal"
    folder.mkdir()
    (folder / ".000000010000000000000001.part").write_bytes(b"half")  # what a crash left
    assert archive(folder, source, "000000010000000000000001").returncode == 0
    assert [entry.name for entry in folder.iterdir()] == ["000000010000000000000001"]
    assert (folder / "000000010000000000000001").read_bytes() == source.read_bytes()
    assert stat.S_IMODE((folder / "000000010000000000000001").stat().st_mode) == 0o640
    assert archive(folder, source, "000000010000000000000001").returncode == 0
    refused = archive(folder, other, "000000010000000000000001")
    assert (refused.returncode, "with other contents" in refused.stderr) == (1, True)
    assert (folder / "000000010000000000000001").read_bytes() == source.read_bytes()


@pytest.fixture(scope="module")
def production() -> Iterator[DemoProduction]:
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    scripts = shutil.copytree(SCRIPTS, folder / "scripts")
    settings = {"archive_command": f"WAL_ARCHIVE={folder}/archive {scripts}/archive-wal.sh %p %f"}
    with DemoProduction(folder, settings=settings) as production:
        production.create(schema="")
        where = ("-h", str(production.socket), "-p", str(production.port), "-U", "postgres")
        variables = ("-v", "ON_ERROR_STOP=1", "-v", "backup_password=one'two", "-v", "reader_password=three")
        production.run("psql", "-X", "-q", *where, *variables, "-f", str(scripts / "schema.sql"))
        yield production
    shutil.rmtree(folder)


def start(production: DemoProduction, script: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [production.folder / "scripts" / script],
        env={
            "PATH": f"{production.programs.bin}:{os.environ['PATH']}",
            "PGHOST": str(production.socket),
            "PGPORT": str(production.port),
            "PGDATABASE": "postgres",
            "BACKUP_FOLDER": str(production.backups),
            "WAL_ARCHIVE": str(production.archive),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        cwd=production.folder,
        **production.account.as_subprocess,
    )


def end(process: subprocess.Popen[str]) -> str:
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]


@pytest.mark.postgres
def test_the_schema_holds_what_the_drill_asks_for(production: DemoProduction) -> None:
    spec = YAML(typ="safe", pure=True).load((ROOT / "docker" / "dags" / "orders.yaml").read_text())
    for smoke in spec["smoke"]:
        assert production.sql(f"SET ROLE orders_ro; {smoke['sql']}") == [(True,)], smoke["name"]
    beat = spec["source"]["heartbeat"]
    assert len(production.sql(f"SELECT {beat['column']} FROM {beat['table']}")) == 1
    assert production.sql(
        "SELECT rolname, rolreplication FROM pg_roles WHERE rolname IN ('backup', 'orders_ro') ORDER BY 1"
    ) == [
        ("backup", True),
        ("orders_ro", False),
    ]


@pytest.mark.postgres
def test_the_heart_beats(production: DemoProduction) -> None:
    before = production.sql("SELECT beat_at FROM dr_heartbeat")
    process = start(production, "heartbeat.sh", PGUSER="postgres")
    try:
        deadline = time.monotonic() + 30
        while production.sql("SELECT beat_at FROM dr_heartbeat") == before and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        said = end(process)
    assert production.sql("SELECT beat_at FROM dr_heartbeat") > before, said


@pytest.mark.postgres
def test_base_backups_appear_whole_and_the_oldest_go_with_their_wal(production: DemoProduction) -> None:
    production.sql("CREATE TABLE kept AS SELECT 1")
    first = production.switch_wal()
    (production.backups / ".20200101T000000Z").mkdir()  # what a killed predecessor left
    process = start(production, "base-backups.sh", PGUSER="backup", BACKUP_EVERY="1", BACKUP_KEEP="1")
    try:
        deadline = time.monotonic() + 60
        while (production.archive / first).exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
    finally:
        said = end(process)
    assert not (production.archive / first).exists(), said
    names = sorted(entry.name for entry in production.backups.iterdir() if not entry.name.startswith("."))
    assert 1 <= len(names) <= 2, said  # the newest, and one more between its birth and the pruning
    assert all(re.fullmatch(r"\d{8}T\d{6}Z", name) for name in names)
    newest = production.backups / names[-1]
    assert production.run("pg_verifybackup", "--no-parse-wal", str(newest)).returncode == 0
    assert stat.S_IMODE(newest.stat().st_mode) == 0o750
    assert stat.S_IMODE((newest / "backup_manifest").stat().st_mode) == 0o640


# -- the drill ---------------------------------------------------------------------------------------------------------
def test_the_drill_is_good_and_its_dags_are_the_shipped_ones() -> None:
    folder = ROOT / "docker" / "dags"
    command = [sys.executable, "-m", "airflow_dr_provider.cli.main", "lint", str(folder / "orders.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("orders.py", "dr_reaper.py", "dr_watch.py"):
        assert (folder / name).read_text() == (ROOT / "dags" / name).read_text()
