from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import StoppingPoint

positions = st.integers(0, (1 << 64) - 1)


@given(positions)
def test_text_reads_back(position: int) -> None:
    lsn = Lsn(position)
    assert Lsn(str(lsn)) == lsn == position
    assert f"{lsn}" == str(lsn)
    point = StoppingPoint(timeline=1, lsn=lsn, end_lsn=lsn)
    assert StoppingPoint.model_validate_json(point.model_dump_json()) == point


@given(positions, positions)
def test_order_is_that_of_numbers(one: int, other: int) -> None:
    assert (Lsn(one) < Lsn(other)) == (one < other)


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/0/0", "0/123456789", "g/0", "0/-1", " 0/0", "0x1/0", "0/0\n"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="LSN"):
        Lsn(text)


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_other_numbers_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="LSN"):
        Lsn(number)
