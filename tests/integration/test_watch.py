"""The watch on a real repository: what is found by the very next scan, and what is left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.drills import Bench, Repository

pytestmark = pytest.mark.postgres


def watch(bench: Bench) -> tuple[int, dict[str, Any]]:
    """``airflow-dr watch --json``: its exit code and what it says of the one drill."""
    done = bench.call("watch", str(bench.spec), "--json")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    (document,) = json.loads(done.stdout)
    return done.returncode, document


def test_a_healthy_repository(bench: Bench, repository: Repository) -> None:
    code, said = watch(bench)
    assert (code, said["findings"], said["holes"], said["notes"]) == (0, [], [], [])
    assert said["restorable"]["backup"] == "third"
