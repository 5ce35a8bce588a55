"""``airflow-dr setup`` against a real Airflow: what it makes, what it only looks at, and that doing it twice changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.errors import ConfigurationError
from airflow_dr_provider.hooks.pools import _rows, sizes
from tests.dags.conftest import text

pytestmark = pytest.mark.airflow

NAME = "dr_test_pool"


@pytest.fixture
def place(airflow_database: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder with a spec that names a pool; pools of the test are taken out again."""
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "orders.yaml").write_text(text().replace("timeout: 10m,", f"timeout: 10m, pool: {NAME},", 1))
    (specs / "broken.yaml").write_text("version: 1\n")
    yield tmp_path
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(Pool).where(Pool.pool.like("dr_test%")))


def setup(place: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, tuple[str, str]]]:
    done = subprocess.run(
        [sys.executable, "-m", "airflow_dr_provider.cli.main", "setup", str(place / "specs"), "--json", *arguments],
        env={
            **os.environ,
            "AIRFLOW_DR_STATE": f"sqlite:///{place}/state.db",
            "AIRFLOW_DR_WORKDIR": str(place / "work"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    assert "passed over" in done.stderr, "broken.yaml's pools can't be known"
    steps = {step["what"]: (step["state"], step["detail"]) for step in json.loads(done.stdout)}
    steps.pop("timetables")
    return done.returncode, steps


def slots() -> dict[str, tuple[int, bool]]:
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(Pool).where(Pool.pool.like("dr_test%")))
        return {pool.pool: (pool.slots, pool.include_deferred) for pool in found}


def states(steps: dict[str, tuple[str, str]]) -> list[str]:
    return [state for state, _ in steps.values()]


def test_from_nothing_to_everything_and_again(place: Path) -> None:
    code, steps = setup(place, "--check")
    assert set(steps) == {f"pool {NAME}", "state store", "work folder"}
    assert (code, set(states(steps))) == (1, {"missing"})
    assert "wait for ever" in steps[f"pool {NAME}"][1]
    assert slots() == {}
    assert not (place / "work").exists()
    assert not (place / "state.db").exists()

    code, steps = setup(place)
    assert (code, set(states(steps))) == (0, {"made"})
    assert slots() == {NAME: (2, True)}
    assert (place / "work").is_dir()

    code, steps = setup(place, "--check")
    assert (code, set(states(steps))) == (0, {"there"})

    # Sizes: what is told changes a pool that is there, what isn't told leaves it.
    code, steps = setup(place, "--pool", f"{NAME}=5", AIRFLOW__DR__POOLS=f"{NAME}=3, dr_test_other=4")
    assert (code, steps[f"pool {NAME}"]) == (0, ("changed", "2 slots, wanted are 5"))
    assert slots() == {NAME: (5, True), "dr_test_other": (4, True)}
    code, steps = setup(place)
    assert (code, steps[f"pool {NAME}"]) == (0, ("there", "5 slots"))


@pytest.mark.parametrize("text", ["dr", "dr=", "dr=0", "dr=x", "a b=2", "dr=-1"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="NAME=SLOTS"):
        sizes(text)


def test_sizes() -> None:
    assert sizes("dr_staging=4, dr.cold=2,") == {"dr_staging": 4, "dr.cold": 2}
    assert sizes("") == {}


def test_what_airflow_prints_before_its_answer_is_passed_over() -> None:
    rows: list[dict[str, Any]] = [{"pool": "default_pool", "slots": "128"}]
    assert _rows(f"[warning] something\n{json.dumps(rows)}\n") == rows
    with pytest.raises(ConfigurationError, match="printed no JSON"):
        _rows("Traceback")
