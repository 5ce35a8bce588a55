"""Which checks make the gate of a tier, and in which order: decided from the tier's profile, its overrides, and each check's traits.

A check needs others to have passed, costs something, and may have to run alone or after everything that only reads. The
same inputs give the same route in the manifest, in the gate and in an auditor's recomputation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum

from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict


class Cost(StrEnum):
    """What a check takes of the server: the gate runs few of the heavy ones at a time."""

    CHEAP = "cheap"
    """A few queries on catalogs or on values that are known already."""
    MEDIUM = "medium"
    """Every catalog, or some rows of some tables."""
    HEAVY = "heavy"
    """Every page of every table."""


class Phase(StrEnum):
    """When a check runs. A phase begins when the one before it is over."""

    SIDE_BY_SIDE = "side_by_side"
    """Reads only: with all others of this kind."""
    ALONE = "alone"
    """Measures time, which others beside it would spoil."""
    WRITING = "writing"
    """Writes: after everything that has to see the copy as it was restored."""


_COSTS, _PHASES = tuple(Cost), tuple(Phase)


class Traits(Value):
    """What routing knows of a check.

    :param needs: checks that have to pass first; one that isn't in the route is not waited for.
    :param tags: words by which a spec includes or excludes it.
    """

    cost: Cost = Cost.MEDIUM
    phase: Phase = Phase.SIDE_BY_SIDE
    needs: tuple[str, ...] = ("health",)
    tags: tuple[str, ...] = ()


TRAITS: dict[str, Traits] = {
    "health": Traits(cost=Cost.CHEAP, needs=(), tags=("server",)),
    "checksum": Traits(cost=Cost.CHEAP, needs=(), tags=("backup",)),
    "system_identifier": Traits(cost=Cost.CHEAP, tags=("backup",)),
    "wal_replay": Traits(cost=Cost.CHEAP, needs=(), tags=("backup",)),
    "recovery_target": Traits(tags=("backup",)),
    "archiving_off": Traits(cost=Cost.CHEAP, tags=("safety",)),
    "isolation": Traits(cost=Cost.CHEAP, tags=("safety",)),
    "dependencies": Traits(cost=Cost.CHEAP, tags=("safety",)),
    "side_effects": Traits(cost=Cost.CHEAP, tags=("safety",)),
    "schema_drift": Traits(tags=("schema",)),
    "indexes": Traits(tags=("schema",)),
    "extensions": Traits(tags=("schema",)),
    "roles": Traits(cost=Cost.CHEAP, tags=("schema",)),
    "collations": Traits(cost=Cost.CHEAP, tags=("schema",)),
    "row_counts": Traits(cost=Cost.HEAVY, tags=("data",)),
    "sequences": Traits(tags=("data",)),
    "materialized_views": Traits(cost=Cost.CHEAP, tags=("data",)),
    "foreign_keys": Traits(cost=Cost.HEAVY, tags=("data",)),
    "freshness": Traits(cost=Cost.CHEAP, tags=("data",)),
    "page_checksums": Traits(cost=Cost.HEAVY, tags=("data",)),
    "amcheck": Traits(cost=Cost.HEAVY, tags=("data",)),
    "smoke": Traits(tags=("data",)),
    "query_plans": Traits(phase=Phase.ALONE, tags=("latency",)),
    # Nothing is written on a server that may archive it, replicate it, or act on production.
    "synthetic_transaction": Traits(
        cost=Cost.CHEAP, phase=Phase.WRITING, needs=("health", "archiving_off", "isolation"), tags=("write",)
    ),
}
"""The built-in checks' traits; one that isn't here has the usual ones."""

TAGS = frozenset(tag for traits in TRAITS.values() for tag in traits.tags) | frozenset(Cost)
"""Words that stand for several built-in checks: their tags, and what they cost."""


class RoutedCheck(Value):
    """A check's place in a route.

    :param position: where its result is shown.
    :param needs: those of its needs that are in the route.
    """

    name: str
    position: int
    cost: Cost = Cost.MEDIUM
    phase: Phase = Phase.SIDE_BY_SIDE
    needs: tuple[str, ...] = ()


def route(
    profile: Sequence[str],
    traits: Mapping[str, Traits],
    *,
    include: Collection[str] = (),
    exclude: Collection[str] = (),
) -> tuple[RoutedCheck, ...]:
    """The checks of a gate, in the order in which they are begun.

    Phase by phase; in a phase each check after those that it needs, the cheap before the heavy, else as the profile has them.

    :param profile: names, in the order in which results are shown.
    :param traits: of every check that there is; what is added keeps this order.
    :param include: names or tags of checks to add.
    :param exclude: names or tags of checks to leave out; this outranks *include*.
    """
    added = [name for name, has in traits.items() if not words(name, has).isdisjoint(include)]
    chosen = [name for name in dict.fromkeys((*profile, *added)) if words(name, traits.get(name, Traits())).isdisjoint(exclude)]
    position = {name: index for index, name in enumerate(chosen)}
    needs = {name: tuple(need for need in traits.get(name, Traits()).needs if need in position) for name in chosen}
    routed: dict[str, RoutedCheck] = {}

    def place(name: str, above: tuple[str, ...]) -> RoutedCheck:
        """A check behind what it needs; a need that leads back to where it came from is none."""
        if name not in routed:
            own = traits.get(name, Traits())
            met = tuple(need for need in needs[name] if need not in (*above, name))
            before = [place(need, (*above, name)) for need in met]
            routed[name] = RoutedCheck(
                name=name,
                position=position[name],
                cost=own.cost,
                phase=max((own.phase, *(check.phase for check in before)), key=_PHASES.index),
                needs=met,
            )
        return routed[name]

    for name in sorted(chosen, key=lambda name: (_COSTS.index(traits.get(name, Traits()).cost), position[name])):
        place(name, ())
    return tuple(sorted(routed.values(), key=lambda check: _PHASES.index(check.phase)))


def words(name: str, traits: Traits) -> frozenset[str]:
    """Every word by which a spec may mean a check: its name, its tags, its cost."""
    return frozenset((name, traits.cost.value, *traits.tags))


def hindrance(results: Iterable[CheckResult]) -> str | None:
    """Why what needs a check is not to be run after its results, in words; None when nothing stands in the way.

    What could not be verified and isn't required to be hinders nobody.
    """
    found = tuple(results)
    if any(result.verdict is Verdict.FAILED for result in found):
        return "failed"
    if any(result.verdict is Verdict.COULD_NOT_VERIFY and result.required for result in found):
        return "could not be verified"
    return None
