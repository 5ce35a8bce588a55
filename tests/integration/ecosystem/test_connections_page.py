"""The page of connections, asked as its form asks: a real API server, a real repository, a real PostgreSQL as the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.provider_configuration import CONNECTION_TYPES
from airflow_dr_provider.state.store import Store
from tests.support.airflow_parts import since
from tests.support.api_server import ApiServer
from tests.support.drills import Bench, Repository

pytestmark = [pytest.mark.airflow, pytest.mark.postgres]

SECRET = "s3cr3t/pass:word"


@pytest.fixture(scope="module")
def server(airflow_database: Path) -> Iterator[ApiServer]:
    with ApiServer(airflow_database, {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}) as running:
        yield running


def tried(server: ApiServer, **fields: Any) -> tuple[bool, str]:
    extra = fields.pop("extra", None)
    body = {"connection_id": "tried", **fields, **({"extra": json.dumps(extra)} if extra is not None else {})}
    status, answer = server.ask("/api/v2/connections/test", body)
    assert status == 200, answer
    return answer["status"], answer["message"]


def asked(server: ApiServer, /, **extra: Any) -> tuple[bool, str]:
    return tried(server, conn_type="airflow_dr_repository", extra=extra)


# -- the forms ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("told", CONNECTION_TYPES, ids=lambda told: told["connection-type"])
def test_the_form(server: ApiServer, told: dict[str, Any]) -> None:
    status, forms = server.ask("/ui/connections/hook_meta")
    assert status == 200, forms
    (form,) = [form for form in forms if form["connection_type"] == told["connection-type"]]
    assert form["hook_name"] == told["hook-name"]
    assert set(form["extra_fields"]) == set(told["conn-fields"])
    hidden = {name for name, field in form["standard_fields"].items() if field and field["hidden"]}
    assert hidden == {"url_schema" if name == "schema" else name for name in told["ui-field-behaviour"]["hidden-fields"]}


@since(3, 2)
def test_the_form_offers_choices(server: ApiServer) -> None:
    _, forms = server.ask("/ui/connections/hook_meta")
    fields = next(form["extra_fields"] for form in forms if form["connection_type"] == "airflow_dr_repository")
    assert fields["kind"]["schema"]["enum"] == ["basebackup", "pgbackrest", "barman", "walg"]
    assert fields["repo"]["schema"]["maximum"] == 256


# -- a repository ------------------------------------------------------------------------------------------------------
def test_a_repository_that_is_there(server: ApiServer, bench: Bench) -> None:
    good, message = asked(server, kind="basebackup", backups=str(bench.backups), archive=str(bench.archive), stanza="")
    assert good, message
    assert message.startswith("3 usable backups; newest third of ")
    assert "; WAL up to 000000010000" in message


def test_what_a_form_sends_for_empty_fields_is_passed_over(server: ApiServer, bench: Bench) -> None:
    good, message = asked(
        server, kind="basebackup", backups=str(bench.backups), archive=str(bench.archive), repo=None, env_file="", server="main"
    )
    assert good, message


def test_a_repository_without_a_usable_backup(server: ApiServer, bench: Bench) -> None:
    for manifest in bench.backups.glob("*/backup_manifest"):
        manifest.unlink()
    good, message = asked(server, kind="basebackup", backups=str(bench.backups), archive=str(bench.archive))
    assert not good
    assert message.startswith("3 backups, none of which can be used: first: no_manifest")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({}, "Set kind in its extra to one of: basebackup, pgbackrest, barman, walg"),
        ({"kind": "connection"}, "names no kind of repository"),
        ({"kind": "basebackup", "backups": "/nowhere", "archive": "/nowhere"}, "/nowhere is not there"),
        ({"kind": "basebackup", "backups": "/b"}, "archive: Field required"),
        ({"kind": "basebackup", "backups": "b", "archive": "/a"}, "backups: b is no absolute path"),
        ({"kind": "pgbackrest", "stanza": "../x"}, "stanza: "),
        ({"kind": "pgbackrest", "stanza": "x", "repo": "999"}, "repo: "),
        ({"kind": "pgbackrest", "stanza": "x", "program": "/nowhere/pgbackrest"}, "/nowhere/pgbackrest"),
        ({"kind": "walg", "env_file": "/nowhere"}, "/nowhere"),
    ],
)
def test_a_repository_that_is_not(server: ApiServer, extra: dict[str, Any], words: str) -> None:
    good, message = asked(server, **extra)
    assert not good
    assert words in message
    assert len(message.splitlines()) == 1


# -- a state store -----------------------------------------------------------------------------------------------------
def test_a_store_in_a_file(server: ApiServer, place: Path) -> None:
    file = place / "drills" / "state.db"
    good, message = tried(server, conn_type="airflow_dr", extra={"file": str(file)})
    assert (good, message) == (True, f"There is no state store in sqlite:///{file} yet; the first run makes it.")
    assert not file.exists()
    assert not file.parent.exists()
    Store.open(f"sqlite:///{file}").close()
    good, message = tried(server, conn_type="airflow_dr", extra={"file": str(file)})
    assert (good, message) == (True, f"The state store sqlite:///{file} can be used; no run yet.")


def test_a_store_in_postgresql(server: ApiServer, repository: Repository) -> None:
    production = repository.production
    fields = {"conn_type": "airflow_dr", "host": str(production.socket), "port": production.port, "login": "postgres"}
    good, message = tried(server, **fields, schema="postgres", password=SECRET)
    assert good, message
    assert message.startswith("There is no state store in postgresql+psycopg://postgres:***@/postgres?host=")
    good, message = tried(server, **fields, schema="nowhere", password=SECRET)
    assert not good
    assert 'database "nowhere" does not exist' in message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": "127.0.0.1", "port": 1, "schema": "drills"}, "can't be used: "),
        ({"host": "127.0.0.1"}, "names no database"),
        ({"extra": {"file": "state.db"}}, "file: write it from / on"),
        ({"extra": {"file": "/etc/passwd/state.db"}}, "may not write to /etc/passwd"),
    ],
)
def test_a_store_that_can_not_be_used(server: ApiServer, fields: dict[str, Any], words: str) -> None:
    good, message = tried(server, conn_type="airflow_dr", login="dr", password=SECRET, **fields)
    assert not good
    assert words in message
    assert "s3cr3t" not in message


def test_no_secret_was_logged(server: ApiServer) -> None:
    """The last test of this file: whatever the ones before it sent, the server's log has none of it."""
    tried(server, conn_type="airflow_dr", host="127.0.0.1", port=1, schema="drills", login="dr", password=SECRET)
    assert "s3cr3t" not in server.log
