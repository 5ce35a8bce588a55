"""Connections from the environment, as Airflow reads them."""

from __future__ import annotations

import json

import pytest

from airflow_dr_provider.connections import Connection, from_environment, libpq
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
    assert options["client_encoding"] == "utf8"
    assert "cursor" not in options
    assert "p" not in repr(from_environment("c")).replace("postgres", "").partition("password")[2]


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:p@[::1]:5432/d\n",
        " postgresql://h/d",
        "postgresql://h/a/b",
        "aws-rds://h/d",
        "postgresql://u:p%40ss@h:1/d?__extra__=%7B%22sslmode%22%3A%20%22require%22%2C%20%22n%22%3A%20%7B%22a%22%3A%201%7D%7D",
    ],
)
def test_stranger_forms_are_the_same_too(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    test_the_same_as_airflow(monkeypatch, text)


@pytest.mark.parametrize(
    "text",
    [
        "postgres://https://secret:5432/d",
        "postgresql://u:secret@h:99999/d",
        "postgresql://u:secret@[bad/d",
        "postgresql://h/d?__extra__=%5B%22secret%22%5D",
        json.dumps({"conn_type": "postgres", "host": 5, "password": "secret"}),
        json.dumps({"conn_type": "postgres", "port": True, "password": "secret"}),
        json.dumps({"conn_type": "postgres", "extra": "[]", "password": "secret"}),
        json.dumps({"conn_type": "postgres", "extra": [["sslmode", "secret"]]}),
    ],
)
def test_what_would_break_later_is_refused_now(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    test_what_can_not_be_read_is_not_repeated(monkeypatch, text)


@pytest.mark.parametrize(("told", "seconds"), [(None, 10), ("5", 5), (0, 10), ("-1", 10), ("3600", 60)])
def test_the_wait_has_an_end(told: str | int | None, seconds: int) -> None:
    """0 means for ever to libpq."""
    connection = Connection(conn_id="c", conn_type="postgres", extra={} if told is None else {"connect_timeout": told})
    assert libpq(connection)["connect_timeout"] == seconds


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (Connection(conn_id="c", conn_type="mysql"), "type mysql"),
        (Connection(conn_id="c", conn_type="postgres", extra={"connect_timeout": "soon"}), "connect_timeout"),
    ],
)
def test_connections_that_are_none_of_postgresql(connection: Connection, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        libpq(connection)
    assert caught.value.code == "CONNECTION_UNKNOWN"


def test_nothing_in_extra_takes_read_only_back() -> None:
    extra = {"options": "-c default_transaction_read_only=off", "service": "x", "application_name": "x", "sslmode": "require"}
    found = libpq(Connection(conn_id="c", conn_type="postgres", host="h", extra=extra))
    assert found == {
        "host": "h",
        "sslmode": "require",
        "connect_timeout": 10,
        "client_encoding": "utf8",
        "application_name": "airflow-dr",
        "options": "-c default_transaction_read_only=on",
    }
