"""What a stage may use of the outside world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from airflow_dr_provider.connections import ConnectionPort, from_environment
from airflow_dr_provider.domain.verdicts import StageName, StageResult
from airflow_dr_provider.state.store import Store


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Something that happened, for whoever watches.

    :param place: ``primary#1``, or the run itself.
    :param stage: the stage that ended; None for a move of the chain or another event.
    :param started: True when the stage only begins.
    """

    run_id: str
    place: str
    stage: StageName | None = None
    result: StageResult | None = None
    started: bool = False
    message: str = ""


def utc_now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Services:
    """The ports of a run.

    :param workdir: where local sandboxes live.
    :param connections: finds a connection by its id.
    :param progress: is told of every stage and move; must not raise.
    """

    store: Store
    workdir: Path
    connections: ConnectionPort = from_environment
    clock: Callable[[], datetime] = utc_now
    progress: Callable[[Progress], None] = field(default=lambda event: None)
