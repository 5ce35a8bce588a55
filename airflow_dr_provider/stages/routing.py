"""The route of a tier's checks, and the manifest that tells it to whoever wants to test beside the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_dr_provider.checks.base import WatchedQuery, known_traits
from airflow_dr_provider.domain.profiles import PROFILES
from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.routing import RoutedCheck, route
from airflow_dr_provider.domain.routing_manifest import DrillContext, RoutingManifest
from airflow_dr_provider.evidence.drill_context import signed_context
from airflow_dr_provider.spec.gate import Query, Smoke, runs_on

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext


def routed_checks(context: AttemptContext) -> tuple[RoutedCheck, ...]:
    """The checks of this attempt's gate."""
    tier = context.tier
    return route(PROFILES[tier.profile], known_traits(), include=tier.checks.include, exclude=tier.excluded)


def routed_smoke(context: AttemptContext) -> tuple[Smoke, ...]:
    """The smoke tests that run on this tier."""
    return tuple(test for test in context.spec.smoke if runs_on(test, context.tier.name, context.tier.excluded))


def routed_queries(context: AttemptContext) -> tuple[Query, ...]:
    """The queries that run on this tier."""
    return tuple(query for query in context.spec.queries if runs_on(query, context.tier.name, context.tier.excluded))


def default_database(context: AttemptContext, names: tuple[str, ...]) -> str:
    """Where statements run when nobody says: the connection's database, the one beside ``postgres``, else ``postgres``."""
    others = [name for name in names if name != "postgres"]
    return context.inputs.database or (others[0] if len(others) == 1 else "postgres")


def watched_queries(context: AttemptContext, default_database: str) -> tuple[WatchedQuery, ...]:
    """The same as the gate and the warming run them.

    :param default_database: where a query without a database of its own runs.
    """
    return tuple(
        WatchedQuery(
            name=query.name,
            sql=query.sql,
            database=query.database or default_database,
            timeout_seconds=query.timeout.total_seconds(),
            max_ratio=float(query.max_ratio),
            parameters=query.parameters,
        )
        for query in routed_queries(context)
    )


def make_manifest(context: AttemptContext, handle: SandboxHandle) -> RoutingManifest:
    """The manifest of a restored server that has been opened."""
    coordinate = context.coordinate()
    drill = DrillContext(
        drill=context.spec.drill,
        run_id=context.run.id,
        tier=context.tier.name,
        role=context.tier.role,
        epoch=context.rung.index,
        expires_at=context.resource().lease_until,
    )
    header, public_key = signed_context(drill)
    return RoutingManifest(
        made_at=context.services.clock(),
        context=drill,
        endpoint=context.sandbox.endpoint(handle),
        profile=context.tier.profile,
        backup=coordinate.backup_id,
        server_version=coordinate.server_version,
        target=coordinate.target,
        checks=routed_checks(context),
        smoke=tuple(test.name for test in routed_smoke(context)),
        queries=tuple(query.name for query in routed_queries(context)),
        header=header,
        public_key=public_key,
    )
