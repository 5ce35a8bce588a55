"""When a drill's schedule comes round."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

from croniter import croniter


def times_before(schedule: str, moment: datetime, count: int) -> tuple[datetime, ...]:
    """The last times of a schedule at or before a moment, newest first, in UTC as Airflow reads them.

    :param schedule: a spec's ``schedule``.
    :param moment: in UTC.
    """
    # croniter gives what lies before its start, and a schedule's times are whole minutes.
    start = moment.replace(microsecond=0) + timedelta(seconds=1)
    return tuple(time.replace(fold=0) for time in islice(croniter(schedule, start).all_prev(datetime), count))
