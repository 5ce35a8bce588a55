"""Processes are told apart by id and start, and found by their mark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_dr_provider.sandboxes import processes


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, processes.ENVIRONMENT: str(tmp_path)}
    with subprocess.Popen(["sleep", "600"], env=environment) as running:
        yield running
        running.kill()


def test_found_by_its_mark_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    assert [running.pid for running in processes.belonging(tmp_path)] == [sleeper.pid]
    assert processes.belonging(tmp_path / "other") == []
    assert processes.belonging(tmp_path.parent) == []
    assert processes.server_of(processes.belonging(tmp_path)) is None


def test_one_without_an_environment_is_nobodys(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], env={}) as running:
        assert processes.belonging(tmp_path) == []
        running.kill()


def test_a_process_is_its_id_and_its_start(sleeper: subprocess.Popen[bytes]) -> None:
    running = processes.process(sleeper.pid)
    assert running is not None
    assert running.command == "sleep"
    assert running.parent == os.getpid()
    assert running.alive
    later = processes.Running(running.pid, running.started + 1, running.parent, running.command)
    assert not later.alive
    processes.send(later, signal.SIGKILL)
    assert sleeper.poll() is None


async def test_ended_without_being_its_parent(sleeper: subprocess.Popen[bytes]) -> None:
    """One that waits to be reaped has ended."""
    running = processes.process(sleeper.pid)
    assert running is not None
    assert not await processes.ended(running, 0.01)
    processes.send(running, signal.SIGKILL)
    assert await processes.ended(running, 10)
    assert processes.process(sleeper.pid) is None
    assert await processes.ended(running, 0)


async def test_all_are_ended(tmp_path: Path) -> None:
    """One that doesn't hear, and what it started."""
    environment = {**os.environ, processes.ENVIRONMENT: str(tmp_path)}
    script = "trap '' TERM QUIT INT; sleep 600 & sleep 600"
    with subprocess.Popen(["sh", "-c", script], env=environment, start_new_session=True) as running:
        while len(processes.belonging(tmp_path)) < 3:
            assert running.poll() is None
        assert await processes.end_all(tmp_path) == []
    assert processes.belonging(tmp_path) == []


def test_this_process_and_its_ancestors_are_never_its_own(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom airflow_dr_provider.sandboxes import processes\n"
        "print(len(processes.belonging(Path(sys.argv[1]))))"
    )
    top = Path(__file__).parents[3]
    environment = {**os.environ, processes.ENVIRONMENT: str(tmp_path), "PYTHONPATH": str(top)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"


def test_shared_memory_of_others_is_left_alone() -> None:
    processes.remove_shared_memory(2**31 - 1, os.geteuid())
