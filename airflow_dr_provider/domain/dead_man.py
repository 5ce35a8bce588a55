"""The dead man's switch: a drill that should have run and did not, from its schedule and the runs that the store knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_dr_provider.domain.cadence import SKIPPED
from airflow_dr_provider.domain.chain import Outcome
from airflow_dr_provider.domain.value import Value

PROOFS = 3
"""After so many scheduled times without a proved recovery, that is a finding of its own."""

CLOCKS = timedelta(minutes=1)
"""By how much the clock that opened a run may go behind the one that the schedule is told by."""

_PROVED = (Outcome.RECOVERED.value, Outcome.RECOVERED_DEGRADED.value)


class KnownRun(Value):
    """A run of the drill, as far as the switch needs it.

    :param injected: the faults that it was told to inject. Such a run may be in the way of others; it is none that was due.
    """

    id: str
    opened_at: datetime
    closed_at: datetime | None = None
    outcome: str | None = None
    injected: tuple[str, ...] = ()


class Duty(Value):
    """What a drill owes by its schedule.

    :param due: times at which it should have begun long enough ago, newest first: :data:`PROOFS`, and one more for a run that
        is under way.
    :param watched_since: when a scan first saw this schedule; what was due before it is nobody's debt.
    :param patience_seconds: how long a run may take, a person's answer included.
    """

    due: tuple[datetime, ...]
    watched_since: datetime
    patience_seconds: float


class Debt(NamedTuple):
    """Something that is owed: a signature's code and a sentence."""

    signature: str
    detail: str


def debts(duty: Duty, runs: Sequence[KnownRun], moment: datetime) -> Iterator[Debt]:
    """What a drill owes now; nothing for one that is watched for less than a turn of its schedule.

    :param runs: those that began since the oldest time in ``duty.due``, and every unfinished one.
    """
    stuck = [run for run in runs if run.closed_at is None and _age(run, moment) > duty.patience_seconds]
    for run in sorted(stuck, key=lambda run: (run.opened_at, run.id)):
        yield Debt("DRILL_STUCK", f"the run {run.id} was opened at {_text(run.opened_at)} and never closed")
    due = [time for time in duty.due if time >= duty.watched_since]
    if not due:
        return
    # A run under way is why no other could begin, until it is stuck; and it has proved nothing yet.
    waiting = min((run.opened_at for run in runs if run.closed_at is None and run not in stuck), default=None)
    counted = [run for run in runs if not run.injected]
    if waiting is None and not any(_since(run, due[0]) for run in counted):
        yield Debt("DRILL_MISSED", _missed(due, counted))
        return
    over = [time for time in due if waiting is None or time < waiting - CLOCKS][:PROOFS]
    if len(over) == PROOFS:
        # One that was held back by a blackout was not missed, and neither has it tried to prove anything.
        ended = [r for r in counted if r.closed_at is not None and r.outcome != SKIPPED and _since(r, over[-1])]
        if ended and not any(run.outcome in _PROVED for run in ended):
            yield Debt("DRILL_UNPROVED", f"of {len(ended)} runs since {_text(over[-1])} none proved a recovery")


def _missed(due: Sequence[datetime], runs: Sequence[KnownRun]) -> str:
    last = max((run.opened_at for run in runs), default=None)
    known = f"the last run began at {_text(last)}" if last is not None else "no earlier run is known of these times"
    return (
        f"it should have begun at {_text(due[0])} and did not; {known}. Look whether its DAG is paused, broken or gone, and "
        f"whether Airflow's scheduler runs."
    )


def _since(run: KnownRun, time: datetime) -> bool:
    return run.opened_at >= time - CLOCKS


def _age(run: KnownRun, moment: datetime) -> float:
    return (moment - run.opened_at).total_seconds()


def _text(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
