"""The hash chain of a run's transitions: each entry's digest covers the one before it, so that none can be changed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from airflow_dr_provider.state.records import Transition
from airflow_dr_provider.state.tables import canonical


def genesis(run_id: str) -> str:
    """What the first entry of a run's log follows."""
    return hashlib.sha256(f"run {run_id}".encode()).hexdigest()


def digest(entry: Transition) -> str:
    """An entry's digest: SHA-256 over the previous digest and the entry's canonical JSON."""
    content = entry.model_dump(mode="json", exclude={"digest", "previous"})
    return hashlib.sha256(f"{entry.previous}\n{canonical(content)}".encode()).hexdigest()


def sealed(entry: Transition) -> Transition:
    """The entry with its digest."""
    return entry.model_copy(update={"digest": digest(entry)})


def first_break(run_id: str, entries: Iterable[Transition]) -> int | None:
    """The number of the first entry that doesn't follow from the one before it, None when all do."""
    previous = genesis(run_id)
    for number, entry in enumerate(entries, start=1):
        if entry.number != number or entry.previous != previous or entry.digest != digest(entry):
            return number
        previous = entry.digest
    return None
