"""A run's history, read back from the store: what the chain's decisions are made from."""

from __future__ import annotations

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.chain import AttemptHistory, Rung, next_step
from airflow_dr_provider.domain.routing_manifest import RoutingManifest
from airflow_dr_provider.state.store import Store


def read_history(store: Store, run_id: str) -> tuple[AttemptHistory, ...]:
    """Every attempt of a run with its stages' results, in order."""
    return tuple(
        AttemptHistory(
            rung=attempt.rung,
            candidate=attempt.candidate,
            results=tuple(checkpoint.result for checkpoint in store.checkpoints(attempt.id)),
        )
        for attempt in store.attempts(run_id)
    )


def refused(rungs: tuple[Rung, ...], history: tuple[AttemptHistory, ...]) -> dict[str, str]:
    """Backups that this run won't use again, with the signature for which each was refused."""
    found: dict[str, str] = {}
    for end in range(1, len(history) + 1):
        attempt = history[end - 1]
        if attempt.candidate is None or not attempt.results:
            continue
        step = next_step(rungs, history[:end])
        if step.refuse:
            found[attempt.candidate] = step.reason
    return found


def tried(history: tuple[AttemptHistory, ...]) -> tuple[str, ...]:
    """Backups that this run has tried, whatever came of it."""
    return tuple(sorted({attempt.candidate for attempt in history if attempt.candidate is not None}))


def damaged_segments(history: tuple[AttemptHistory, ...]) -> tuple[SegmentRange, ...]:
    """WAL that this run found to be missing or damaged when it fetched it."""
    found = {
        SegmentRange.model_validate(entry)
        for attempt in history
        for result in attempt.results
        for entry in result.facts.get("bad_segments", ())
    }
    return tuple(sorted(found, key=lambda part: (part.timeline, part.first, part.last)))


def latest_manifest(store: Store, run_id: str) -> RoutingManifest | None:
    """The routing manifest of the run's latest attempt that has one."""
    for attempt in reversed(read_history(store, run_id)):
        for result in attempt.results:
            if "manifest" in result.facts:
                return RoutingManifest.model_validate(result.facts["manifest"])
    return None
