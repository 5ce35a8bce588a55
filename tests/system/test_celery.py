"""Drills with Celery workers on two hosts: each has a work folder, a name and a queue of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_dr_provider.demo.cluster import end_session
from airflow_dr_provider.demo.scene import free_port
from airflow_dr_provider.stages.naming import sandbox_name
from tests.support.airflow_cluster import AirflowCluster
from tests.support.holds import Holds
from tests.system.conftest import Scene, cluster_environment, metadata_server, scene_folder, write_drill

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.airflow,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="Redis isn't installed (scripts/system-packages)"),
]

HOSTS = {"a": "default,queue-a,astray", "b": "default,queue-b,astray"}
"""Each host's queues. The one that both serve is what a queue must not be."""


@dataclass
class Hosts(Scene):
    """A scene whose workers are Celery's."""

    def start_worker(self, host: str) -> None:
        self.cluster.start(
            f"worker-{host}",
            f"celery worker --queues {HOSTS[host]} --concurrency 2 --celery-hostname {host}@%h --pid {self.folder}/{host}.pid",
            {
                "AIRFLOW_DR_HOST": f"host-{host}",
                "AIRFLOW_DR_WORKDIR": str(self.workdir / host),
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            },
        )

    def stop_worker(self, host: str) -> subprocess.Popen[bytes]:
        """Ask a worker to take no more tasks, finish those that it has, and end."""
        return self.cluster.ask_to_end(f"worker-{host}")

    def holder(self, drill: str, dag_run: str) -> dict[str, str]:
        """Which host held the sandbox of each attempt."""
        store = self.store()
        try:
            run_id = f"{drill}:{dag_run}"
            names = {attempt.tier: sandbox_name(drill, run_id, attempt.rung) for attempt in store.attempts(run_id)}
            rows = {tier: store.resource(name) for tier, name in names.items()}
            return {tier: str(row.handle["details"]["host"]) for tier, row in rows.items() if row is not None}
        finally:
            store.close()


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis of its own; its URL."""
    port = free_port()
    with (folder / "redis.log").open("ab") as log:
        server = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        end_session(server)


@pytest.fixture(scope="module")
def whole_hosts() -> Iterator[Hosts]:
    with scene_folder() as folder, metadata_server(folder) as metadata, redis(folder) as broker:
        write_drill(folder / "dags", folder, "hosts", queues=("queue-a", "queue-b"))
        write_drill(folder / "dags", folder, "lost", queues=("astray", "queue-b"))
        write_drill(folder / "dags", folder, "unnamed")
        settings = {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": metadata.url("airflow", "db+postgresql+psycopg2"),
            # How soon a task is known to be lost whose worker was killed.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        }
        environment = cluster_environment(folder, metadata)
        with AirflowCluster(folder / "airflow", folder / "dags", environment, settings=settings) as cluster:
            scene = Hosts(
                folder=folder, cluster=cluster, holds=Holds(folder / "holds"), state=metadata.url("drills"), metadata=metadata
            )
            for host in HOSTS:
                scene.start_worker(host)
            yield scene


@pytest.fixture
def hosts(whole_hosts: Hosts) -> Iterator[Hosts]:
    """The scene for one test; after it, and one pass of every host's reaper, nothing may be left."""
    with whole_hosts.holds.none_left():
        yield whole_hosts
    assert whole_hosts.reap() == "success"
    assert whole_hosts.left() == []


def test_a_tier_runs_on_the_host_whose_queue_it_names(hosts: Hosts) -> None:
    dag_run = hosts.trigger("hosts", inject="server_killed")
    assert hosts.cluster.await_end("hosts", dag_run) == "success"
    run = hosts.run("hosts", dag_run)
    assert run is not None
    assert (run.outcome, hosts.proved("hosts", dag_run)) == ("RECOVERED_DEGRADED", ["secondary"])
    assert hosts.holder("hosts", dag_run) == {"primary": "host-a", "secondary": "host-b"}


def test_a_worker_that_was_killed_goes_on_when_it_is_back(hosts: Hosts) -> None:
    place = "hosts.0.restore.done"
    hosts.holds.set(place)
    dag_run = hosts.trigger("hosts")
    hosts.await_hold(place)
    hosts.cluster.kill("worker-a", with_tasks=True)
    hosts.holds.let_go(place)
    (hosts.folder / "a.pid").unlink(missing_ok=True)
    hosts.start_worker("a")
    assert hosts.cluster.await_end("hosts", dag_run) == "success"
    run = hosts.run("hosts", dag_run)
    assert run is not None
    assert (run.outcome, hosts.proved("hosts", dag_run)) == ("RECOVERED", ["primary"])
    assert hosts.cluster.details("hosts", dag_run)["primary.restore"]["try_number"] == 2


def test_a_task_on_another_host_is_refused_by_name(hosts: Hosts) -> None:
    """Reserved on one host, provisioned on the other, for both serve the queue: never green, and nothing is left."""
    place = "lost.0.reserve.done"
    hosts.stop_worker("b").wait(60)
    hosts.holds.set(place)
    dag_run = hosts.trigger("lost")
    hosts.await_hold(place)
    ending = hosts.stop_worker("a")
    hosts.start_worker("b")
    hosts.holds.let_go(place)
    ending.wait(60)
    try:
        assert hosts.cluster.await_end("lost", dag_run) == "failed"
    finally:
        hosts.start_worker("a")
    run = hosts.run("lost", dag_run)
    assert run is not None
    assert (run.outcome, run.exit_code, hosts.proved("lost", dag_run)) == ("RECOVERED_DEGRADED", 4, ["secondary"])
    store = hosts.store()
    (first, _) = store.attempts(run.id)
    refused = {done.stage.value: done.result for done in store.checkpoints(first.id) if done.result.signature is not None}
    store.close()
    assert {stage: result.signature for stage, result in refused.items()} == {
        "provision": "WRONG_HOST",
        "teardown": "WRONG_HOST",
    }
    assert all("host-a" in result.detail and "host-b" in result.detail for result in refused.values())


def test_a_spec_that_names_no_queue_is_refused(hosts: Hosts) -> None:
    (wrong,) = hosts.cluster.import_errors()
    assert "unnamed.yaml:" in wrong
    assert "tiers[0].sandbox" in wrong
    assert "single_worker" in wrong
