"""Routes: what runs, in which order, whatever profile, overrides and needs are put together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.profiles import CHECK_NAMES, PROFILES
from airflow_dr_provider.domain.routing import TAGS, TRAITS, Cost, Phase, RoutedCheck, Traits, hindrance, route, words
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict

PHASES, COSTS = tuple(Phase), tuple(Cost)
ALL = {name: TRAITS.get(name, Traits()) for name in CHECK_NAMES}
WORDS = st.sampled_from([*ALL, *sorted(TAGS), "own", "slow", "nonsense"])


def names(checks: tuple[RoutedCheck, ...]) -> list[str]:
    return [check.name for check in checks]


def shown(checks: tuple[RoutedCheck, ...]) -> list[str]:
    return [check.name for check in sorted(checks, key=lambda check: check.position)]


def test_every_built_in_check_that_has_traits_exists_and_no_tag_is_a_checks_name() -> None:
    assert set(TRAITS) <= set(CHECK_NAMES)
    assert TAGS.isdisjoint(CHECK_NAMES)
    assert all(set(traits.needs) <= set(CHECK_NAMES) for traits in TRAITS.values())


@pytest.mark.parametrize("profile", PROFILES)
def test_without_overrides_a_route_is_its_profile(profile: str) -> None:
    assert shown(route(PROFILES[profile], ALL)) == list(PROFILES[profile])


def test_the_full_route() -> None:
    full = route(PROFILES["full"], ALL)
    assert names(full)[0] == "health"
    assert names(full)[-1] == "synthetic_transaction"
    assert full[-1].needs == ("health", "archiving_off", "isolation")


def test_overrides() -> None:
    light = PROFILES["light"]
    assert "amcheck" in names(route(light, ALL, include=["amcheck"]))
    assert {"amcheck", "row_counts"} <= set(names(route(light, ALL, include=["heavy"])))
    left_out = ("row_counts", "foreign_keys", "smoke", "synthetic_transaction")
    assert names(route(PROFILES["full"], ALL, exclude=["heavy", "write", "smoke"])) == names(
        route([name for name in PROFILES["standard"] if name not in left_out], ALL)
    )
    assert "amcheck" not in names(route(light, ALL, include=["amcheck"], exclude=["heavy"]))


def test_a_check_of_ones_own() -> None:
    traits = {**ALL, "own": Traits(needs=("synthetic_transaction",))}
    assert "own" not in names(route(PROFILES["full"], traits))
    routed = route(PROFILES["full"], traits, include=["own"])
    # What needs one that writes comes after it, in its phase.
    assert (routed[-1].name, routed[-1].phase) == ("own", Phase.WRITING)


def test_needs_in_a_circle_are_cut() -> None:
    traits = {"a": Traits(needs=("b",)), "b": Traits(needs=("a", "b")), "c": Traits(needs=("c",))}
    routed = route(["a", "b", "c"], traits)
    assert sorted(names(routed)) == ["a", "b", "c"]
    seen: list[str] = []
    for check in routed:
        assert set(check.needs) <= set(seen)
        seen.append(check.name)


@given(
    st.sampled_from([*PROFILES]),
    st.lists(WORDS, max_size=4),
    st.lists(WORDS, max_size=4),
    st.dictionaries(
        st.sampled_from(["own", "other", "amcheck"]),
        st.builds(
            Traits,
            cost=st.sampled_from(COSTS),
            phase=st.sampled_from(PHASES),
            needs=st.lists(st.sampled_from([*ALL, "own", "other"]), max_size=3).map(tuple),
            tags=st.lists(st.sampled_from(["slow", "data"]), max_size=2).map(tuple),
        ),
    ),
)
def test_laws(profile: str, include: list[str], exclude: list[str], custom: dict[str, Traits]) -> None:
    traits = {**ALL, **custom}
    routed = route(PROFILES[profile], traits, include=include, exclude=exclude)
    assert routed == route(PROFILES[profile], traits, include=include[::-1], exclude=exclude[::-1])
    chosen = names(routed)
    assert len(set(chosen)) == len(chosen)
    # Exactly what the profile or an include names, and no exclude.
    for name, has in traits.items():
        named = words(name, has)
        asked = name in PROFILES[profile] or not named.isdisjoint(include)
        assert (name in chosen) == (asked and named.isdisjoint(exclude))
    # Nobody waits for what comes later or never, and no phase begins before an earlier one ended.
    for index, check in enumerate(routed):
        assert set(check.needs) <= set(chosen[:index])
    phases = [PHASES.index(check.phase) for check in routed]
    assert phases == sorted(phases)
    assert sorted(check.position for check in routed) == list(range(len(routed)))


def test_what_hinders() -> None:
    passed = CheckResult(name="a", verdict=Verdict.PASSED)
    failed = CheckResult(name="b", verdict=Verdict.FAILED)
    unknown = CheckResult(name="c", verdict=Verdict.COULD_NOT_VERIFY)
    optional = CheckResult(name="d", verdict=Verdict.COULD_NOT_VERIFY, required=False)
    assert hindrance([]) is None
    assert hindrance([passed, optional]) is None
    assert hindrance([passed, unknown]) == "could not be verified"
    assert hindrance([unknown, failed]) == "failed"
