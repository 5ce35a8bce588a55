"""Sizes in specs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from airflow_dr_provider.spec.sizes import LARGEST, PATTERN, Size, format_size, parse_size

SIZE: TypeAdapter[int] = TypeAdapter(Size)


@given(st.integers(min_value=0, max_value=LARGEST))
def test_what_is_written_reads_back(value: int) -> None:
    text = format_size(value)
    assert re.fullmatch(PATTERN, text)
    assert parse_size(text) == value == SIZE.validate_python(text)


@pytest.mark.parametrize(
    "text", ["", "1", "1 GiB", "1GB", "-1MiB", "1.5GiB", "GiB", "\uff12MiB", 5, 1.5, True, None, "9999999999TiB"]
)
def test_what_is_none_is_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        SIZE.validate_python(text)


def test_a_number_without_a_unit_is_told_how() -> None:
    with pytest.raises(ValidationError, match="write 256MiB"):
        SIZE.validate_python(256)
