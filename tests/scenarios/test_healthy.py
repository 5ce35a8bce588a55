"""A few healthy drills, of the same shapes as ``make healthy`` draws two hundred from: every one ends green."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.scenarios.healthy import SEED, here, play
from tests.scenarios.shapes.drills import judge
from tests.scenarios.shapes.features import FEATURES
from tests.scenarios.shapes.shape import Shape, shapes

pytestmark = pytest.mark.postgres

WORLDS, DRILLS = 3, 4


@pytest.mark.parametrize("shape", here(SEED + 1, WORLDS), ids=lambda shape: f"PostgreSQL {shape.major} {shape.tool}")
def test_healthy(shape: Shape) -> None:
    found = play(shape, SEED + 1, DRILLS)
    assert [(outcome.drill, outcome.reds) for outcome in found if outcome.reds] == [], shape.label
    assert len(found) == DRILLS


def test_a_seed_draws_the_same_shapes_and_all_there_is() -> None:
    drawn = shapes(7, 40, (15, 17, 18), pgbackrest=True)
    assert drawn == shapes(7, 40, (15, 17, 18), pgbackrest=True)
    assert drawn != shapes(8, 40, (15, 17, 18), pgbackrest=True)
    assert {shape.major for shape in drawn} == {15, 17, 18}
    assert {shape.tool for shape in drawn} == {"basebackup", "pgbackrest"}
    assert {shape.account for shape in drawn} == {"", "superuser", "reader", "stranger"}
    assert {shape.busy for shape in drawn} == {"", "backups", "always"}
    assert {shape.segment_mb for shape in drawn} == {1, 2, 16, 64}
    assert Counter(name for shape in drawn for name in shape.features).keys() == FEATURES.keys()
    assert any(shape.promotions for shape in drawn)
    assert any(shape.incremental for shape in drawn)


def check(verdict: str, signature: str | None, *, required: bool) -> dict[str, object]:
    return {"name": "x", "verdict": verdict, "signature": signature, "required": required, "detail": "it was so"}


@pytest.mark.parametrize(
    ("change", "red"),
    [
        ({}, ""),
        ({"outcome": "RECOVERED_DEGRADED"}, "outcome"),
        ({"leftovers": ["a folder"]}, "left behind"),
        ({"findings": [{"signature": "WAL_HOLE", "detail": ""}]}, "WAL_HOLE"),
        ({"findings": [{"signature": "NO_REFERENCE", "detail": ""}]}, ""),
        ({"checks": [check("FAILED", "DATA_CORRUPT", required=False)]}, "DATA_CORRUPT"),
        ({"checks": [check("COULD_NOT_VERIFY", "NO_PAGE_CHECKSUMS", required=True)]}, "NO_PAGE_CHECKSUMS"),
        ({"checks": [check("COULD_NOT_VERIFY", "CHECK_TIMEOUT", required=False)]}, "CHECK_TIMEOUT"),
        ({"checks": [check("COULD_NOT_VERIFY", "NO_PAGE_CHECKSUMS", required=False)]}, ""),
    ],
)
def test_what_is_red(change: dict[str, object], red: str) -> None:
    attempt = {"signature": None, "stages": [], "checks": change.pop("checks", [check("PASSED", None, required=True)])}
    record = {"outcome": "RECOVERED", "leftovers": [], "findings": [], "attempts": [attempt], **change}
    reds, _ = judge(record, [])
    assert bool(reds) is bool(red), reds
    assert red in " ".join(reds)
