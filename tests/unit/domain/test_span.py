"""Lengths of time in words."""

from __future__ import annotations

import pytest

from airflow_dr_provider.domain.span import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (25.72, "25.7 s"),
        (119.9, "119.9 s"),
        (120, "2 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86400, "24 h 0 min"),
        (200_000, "2 d 7 h"),
        (604_800, "7 d 0 h"),
    ],
)
def test_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_no_bound_has_words_too() -> None:
    assert in_words(float("inf")) == "no end"
