"""Connections from the environment, as Airflow reads them."""

from __future__ import annotations

import json

import pytest

from airflow_dr_provider.connections import from_environment, libpq
from airflow_dr_provider.errors import ConfigurationError

FORMS = [
    "postgresql://user:secret@db.example:5433/orders",
    "postgres://user@db.example/orders?sslmode=require",
    "postgresql://us%40er:p%2Fw%3A@db.example:5432/or%20ders",
    "postgresql://user:pw@%2Fvar%2Frun%2Fpostgresql:5432/orders",
    "postgresql://user:pw@127.0.0.1:5432/",
    "postgresql://db.example",
    json.dumps({"conn_type": "postgres", "host": "db", "login": "u", "password": "p", "schema": "s", "port": 5432}),
    json.dumps({"conn_type": "postgres", "host": "db", "extra": {"sslmode": "verify-full"}}),
    json.dumps({"conn_type": "postgres", "host": "db", "extra": '{"sslmode": "verify-full"}'}),
]


@pytest.mark.parametrize("text", FORMS)
def test_the_same_as_airflow(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    from airflow.sdk.definitions.connection import Connection as AirflowConnection

    theirs = AirflowConnection.from_json(text, "c") if text.startswith("{") else AirflowConnection.from_uri(text, "c")
    monkeypatch.setenv("AIRFLOW_CONN_C", text)
    ours = from_environment("c")
    assert (ours.conn_type, ours.host, ours.port) == (theirs.conn_type, theirs.host or None, theirs.port)
    assert (ours.login, ours.password, ours.database) == (theirs.login, theirs.password, theirs.schema or None)
    assert ours.extra == theirs.extra_dejson


@pytest.mark.parametrize("text", [None, "secret", "{secret", "postgresql://user:secret@host:port/"])
def test_what_can_not_be_read_is_not_repeated(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_ORDERS_RO", raising=False)
    if text is not None:
        monkeypatch.setenv("AIRFLOW_CONN_ORDERS_RO", text)
    with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_ORDERS_RO") as caught:
        from_environment("orders_ro")
    assert caught.value.code == "CONNECTION_UNKNOWN"
    assert "secret" not in caught.value.message


def test_libpq_keeps_sessions_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_C", "postgresql://u:p@h/d?sslmode=require&options=-c%20x%3Dy&cursor=dict")
    options = libpq(from_environment("c"))
    assert options["options"] == "-c default_transaction_read_only=on"
    assert options["sslmode"] == "require"
    assert "cursor" not in options
    assert "p" not in repr(from_environment("c")).replace("postgres", "").partition("password")[2]
