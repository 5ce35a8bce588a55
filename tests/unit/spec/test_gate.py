"""What a spec says about gates: taken, or refused in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_dr_provider.custom_checks import custom_checks
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.spec.gate import runs_on
from airflow_dr_provider.spec.loader import load_text, spec_from_snapshot, spec_snapshot
from airflow_dr_provider.spec.models import DrillSpec
from tests.support.packages import install_checks

TEXT = Path(__file__).with_name("example.yaml").read_text()
SMOKE = '  - {name: orders_present, sql: "SELECT count(*) > 0 FROM orders"}'


def load(text: str) -> DrillSpec:
    return load_text(text, source="orders.yaml", base=Path("/srv/dr"))


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(text)
    return caught.value.message


def tier(more: str) -> str:
    return TEXT.replace("profile: full", f"profile: full, {more}", 1)


def smoke(more: str) -> str:
    return TEXT.replace(SMOKE, SMOKE.replace("}", f", {more}}}"), 1)


def queries(entry: str) -> str:
    return f"{TEXT}queries:\n  - {entry}\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(install_checks(tmp_path)))
    custom_checks.cache_clear()
    yield
    custom_checks.cache_clear()
    for name in ("acme_checks", "acme_leaves"):
        sys.modules.pop(name, None)


def test_without_the_new_keys_nothing_is_added_or_left_out() -> None:
    spec = load(TEXT)
    assert all(not tier.excluded and not tier.checks.include for tier in spec.tiers)
    assert spec.queries == ()
    assert all(runs_on(test, tier.name, tier.excluded) for test in spec.smoke for tier in spec.tiers)
    assert spec.smoke[0].expect is True


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (tier("exclude_checks: [amchek]"), "amchek: no such check; known: health"),
        (tier("checks: {include: [amchek]}"), "tiers[0].checks.include: amchek: no such check"),
        (tier("checks: {exclude: [amchek]}"), "tier primary: checks.exclude: no check or tag amchek"),
        (tier("checks: {exlude: [amcheck]}"), "did you mean exclude?"),
        (tier("checks: {include: [slow]}"), "slow: no such check"),
        (smoke("tiers: [primry]"), "orders_present: tiers: there is no tier primry; known: cold"),
        (smoke("expect: 1.5"), "1.5 can't be expected; write true, false, a whole number or a text"),
        (smoke("expect: [1]"), "can't be expected"),
        (smoke("tags: [Slow Ones]"), "lower-case letters"),
        (queries("{name: a}"), "queries[0].sql: is missing: one SELECT"),
        (queries("{name: a, sql: SELECT 1, max_ratio: 1}"), "queries[0].max_ratio"),
        (queries("{name: a, sql: SELECT 1, parameters: [7]}"), 'put it in quotes: "7"'),
        (queries("{name: a, sql: SELECT 1, tiers: [x]}"), "a: tiers: there is no tier x"),
        (queries("{name: a, sql: SELECT 1}\n  - {name: a, sql: SELECT 2}"), "queries: the name a is there twice"),
    ],
)
def test_refused(text: str, words: str) -> None:
    message = refusal(text)
    assert words in message
    assert len(message.splitlines()) == 1


def test_taken() -> None:
    spec = load(
        tier("checks: {include: [write, amcheck], exclude: [heavy, slow, orders]}, exclude_checks: [isolation]").replace(
            SMOKE,
            "  - {name: a, sql: SELECT 1, expect: 1, tags: [slow]}\n"
            "  - {name: b, sql: SELECT 1, expect: x, tiers: [cold]}\n  - {name: c, sql: SELECT 1}",
        )
        + "queries:\n  - {name: q, sql: SELECT 1, tags: [orders], max_ratio: 2}\n"
        + '  - {name: p, sql: SELECT $1, parameters: ["7", null], max_ratio: 1.5}\n'
    )
    first, second, cold = spec.tiers
    assert first.excluded == {"heavy", "slow", "orders", "isolation"}
    statements = (*spec.smoke, *spec.queries)
    assert [asked.name for asked in statements if runs_on(asked, first.name, first.excluded)] == ["c", "p"]
    assert [asked.name for asked in statements if runs_on(asked, second.name, second.excluded)] == ["a", "c", "q", "p"]
    assert [asked.name for asked in statements if runs_on(asked, cold.name, cold.excluded)] == ["a", "b", "c", "q", "p"]
    assert spec.smoke[0].expect == 1
    assert spec.smoke[0].expect is not True
    assert spec_from_snapshot(spec_snapshot(spec)) == spec


@pytest.mark.usefixtures("installed")
def test_a_check_of_ones_own_is_known_by_name_and_imported_by_nobody() -> None:
    spec = load(tier("checks: {include: [balance, absent]}, exclude_checks: [unbalanced]"))
    assert spec.tiers[0].checks.include == ("balance", "absent")
    assert "acme_checks" not in sys.modules
    assert "unbalanced" in refusal(tier("checks: {include: [balence]}"))


def test_a_kept_spec_is_read_where_the_package_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(install_checks(tmp_path)))
        custom_checks.cache_clear()
        spec = load(tier("checks: {include: [balance], exclude: [broken]}, exclude_checks: [unbalanced]"))
    custom_checks.cache_clear()
    assert spec_from_snapshot(spec_snapshot(spec)) == spec
    assert "balance: no such check" in refusal(tier("checks: {include: [balance]}"))
