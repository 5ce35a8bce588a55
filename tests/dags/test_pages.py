"""The pages of drill runs, in Airflow's own web server: who may see them, and what they show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.domain.triage import Answer, TriageAnswer
from airflow_dr_provider.domain.verdicts import CheckResult, StageName, StageResult, Verdict
from airflow_dr_provider.evidence.pages import record_page
from airflow_dr_provider.stages.ownership import airflow_run
from airflow_dr_provider.state.people import Notice, People
from airflow_dr_provider.state.store import Store

pytestmark = pytest.mark.airflow

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
EVIL = "<script>alert(1)</script>\"' onload=x"
RUN = "orders:manual__2026-03-01T04:00:00+00:00"
PAGE = "/dr/dags/orders/runs/manual__2026-03-01T04:00:00+00:00"


@pytest.fixture(scope="module")
def server(airflow_database: Path) -> Iterator[Any]:
    from airflow import plugins_manager, settings
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from starlette.testclient import TestClient

    # Installed, the package is found by its entry point; here the same class lies in Airflow's folder of plugins.
    plugins = Path(settings.PLUGINS_FOLDER or "")
    plugins.mkdir(exist_ok=True)
    (plugins / "drills.py").write_text("from airflow_dr_provider.plugins.plugin import DrillPlugin\n")
    plugins_manager._get_plugins.cache_clear()
    plugins_manager.get_fastapi_plugins.cache_clear()
    with TestClient(create_app(apps="core"), base_url="http://testserver") as client:
        yield client
    purge_cached_app()
    (plugins / "drills.py").unlink()


@pytest.fixture
def as_user(server: Any) -> Callable[[str | None], dict[str, str]]:
    """Makes headers of a user with a role; None for one who has none."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def headers(role: str | None) -> dict[str, str]:
        token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="jo", role=role))
        return {"Authorization": f"Bearer {token}"}

    return headers


@pytest.fixture(autouse=True)
def store(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A run that goes on, with a failed attempt and hostile texts in all that people and programs may write."""
    monkeypatch.setenv("AIRFLOW_DR_STATE", f"sqlite:///{place}/state.db")
    store = Store.open(f"sqlite:///{place}/state.db")
    store.open_run(
        run_id=RUN, drill="orders", spec_digest="d", spec={}, owner=airflow_run("orders", "r"), trigger="t", as_of=None, now=NOW
    )
    attempt = store.open_attempt(RUN, rung=0, tier="primary", number=1, now=NOW)
    check = CheckResult(name="smoke:orders", verdict=Verdict.FAILED, signature="SMOKE_FAILED", detail=EVIL)
    failed = StageResult(
        stage=StageName.VALIDATE, verdict=Verdict.FAILED, signature="SMOKE_FAILED", detail=EVIL, checks=(check,)
    )
    store.finish_stage(attempt.id, digest="x", result=failed, started_at=NOW, now=NOW, candidate=EVIL)
    store.move(RUN, source="primary", destination="manual_triage", reason="SMOKE_FAILED", detail=EVIL, now=NOW)
    people = People(store)
    people.keep_log(attempt.id, f"LOG:  {EVIL}", now=NOW)
    people.answer(RUN, TriageAnswer(answer=Answer.ACCEPT, chosen="Accept the risk", reason=EVIL, by=EVIL, at=NOW))
    people.note(Notice(run_id=RUN, event="MANUAL_TRIAGE", channel="email to a@b.c by mail", sent=False, detail=EVIL, at=NOW))
    yield store
    store.close()


class Elements(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/record.json", f"{PAGE}/attempts/0/log"])
def test_who_may_see_it(server: Any, as_user: Callable[[str | None], dict[str, str]], path: str) -> None:
    assert server.get(path).status_code == 401
    assert server.get(path, headers={"Authorization": "Bearer forged"}).status_code in (401, 403)
    assert server.get(path, headers=as_user(None)).status_code == 403
    assert server.get(path, headers=as_user("VIEWER")).status_code == 200


def test_what_it_shows(server: Any, as_user: Callable[[str | None], dict[str, str]]) -> None:
    answer = server.get(PAGE, headers=as_user("VIEWER"))
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    page = Elements(answer.text)
    for part in ("orders", "under way", "primary → manual_triage", "SMOKE_FAILED", "smoke:orders", "NOT sent", EVIL):
        assert part in page.text
    assert {tag for tag, _ in page.found} & {"script", "img", "iframe", "link"} == set()
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    links = [attributes["href"] for tag, attributes in page.found if tag == "a"]
    assert f"{PAGE.replace(':', '%3A').replace('+', '%2B')}/attempts/0/log" in links
    for link in links:
        assert server.get(link, headers=as_user("VIEWER")).status_code == 200
    log = server.get(f"{PAGE}/attempts/0/log", headers=as_user("VIEWER"))
    assert EVIL in Elements(log.text).text
    assert "<script>" not in log.text


def test_a_run_that_is_not_there(server: Any, as_user: Callable[[str | None], dict[str, str]]) -> None:
    assert server.get("/dr/dags/orders/runs/other", headers=as_user("ADMIN")).status_code == 404


def test_a_store_that_can_not_be_read(
    server: Any, as_user: Callable[[str | None], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_DR_STATE", "postgresql://dr:hunter2@127.0.0.1:1/none")
    answer = server.get(PAGE, headers=as_user("ADMIN"))
    assert answer.status_code == 503
    assert "hunter2" not in answer.text


def test_a_log_that_was_changed_is_said() -> None:
    record = {"drill": "orders", "run_id": "r", "outcome": "RECOVERED", "exit_code": 0, "attempts": [], "transitions": []}
    assert "log was changed" not in Elements(record_page(record)).text
    assert "log was changed" in Elements(record_page(record, intact=False)).text
