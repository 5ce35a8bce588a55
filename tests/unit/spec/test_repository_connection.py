"""A repository whose place a connection holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.connections import Connection, from_environment
from airflow_dr_provider.errors import ConfigurationError, SpecError
from airflow_dr_provider.spec.loader import load_text, spec_digest, spec_from_snapshot, spec_snapshot
from airflow_dr_provider.spec.repository import REPOSITORY_KINDS, BarmanSpec, BaseBackupSpec, PgBackRestSpec, WalGSpec
from airflow_dr_provider.spec.repository_connection import CONNECTION_TYPE, placed, repository_of_connection

TEXT = """\
version: 1
drill: orders
objectives: {rto: 30m, rpo: 1h, mtd: 4h}
source: {repository: {kind: connection, conn_id: site}}
tiers: [{name: primary, role: staging, sandbox: {kind: process}, timeout: 5m}]
"""


def connection(conn_type: str = CONNECTION_TYPE, **extra: Any) -> Connection:
    return Connection(conn_id="site", conn_type=conn_type, extra=extra)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            {"kind": "basebackup", "backups": "/b/../base", "archive": "/wal", "stanza": ""},
            BaseBackupSpec(kind="basebackup", backups=Path("/base"), archive=Path("/wal")),
        ),
        ({"kind": "pgbackrest", "stanza": "main", "repo": "2"}, PgBackRestSpec(kind="pgbackrest", stanza="main", repo=2)),
        ({"kind": "pgbackrest", "stanza": "main", "repo": 2}, PgBackRestSpec(kind="pgbackrest", stanza="main", repo=2)),
        ({"kind": "barman", "server": "main", "bin": "/opt"}, BarmanSpec(kind="barman", server="main", bin=Path("/opt"))),
        ({"kind": "walg", "env_file": "/etc/walg.env"}, WalGSpec(kind="walg", env_file=Path("/etc/walg.env"))),
        (
            {"kind": "barman", "server": "main", "cloud": {"url": "s3://b/p"}},
            BarmanSpec.model_validate({"kind": "barman", "server": "main", "cloud": {"url": "s3://b/p"}}),
        ),
    ],
)
def test_every_kind_has_its_place(extra: dict[str, Any], expected: object) -> None:
    assert repository_of_connection(connection(**extra)) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (connection("postgres", kind="walg"), "is of type postgres"),
        (connection(), "Set kind in its extra to one of: basebackup"),
        (connection(kind="connection", conn_id="site"), "names no kind"),
        (connection(kind=["walg"]), "names no kind"),
        (connection(kind="walg"), "env_file: Field required"),
        (connection(kind="walg", env_file="walg.env"), "env_file: walg.env is no absolute path"),
        (connection(kind="pgbackrest", stanza="main", repo="two"), "repo: "),
    ],
)
def test_what_can_not_be_used_is_said(given: Connection, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        repository_of_connection(given)
    assert caught.value.code == "CONNECTION_UNKNOWN"
    assert words in caught.value.message


def test_a_spec_is_put_in_its_place_and_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load_text(TEXT, source="orders.yaml", base=Path("/drills"))
    assert spec_from_snapshot(spec_snapshot(spec)) == spec
    extra = {"kind": "basebackup", "backups": "/b", "archive": "/a"}
    monkeypatch.setenv("AIRFLOW_CONN_SITE", json.dumps({"conn_type": CONNECTION_TYPE, "extra": extra}))
    found = placed(spec, from_environment)
    assert found.source.repository == BaseBackupSpec(kind="basebackup", backups=Path("/b"), archive=Path("/a"))
    assert spec_digest(found) != spec_digest(spec)
    assert spec_from_snapshot(spec_snapshot(found)) == found
    assert placed(found, _nobody) is found


def _nobody(conn_id: str) -> Connection:
    raise AssertionError(f"{conn_id} was looked for")


def test_a_spec_names_it_or_is_refused() -> None:
    with pytest.raises(SpecError, match=r"source.repository.conn_id: is missing: a connection of type airflow_dr_repository"):
        load_text(TEXT.replace(", conn_id: site", ""), source="orders.yaml", base=Path("/"))
    with pytest.raises(SpecError, match="known: basebackup, pgbackrest, barman, walg, connection"):
        load_text(TEXT.replace("kind: connection", "kind: conection"), source="orders.yaml", base=Path("/"))


def test_a_kind_of_repository_can_be_named_by_a_form() -> None:
    """Every kind, and every field of a kind but Barman's bucket, which only the extra's own text can say."""
    from airflow_dr_provider.provider_configuration import connection_type

    fields = connection_type(CONNECTION_TYPE)["conn-fields"]
    assert fields["kind"]["schema"]["enum"] == list(REPOSITORY_KINDS)
    named = {name for model in REPOSITORY_KINDS.values() for name in model.model_fields}
    assert set(fields) == named - {"cloud"}
