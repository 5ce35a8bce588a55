from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.checks.row_rules import judge
from airflow_dr_provider.domain.reference import DatabaseReference, ObjectKind, SchemaObject, TableRows

rows = st.integers(0, 10_000)


def verdict(expected: TableRows, found: TableRows, **changes: Any) -> bool | None:
    """Whether it failed; None when there is nothing to say."""
    table = SchemaObject(kind=ObjectKind.TABLE, name="public.t", definition="table", changed_by=100)
    database = DatabaseReference(name="shop", objects=(table,), tables=(expected,))
    finding = judge(database, expected, found, **{"later": False, "restored_next": 500, "drop_percent": 50, **changes})
    return None if finding is None else finding.failed


def counted(number: int, **changes: Any) -> TableRows:
    return TableRows(name="public.t", rows=number, **changes)


@given(rows, rows, st.booleans(), st.integers(0, 100))
def test_as_many_rows_or_more_are_never_a_loss(expected: int, more: int, later: bool, percent: int) -> None:
    assert verdict(counted(expected), counted(expected + more), later=later, drop_percent=percent) is None


@given(st.integers(1, 10_000), rows, st.integers(0, 100))
def test_the_percentage_is_the_border(expected: int, found: int, percent: int) -> None:
    lost = found == 0 or (expected - found) * 100 > percent * expected
    assert bool(verdict(counted(expected), counted(found), drop_percent=percent)) == (found < expected and lost)


@given(st.integers(1, 10_000), rows, st.booleans())
def test_unlogged_tables_are_never_a_loss(expected: int, found: int, later: bool) -> None:
    assert not verdict(counted(expected, unlogged=True), counted(found), later=later)
    assert not verdict(counted(expected), counted(found, unlogged=True), later=later)


@pytest.mark.parametrize(
    ("expected", "found", "failed"),
    [
        (counted(9, oldest_row=400), 0, True),  # a row of before the recovered point is still in production
        (counted(9, oldest_row=600), 0, False),  # a queue: empty then, filled since
        (counted(9), 0, True),  # no row was looked at; the table is old
        (counted(9, oldest_row=400), 1, False),  # live volume is no yardstick
        (counted(900, oldest_row=400), 3, False),
    ],
)
def test_against_live_production_only_proof_counts(expected: TableRows, found: int, failed: bool) -> None:
    assert verdict(expected, counted(found), later=True) is failed


def test_a_table_of_after_the_recovered_point_is_excused() -> None:
    assert verdict(counted(9), counted(0), later=True, restored_next=50) is False
    assert verdict(counted(9), counted(0), later=True, restored_next=None) is False


def test_an_estimate_of_the_copy_fails_nothing() -> None:
    assert verdict(counted(9000), counted(0, exact=False)) is None
