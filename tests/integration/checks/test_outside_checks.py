"""What leads out of a restored copy, and what it would do unasked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.checks.dependencies import DependenciesCheck
from airflow_dr_provider.checks.side_effects import SideEffectsCheck, armed_jobs
from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.domain.reports import IsolationReport, Probe, ProbeResult
from airflow_dr_provider.domain.verdicts import Verdict
from tests.integration.checks.conftest import Cluster
from tests.unit.checks.contexts import outcome

pytestmark = pytest.mark.postgres

PASSED, FAILED, UNKNOWN = Verdict.PASSED, Verdict.FAILED, Verdict.COULD_NOT_VERIFY
SERVERS = """
CREATE EXTENSION postgres_fdw;
CREATE SERVER ledger FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'ledger.example,10.1.2.3', port '6432');
CREATE USER MAPPING FOR postgres SERVER ledger OPTIONS (password 'hush');
CREATE FOREIGN TABLE entries (x int) SERVER ledger;
"""
SUBSCRIPTION = """
CREATE SUBSCRIPTION feed_in CONNECTION 'host=/nonexistent user=joe password=hush' PUBLICATION feed WITH (connect = false)
"""


def answering(reached: bool | None) -> tuple[list[Probe], Callable[[Sequence[Probe]], Any]]:
    asked: list[Probe] = []

    async def probe(probes: Sequence[Probe]) -> tuple[ProbeResult, ...]:
        asked.extend(probes)
        return tuple(ProbeResult(label=item.label, reached=reached, detail="said so") for item in probes)

    return asked, probe


@pytest.fixture(scope="module")
def quiet() -> Iterator[Cluster]:
    """A server that is told what a sandbox is told: no replication."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    settings = {"archive_mode": "off", "max_logical_replication_workers": "0"}
    with DemoProduction(folder, major=17, settings=settings) as server:
        yield Cluster(server.create(schema=""))
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("wanted", "reached", "answer", "expected", "required"),
    [
        ("required", ("network", "mount"), False, (PASSED, None), True),
        ("required", ("network", "mount"), True, (FAILED, "DEPENDENCY_REACHABLE"), True),
        ("preferred", ("network",), True, (FAILED, "DEPENDENCY_REACHABLE"), True),
        ("preferred", (), True, (UNKNOWN, "ISOLATION_UNAVAILABLE"), False),
        ("required", ("network",), None, (UNKNOWN, "ISOLATION_UNAVAILABLE"), True),
        ("off", (), True, (UNKNOWN, "ISOLATION_UNAVAILABLE"), False),
    ],
)
async def test_foreign_servers_lead_nowhere(
    cluster: Cluster,
    shop: str,
    wanted: Any,
    reached: tuple[str, ...],
    answer: bool | None,
    expected: tuple[Verdict, str | None],
    required: bool,
) -> None:
    cluster.sql("DROP SERVER away; " + SERVERS, shop)
    asked, probe = answering(answer)
    context = cluster.context(shop, probe=probe, isolation=IsolationReport(wanted=wanted, reached=reached))
    (result,) = await DependenciesCheck().run(context)
    assert (outcome((result,)), result.required) == (expected, required), result.detail
    if wanted != "off":
        assert {(item.address, item.port) for item in asked} == {("ledger.example", 6432), ("10.1.2.3", 6432)}
    assert "hush" not in str(result)


async def test_a_subscription_that_may_run_is_a_fault(cluster: Cluster, shop: str) -> None:
    cluster.sql(SUBSCRIPTION, shop)
    try:
        assert outcome(await DependenciesCheck().run(cluster.context(shop))) == (PASSED, None)
        cluster.sql("ALTER SUBSCRIPTION feed_in ENABLE", shop)
        (result,) = await DependenciesCheck().run(cluster.context(shop))
        assert outcome((result,)) == (FAILED, "DEPENDENCY_REACHABLE")
        assert "feed_in" in result.detail
        assert "hush" not in str(result)
    finally:
        cluster.sql("ALTER SUBSCRIPTION feed_in DISABLE", shop)
        cluster.sql("ALTER SUBSCRIPTION feed_in SET (slot_name = NONE)", shop)
        cluster.sql("DROP SUBSCRIPTION feed_in", shop)


async def test_an_enabled_subscription_without_a_worker_is_off(quiet: Cluster) -> None:
    quiet.sql(SUBSCRIPTION, "postgres")
    try:
        quiet.sql("ALTER SUBSCRIPTION feed_in ENABLE", "postgres")
        (result,) = await DependenciesCheck().run(quiet.context("postgres"))
        assert outcome((result,)) == (PASSED, None)
        assert "no worker" in result.detail
        assert result.facts["databases"]["postgres"]["enabled"] == ("feed_in",)
    finally:
        quiet.sql("ALTER SUBSCRIPTION feed_in DISABLE", "postgres")
        quiet.sql("ALTER SUBSCRIPTION feed_in SET (slot_name = NONE)", "postgres")
        quiet.sql("DROP SUBSCRIPTION feed_in", "postgres")


async def test_jobs_without_anything_to_run_them_are_asleep(quiet: Cluster, cluster: Cluster, shop: str) -> None:
    assert outcome(await SideEffectsCheck().run(cluster.context(shop))) == (PASSED, None)
    cluster.sql(
        """
        CREATE SCHEMA cron; CREATE TABLE cron.job (jobid int, command text, active bool);
        INSERT INTO cron.job VALUES (1, 'SELECT send_mail()', true), (2, 'SELECT 2', false);
        ALTER EVENT TRIGGER watch ENABLE
        """,
        shop,
    )
    (result,) = await SideEffectsCheck().run(cluster.context(shop))
    assert outcome((result,)) == (PASSED, None)
    assert (result.facts["jobs"], result.facts["event_triggers"]) == ({shop: {"pg_cron": 1}}, {shop: ["watch"]})
    assert "send_mail" not in str(result)
    assert outcome(await SideEffectsCheck().run(quiet.context("postgres"))) == (PASSED, None)


@pytest.mark.parametrize(
    ("jobs", "libraries", "processes", "armed"),
    [
        ({"shop": {"pg_cron": 2}}, [], ["client backend"], 0),
        ({"shop": {"pg_cron": 2}}, ["pg_cron"], ["client backend"], 1),
        ({"shop": {"pg_cron": 2}, "b": {"pg_net": 1}}, [], ["pg_cron launcher", "pg_net 0.8 worker"], 2),
        ({"shop": {"timescaledb": 3}}, [], ["TimescaleDB Background Worker Scheduler"], 1),
        ({"shop": {}}, ["pg_cron"], ["pg_cron launcher"], 0),
    ],
)
def test_jobs_are_armed_by_their_library_or_worker(
    jobs: dict[str, dict[str, int]], libraries: list[str], processes: list[str], armed: int
) -> None:
    assert len(armed_jobs(jobs, libraries, processes)) == armed


async def test_armed_jobs_fail_and_unknown_workers_are_told() -> None:
    check = SideEffectsCheck()
    assert check._answer({"shop": {"pg_cron": 1}}, ["pg_cron"], [], {}).signature == "SIDE_EFFECTS_ARMED"
    told = check._answer({"shop": {}}, [], ["client backend", "mail sender"], {})
    assert (told.verdict, told.required) == (UNKNOWN, False)
    assert "mail sender" in told.detail
