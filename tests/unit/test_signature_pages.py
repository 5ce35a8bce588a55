"""docs/signatures.md: a section for each registered code, and for no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_dr_provider.domain.signatures import SIGNATURES

PAGE = (Path(__file__).parents[2] / "docs" / "signatures.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", PAGE, re.M | re.S))


def test_each_code_has_one_section_and_nothing_else_has() -> None:
    headings = re.findall(r"^### (.*)$", PAGE, re.M)
    assert sorted(headings) == sorted(SIGNATURES)


@pytest.mark.parametrize("code", SIGNATURES)
def test_a_section_says_what_it_means_and_what_to_do(code: str) -> None:
    known = SIGNATURES[code]
    section = SECTIONS[code]
    axes = f"*{known.meaning}* · {known.recoverability} · {known.severity} · {known.domain}"
    assert axes in section, f"{code}: the line under its heading has to be {axes!r}"
    assert re.search(r"^\*\*Means\.\*\* \S", section, re.M)
    assert re.search(r"^\*\*Do\.\*\* \S", section, re.M)


def test_commands_that_the_page_names_exist() -> None:
    from airflow_dr_provider.cli.main import COMMANDS

    named = set(re.findall(r"`airflow-dr\s+(\w+)", PAGE))
    assert named
    assert named <= set(COMMANDS)
