"""Whom a drill tells, by real servers on loopback; and that nobody who can't be told changes anything."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message as Mail
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter

from airflow_dr_provider.cli.main import cli
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.evidence.message import events_of, outcome_message
from airflow_dr_provider.factory import build_drill_dag
from airflow_dr_provider.notifications.announce import tell
from airflow_dr_provider.notifications.channels import NotSentError, send
from airflow_dr_provider.notifications.outcome import DrillOutcomeNotifier
from airflow_dr_provider.spec import notifications
from airflow_dr_provider.spec.loader import load_text
from airflow_dr_provider.spec.notifications import Channel
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.people import People
from airflow_dr_provider.state.store import Store
from tests.dags.conftest import text
from tests.support.listeners import mail_server, web_server

pytestmark = pytest.mark.airflow

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
RECORD: dict[str, Any] = {
    "drill": "orders",
    "run_id": "orders:manual__1",
    "outcome": "RECOVERED_DEGRADED",
    "exit_code": 3,
    "reasons": ["secondary carried it, after primary (DISK_FULL)."],
    "tier": "secondary",
    "backup": "20260301",
    "achieved": {"rpo_seconds": 12.0, "rto_seconds": 4000.0},
    "objectives": {"rpo_seconds": 60.0, "rto_seconds": 1800.0, "mtd_seconds": 7200.0},
    "attempts": [{"tier": "primary", "signature": "DISK_FULL", "detail": "<b>{{ 7 * 7 }}</b> & <!channel>"}],
    "leftovers": [],
}
LINK = "http://airflow.example/dr/dags/orders/runs/manual__1"


def message(**changes: Any) -> Any:
    record = {**RECORD, **changes}
    return outcome_message(record, event=record["outcome"], link=LINK)


def channel(**fields: Any) -> Channel:
    adapter: TypeAdapter[Channel] = TypeAdapter(Channel)
    return adapter.validate_python(fields)


@pytest.fixture
def services(place: Path) -> Iterator[Services]:
    store = Store.open(f"sqlite:///{place}/state.db")
    yield Services(store=store, workdir=place / "work", clock=lambda: NOW)
    store.close()


def connect(monkeypatch: pytest.MonkeyPatch, name: str, **fields: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))


def smtp(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "drills@example.org", "timeout": 10, "retry_limit": 1}
    connect(monkeypatch, "mail", conn_type="smtp", host="127.0.0.1", port=port, extra=extra)


def body(mail: Mail) -> str:
    parts = [part for part in mail.walk() if part.get_content_type() == "text/html"]
    return parts[0].get_payload(decode=True).decode()


# -- the message -------------------------------------------------------------------------------------------------------
def test_what_a_message_says() -> None:
    told = message().text
    for part in (
        "RECOVERED_DEGRADED (exit code 3)", "tier secondary, backup 20260301", "RPO 12.0 s of 60 s: met",
        "RTO 4000.0 s of 1800 s: MISSED", "primary: DISK_FULL", LINK,
    ):  # fmt: skip
        assert part in told
    assert events_of({**RECORD, "leftovers": ["a process"]}) == ("RECOVERED_DEGRADED", "CLEANUP_FAILED")


# -- by mail -----------------------------------------------------------------------------------------------------------
def test_a_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as (port, mails):
        smtp(monkeypatch, port)
        send(channel(kind="email", conn_id="mail", to=["jo@example.org", "ann@example.org"]), message())
    [mail] = mails
    assert mail["Subject"] == "DR drill orders: RECOVERED_DEGRADED"
    assert {"jo@example.org", "ann@example.org"} <= {part.strip() for part in mail["To"].split(",")}
    assert "&lt;b&gt;{{ 7 * 7 }}&lt;/b&gt;" in body(mail), "what a person wrote is text: neither HTML nor a template"
    assert LINK in body(mail)


def test_a_server_that_refuses_is_written_down_without_its_words(monkeypatch: pytest.MonkeyPatch, services: Services) -> None:
    wanted = [channel(kind="email", conn_id="mail", to=["jo@example.org"])]
    with mail_server(refuse=True) as (port, mails):
        smtp(monkeypatch, port)
        [notice] = tell(services, wanted, "orders:1", "MANUAL_TRIAGE", message())
    assert (notice.sent, mails) == (False, [])
    assert "hunter2" not in notice.detail
    with mail_server() as (port, mails):
        smtp(monkeypatch, port)
        tell(services, wanted, "orders:1", "MANUAL_TRIAGE", message())
        tell(services, wanted, "orders:1", "MANUAL_TRIAGE", message())
    assert len(mails) == 1, "what wasn't sent is sent later, and once"
    assert [(n.event, n.sent, n.detail) for n in People(services.store).notices("orders:1")] == [("MANUAL_TRIAGE", True, "")]


def test_only_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, services: Services) -> None:
    with mail_server() as (port, mails):
        smtp(monkeypatch, port)
        wanted = [channel(kind="email", conn_id="mail", to=["jo@example.org"], on=["MANUAL_TRIAGE"])]
        assert tell(services, wanted, "orders:1", "RECOVERED", message()) == ()
    assert mails == []


def test_a_connection_that_is_not_defined(services: Services, airflow_database: Path) -> None:
    [notice] = tell(
        services, [channel(kind="email", conn_id="no_such", to=["jo@example.org"])], "r", "MANUAL_TRIAGE", message()
    )
    assert not notice.sent


# -- by others ---------------------------------------------------------------------------------------------------------
def test_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("airflow.providers.slack")
    with web_server() as (port, calls):
        connect(monkeypatch, "hook", conn_type="slackwebhook", schema="http", host=f"127.0.0.1:{port}", password="T0/B0/xyz")
        send(channel(kind="slack_webhook", conn_id="hook"), message())
    [(path, sent)] = calls
    assert path.endswith("T0/B0/xyz")
    told = json.loads(sent)["text"]
    assert "DR drill orders: RECOVERED_DEGRADED" in told
    assert "&lt;!channel&gt;" in told, "nobody is woken by what somebody wrote"
    assert "{{ 7 * 7 }}" in told


def test_somebody_who_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("airflow.providers.slack")
    release = threading.Event()
    with web_server(hang=release) as (port, calls):
        connect(monkeypatch, "hook", conn_type="slackwebhook", schema="http", host=f"127.0.0.1:{port}", password="T0/B0/xyz")
        with pytest.raises(NotSentError, match=r"no answer within 0\.5 s"):
            send(channel(kind="slack_webhook", conn_id="hook"), message(), limit=0.5)
        release.set()
    assert len(calls) <= 1


def test_sns(monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    try:
        _, port = running.get_host_and_port()
        endpoint = f"http://127.0.0.1:{port}"
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1"}
        client = boto3.client("sns", endpoint_url=endpoint, **keys)
        topic = client.create_topic(Name="drills")["TopicArn"]
        queues = boto3.client("sqs", endpoint_url=endpoint, **keys)
        queue = queues.create_queue(QueueName="drills")["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        client.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        extra = {"endpoint_url": endpoint, "region_name": "eu-west-1"}
        connect(monkeypatch, "cloud", conn_type="aws", login="a", password="b", extra=extra)
        send(channel(kind="sns", conn_id="cloud", topic=topic), message())
        [got] = queues.receive_message(QueueUrl=queue)["Messages"]
    finally:
        running.stop()
    told = json.loads(got["Body"])
    assert told["Subject"] == "DR drill orders: RECOVERED_DEGRADED"
    assert LINK in told["Message"]


def test_pagerduty_gets_an_event_of_the_right_weight() -> None:
    pytest.importorskip("airflow.providers.pagerduty")
    from airflow_dr_provider.notifications.channels import notifier

    made = notifier(channel(kind="pagerduty"), message(outcome="MANUAL_TRIAGE"))
    assert (made.severity, made.dedup_key, made.links[0]["href"]) == ("critical", "orders:manual__1", LINK)


# -- specs -------------------------------------------------------------------------------------------------------------
def spec_with(lines: str) -> str:
    return text().replace("tiers:\n", f"notifications:\n{lines}tiers:\n")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("  - {kind: pigeon}\n", "kind"),
        ("  - {kind: email, to: [nobody]}\n", "to"),
        ("  - {kind: sns, topic: drills}\n", "topic"),
        ("  - {kind: email, to: [a@b.c], on: [NEVER]}\n", "on"),
        ("  - {kind: email, to: [a@b.c], password: x}\n", "password"),
    ],
)
def test_what_is_no_notification(line: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load_text(spec_with(line), source="spec", base=Path("/drills"))


def test_a_provider_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(notifications, "distribution", missing)
    source = spec_with('  - {kind: slack, channel: "#dr"}\n')
    spec = load_text(source, source="spec", base=Path("/drills"))
    with pytest.raises(SpecError, match="apache-airflow-providers-slack, which isn't installed"):
        build_drill_dag(spec)
    (tmp_path / "orders.yaml").write_text(source)
    done = CliRunner().invoke(cli, ["lint", str(tmp_path / "orders.yaml")])
    assert done.exit_code == 2
    assert "apache-airflow-providers-slack" in done.output


# -- a notifier for callbacks ------------------------------------------------------------------------------------------
class _Dag:
    dag_id = "mine"


def test_the_notifier_for_callbacks(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("AIRFLOW_DR_STATE", f"sqlite:///{place}/state.db")
    with mail_server() as (port, mails):
        smtp(monkeypatch, port)
        made = DrillOutcomeNotifier(kind="email", conn_id="mail", to=["jo@example.org"])
        made.notify({"dag": _Dag(), "run_id": "manual__1"})
    assert "failed before its drill was closed" in body(mails[0])
    with pytest.raises(SpecError, match="DrillOutcomeNotifier"):
        DrillOutcomeNotifier(kind="email", conn_id="mail")


# -- the deadline ------------------------------------------------------------------------------------------------------
def test_a_deadline_only_where_it_is_asked_for() -> None:
    usual = load_text(spec_with("  - {kind: email, to: [a@b.c]}\n"), source="spec", base=Path("/drills"))
    assert not build_drill_dag(usual).deadline
    asked = load_text(spec_with("  - {kind: email, to: [a@b.c], on: [RTO_PASSED]}\n"), source="spec", base=Path("/drills"))
    dag = build_drill_dag(asked)
    alert = dag.deadline[0] if isinstance(dag.deadline, list) else dag.deadline
    assert alert.interval == asked.objectives.rto
    from airflow.serialization.serialized_objects import DagSerialization

    assert DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag)))).dag_id == dag.dag_id


def test_what_the_deadline_does(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    from airflow_dr_provider.notifications.deadline import rto_deadline

    monkeypatch.setenv("AIRFLOW_DR_STATE", f"sqlite:///{place}/state.db")
    source = spec_with("  - {kind: email, conn_id: mail, to: [a@b.c], on: [RTO_PASSED]}\n")
    callback = rto_deadline(load_text(source, source="spec", base=Path("/drills")))["deadline"].callback
    module, _, name = callback.path.rpartition(".")
    function = getattr(__import__(module, fromlist=[name]), name)
    with mail_server() as (port, mails):
        smtp(monkeypatch, port)
        function(**callback.kwargs, context={"dag_run": {"dag_id": "orders", "dag_run_id": "manual__7"}})
        function(**callback.kwargs, context={"dag_run": {"dag_id": "orders", "dag_run_id": "manual__7"}})
    assert len(mails) == 1
    assert "30 min, the RTO, are over" in body(mails[0])
