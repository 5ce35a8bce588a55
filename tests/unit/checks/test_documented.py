"""The page about checks, the registry and the profiles tell of the same ones."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_dr_provider.checks.base import CHECKS
from airflow_dr_provider.checks.catalog_parts import DRILL_ROLES
from airflow_dr_provider.domain.profiles import PROFILES
from airflow_dr_provider.domain.signatures import SIGNATURES
from airflow_dr_provider.sandboxes.credentials import PREFIXES

PAGE = (Path(__file__).parents[3] / "docs" / "checks.md").read_text()


def test_every_check_has_its_paragraph() -> None:
    assert sorted(re.findall(r"^\*\*(\w+)\*\*", PAGE, re.MULTILINE)) == sorted(CHECKS)


def test_profiles_are_as_the_page_says() -> None:
    row = next(line for line in PAGE.splitlines() if line.endswith("`light` |"))
    assert tuple(re.findall(r"`(\w+)`", row))[:-1] == PROFILES["light"]
    assert set(PROFILES["full"]) - set(PROFILES["standard"]) == {"page_checksums", "amcheck"}


def test_signatures_it_names_exist() -> None:
    named = {word for word in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", PAGE) if word not in ("COULD_NOT_VERIFY",)}
    assert named
    assert named <= set(SIGNATURES)


def test_a_sandboxs_roles_are_known_by_their_names() -> None:
    for prefix in PREFIXES.values():
        assert re.search(DRILL_ROLES, f"{prefix}0123abcd")
    assert not re.search(DRILL_ROLES, "dr_admin_")
