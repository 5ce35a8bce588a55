"""One pass of the reaper: what is over goes, what is in use stays, and what is on another host is left to its own reaper."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.errors import SandboxError
from airflow_dr_provider.sandboxes.host import VARIABLE
from airflow_dr_provider.sandboxes.place import MARKER
from airflow_dr_provider.sandboxes.process import ProcessSandbox
from airflow_dr_provider.spec.loader import load_text, spec_digest, spec_snapshot
from airflow_dr_provider.spec.sandbox import ProcessSandboxSpec
from airflow_dr_provider.stages.ownership import airflow_run, this_process
from airflow_dr_provider.stages.reap import Reaped, reap
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.records import Owner, Resource, ResourceState
from airflow_dr_provider.state.store import Store

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
SETTINGS = ProcessSandboxSpec(kind="process")
SPEC = """\
version: 1
drill: orders
objectives: {rto: 30m, rpo: 1h, mtd: 4h}
source: {repository: {kind: basebackup, backups: ./backups, archive: ./archive}}
tiers: [{name: primary, role: staging, sandbox: {kind: process}, timeout: 5m}]
"""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setenv(VARIABLE, "here")
    store = Store.open(f"sqlite:///{tmp_path}/state.db")
    yield Services(store=store, workdir=tmp_path / "work", clock=lambda: NOW)
    store.close()


def open_run(services: Services, owner: Owner) -> None:
    spec = load_text(SPEC, source="spec", base=Path("/drills"))
    services.store.open_run(
        run_id="run",
        drill="orders",
        spec_digest=spec_digest(spec),
        spec=spec_snapshot(spec),
        owner=owner,
        trigger="test",
        as_of=None,
        now=NOW,
    )


def reserve(services: Services, name: str = "orders-0") -> SandboxHandle:
    """A row of the ledger, whose lease is not over, and the sandbox's folder."""
    handle = ProcessSandbox(SETTINGS, workdir=services.workdir).handle(name)
    services.store.intend(
        Resource(
            name=name,
            run_id="run",
            attempt_id="run.0",
            kind="process",
            state=ResourceState.INTENDED,
            handle=handle.model_dump(mode="json"),
            settings=SETTINGS.model_dump(mode="json"),
            workdir=str(services.workdir),
            intended_at=NOW,
            lease_until=NOW + timedelta(hours=1),
        )
    )
    make(handle)
    return handle


def make(handle: SandboxHandle) -> None:
    place = Path(handle.place)
    place.mkdir(parents=True)
    (place / MARKER).write_text(f"sandbox {handle.name}\n")


def pass_over(services: Services, *, ended: bool = False, now: datetime = NOW, dry_run: bool = False) -> Reaped:
    return asyncio.run(reap(services, now=now, ended=lambda owner: ended and owner.kind == "airflow", dry_run=dry_run))


# -- runs whose walker ended -------------------------------------------------------------------------------------------
def test_a_run_that_is_under_way_is_left_alone(services: Services) -> None:
    open_run(services, airflow_run("orders", "manual__1"))
    handle = reserve(services)
    assert pass_over(services) == Reaped(released=(), leftovers={}, kept=("orders-0",))
    assert Path(handle.place).exists()


def test_a_run_whose_dag_run_ended_is_closed_and_holds_nothing(services: Services) -> None:
    open_run(services, airflow_run("orders", "manual__1"))
    handle = reserve(services)
    assert pass_over(services, ended=True, dry_run=True).released == ("orders-0",)
    assert services.store.unfinished_runs() != ()
    done = pass_over(services, ended=True)
    assert (done.released, done.closed, done.kept) == (("orders-0",), ("run",), ())
    assert not Path(handle.place).exists()
    run = services.store.run("run")
    assert run is not None
    assert (run.outcome, run.exit_code, services.store.unreleased()) == ("COULD_NOT_VERIFY", 2, ())


def test_a_runners_run_is_not_airflows_to_end(services: Services) -> None:
    open_run(services, this_process())
    reserve(services)
    assert pass_over(services, ended=True).kept == ("orders-0",)


# -- what came back ----------------------------------------------------------------------------------------------------
def test_a_sandbox_that_was_made_after_its_release_goes(services: Services) -> None:
    open_run(services, airflow_run("orders", "manual__1"))
    handle = reserve(services)
    assert pass_over(services, now=NOW + timedelta(hours=2)).released == ("orders-0",)
    make(handle)
    assert pass_over(services).released == ("orders-0",)
    assert not Path(handle.place).exists()
    assert pass_over(services).released == ()


def test_a_sandbox_that_this_ledger_does_not_know_is_somebody_elses(services: Services) -> None:
    stranger = ProcessSandbox(SETTINGS, workdir=services.workdir).handle("stranger-0")
    make(stranger)
    assert pass_over(services).released == ()
    assert Path(stranger.place).exists()


# -- another host ------------------------------------------------------------------------------------------------------
def test_what_another_host_holds_is_not_taken_for_gone(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    open_run(services, airflow_run("orders", "manual__1"))
    handle = reserve(services)
    monkeypatch.setenv(VARIABLE, "there")
    done = pass_over(services, ended=True)
    assert (done.released, done.leftovers, done.elsewhere) == ((), {}, {"orders-0": "here"})
    assert len(services.store.unreleased()) == 1
    assert Path(handle.place).exists()
    monkeypatch.setenv(VARIABLE, "here")
    assert pass_over(services).released == ("orders-0",)


def test_a_sandbox_is_refused_on_another_host_by_both_names(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = ProcessSandbox(SETTINGS, workdir=services.workdir)
    handle = adapter.handle("orders-0")
    asyncio.run(adapter.destroy(handle))
    monkeypatch.setenv(VARIABLE, "there")
    for asked in (adapter.destroy(handle), adapter.alive(handle), adapter.vitals(handle)):
        with pytest.raises(SandboxError, match="is on the host here, and this is there") as refused:
            asyncio.run(asked)
        assert refused.value.code == "WRONG_HOST"


def test_a_handle_from_before_hosts_were_noted_is_served(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = ProcessSandbox(SETTINGS, workdir=services.workdir)
    handle = adapter.handle("orders-0").model_copy(update={"details": {}})
    monkeypatch.setenv(VARIABLE, "there")
    assert asyncio.run(adapter.destroy(handle)) == ()
