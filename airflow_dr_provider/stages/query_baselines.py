"""The baselines of the spec's queries, a tier's own each: what is slow in one environment is fast in another."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import TypeAdapter

from airflow_dr_provider.domain.query_baseline import QueryBaseline
from airflow_dr_provider.domain.verdicts import CheckResult
from airflow_dr_provider.state.records import KeptReference

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext

SOURCE = "query_baselines"
_TIERS = TypeAdapter(dict[str, dict[str, QueryBaseline]])


def kept_baselines(context: AttemptContext) -> dict[str, QueryBaseline]:
    """Those of the attempt's tier, by the queries' names."""
    return _all_tiers(context).get(context.tier.name, {})


def keep_baselines(context: AttemptContext, checks: tuple[CheckResult, ...]) -> None:
    """Keep what the checks of a gate that passed measured."""
    measured = {
        check.name.removeprefix("query:"): QueryBaseline.model_validate(check.facts["baseline"])
        for check in checks
        if check.name.startswith("query:") and "baseline" in check.facts
    }
    if not measured:
        return
    tiers = _all_tiers(context)
    mine = tiers.get(context.tier.name, {})
    for name, baseline in measured.items():
        mine[name] = mine[name].followed_by(baseline) if name in mine else baseline
    tiers[context.tier.name] = mine
    context.services.store.keep_reference(
        KeptReference(
            id=f"{context.spec.drill}-{SOURCE}-{uuid4().hex[:12]}",
            drill=context.spec.drill,
            source=SOURCE,
            captured_at=context.services.clock(),
            run_id=context.run.id,
            reference=_TIERS.dump_python(tiers, mode="json"),
        )
    )


def _all_tiers(context: AttemptContext) -> dict[str, dict[str, QueryBaseline]]:
    kept = context.services.store.latest_reference(context.spec.drill, SOURCE)
    return _TIERS.validate_python(kept.reference) if kept is not None else {}
