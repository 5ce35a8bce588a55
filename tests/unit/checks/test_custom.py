"""Checks of other packages: found by their entry points, run like the built-in ones, and broken by themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_dr_provider.checks.base import check, known_traits
from airflow_dr_provider.checks.gate import run_checks
from airflow_dr_provider.custom_checks import custom_checks
from airflow_dr_provider.domain.routing import TRAITS, Phase, RoutedCheck, Traits
from airflow_dr_provider.domain.verdicts import Verdict
from tests.support.packages import install_checks
from tests.unit.checks.contexts import context


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(install_checks(tmp_path)))
    custom_checks.cache_clear()
    yield
    custom_checks.cache_clear()
    for name in ("acme_checks", "acme_leaves"):
        sys.modules.pop(name, None)


def test_they_are_found_by_names_that_a_spec_can_hold() -> None:
    assert {"balance", "unbalanced", "broken", "absent", "leaves"} <= set(custom_checks())
    assert "Not A Name" not in custom_checks()
    assert check("balance").name == "balance"


def test_a_built_in_check_is_never_replaced() -> None:
    assert type(check("amcheck")).__module__ == "airflow_dr_provider.checks.amcheck"
    assert known_traits()["amcheck"] == TRAITS["amcheck"]


def test_they_say_their_traits_if_they_can() -> None:
    traits = known_traits()
    assert traits["balance"].phase is Phase.WRITING
    assert traits["absent"] == traits["leaves"] == Traits()


async def test_a_broken_one_could_not_verify_and_the_others_go_on() -> None:
    names = ("broken", "absent", "leaves", "checksum")
    route = tuple(RoutedCheck(name=name, position=position) for position, name in enumerate(names))
    results = await run_checks(route, context())
    assert [result.signature for result in results] == ["CHECK_BROKEN"] * 3 + [None]
    assert results[3].verdict is Verdict.PASSED
    assert "made of straw" in results[0].detail
    assert "acme_no_such_module" in results[1].detail
