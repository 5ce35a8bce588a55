"""kill -9 in any stage, then the same command again: it finishes, repeats no finished stage, and leaves nothing twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest

from airflow_dr_provider.domain.verdicts import StageName
from tests.integration.test_run import await_sandbox
from tests.support.drills import Bench

pytestmark = pytest.mark.postgres

STAGES = tuple(stage.value for stage in StageName if stage is not StageName.WARM)


def killed_run(bench: Bench, stage: str, when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.killing", str(bench.spec), bench.disaster.isoformat(), stage, when],
        env=bench.env(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("when", ["begin", "done", "after"])
@pytest.mark.parametrize("stage", STAGES)
def test_the_same_command_goes_on(bench: Bench, stage: str, when: str) -> None:
    killed_run(bench, stage, when)
    store = bench.store()
    (run,) = store.unfinished_runs("orders")
    before = {done.stage: done.ended_at for attempt in store.attempts(run.id) for done in store.checkpoints(attempt.id)}
    names = {resource.name for resource in store.unreleased()}
    document = bench.run()
    assert (document["outcome"], document["run_id"]) == ("RECOVERED", run.id)
    (attempt,) = store.attempts(run.id)
    after = {done.stage: done.ended_at for done in store.checkpoints(attempt.id)}
    assert {name: after[name] for name in before} == before
    assert len(document["attempts"]) == 1
    assert names <= {str(document["attempts"][0]["sandbox"]["name"])}
    assert store.broken_link(run.id) is None
    log = [(entry.source, entry.destination) for entry in store.transitions(run.id)]
    assert len(log) == len(set(log))
    store.close()
    assert bench.left() == []


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_at_any_moment(bench: Bench, seed: int) -> None:
    process = subprocess.Popen(
        bench.command("run", str(bench.spec), "--json", "--as-of", bench.disaster.isoformat()),
        env=bench.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip
    await_sandbox(bench)
    time.sleep(random.Random(seed).uniform(0, 1.5))
    process.kill()
    ended = process.wait(60)
    document = bench.run()
    assert document["outcome"] == "RECOVERED", document
    assert ended in (0, -signal.SIGKILL)
    assert bench.left() == []


def test_another_run_cleans_up_what_a_dead_one_left(bench: Bench) -> None:
    killed_run(bench, "restore", "done")
    store = bench.store()
    (dead,) = store.unfinished_runs("orders")
    document = bench.run("--new")
    assert document["outcome"] == "RECOVERED"
    assert document["run_id"] != dead.id
    closed = store.run(dead.id)
    store.close()
    assert closed is not None
    assert closed.outcome == "COULD_NOT_VERIFY"
    assert bench.left() == []


def test_the_reaper_takes_what_nobody_comes_back_for(bench: Bench) -> None:
    killed_run(bench, "validate", "begin")
    waiting = bench.call("reap")
    assert "in use" in waiting.stdout
    done = bench.call("reap", "--all")
    assert done.returncode == 0
    assert "released" in done.stdout
    document = bench.run("--new")
    assert document["outcome"] == "RECOVERED"
