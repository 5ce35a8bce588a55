"""Faults of the matrix, one of each kind, are called by their names, and the chain goes where it has to."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.faults import MATRIX, REPRESENTATIVE, SEEN
from tests.scenarios.matrix.ground import Base, Row, make_base, play
from tests.scenarios.matrix.servers import statements

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="session")
def base() -> Iterator[Base]:
    """The repository that every fault starts from."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    yield make_base(folder)
    shutil.rmtree(folder)


def test_there_are_enough_and_each_has_its_name() -> None:
    names = [row.name for row in MATRIX]
    assert len(set(names)) == len(names)
    assert len(SEEN) >= 60


def test_the_suite_plays_every_family_and_every_name() -> None:
    assert {row.expected.signature for row in REPRESENTATIVE} == {row.expected.signature for row in SEEN}
    assert {row.family for row in REPRESENTATIVE} == {row.family for row in SEEN}


@pytest.mark.parametrize("row", REPRESENTATIVE, ids=lambda row: row.name.replace(" ", "_"))
def test_a_fault(row: Row, base: Base) -> None:
    with statements():
        found, record, _ = play(row, base)
    assert found == row.expected, [(attempt["signature"], attempt["detail"]) for attempt in record["attempts"]]
