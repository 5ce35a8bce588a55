"""A drill's cadence as an Airflow timetable: what Airflow's own can't say, namely a time zone's edges, jitter and blackouts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import timezone
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

from airflow_dr_provider.domain.cadence import Cadence, next_time, times_before

JUST_NOW = timedelta(minutes=5)
"""A new DAG begins at a time that is over for less than this; at an older one it doesn't, as with Airflow's own timetables."""


class CadenceTimetable(Timetable):
    """Begins a drill at the times of its cadence.

    Times that were missed are not made up for, whatever ``catchup`` says: of several that are over, only the last one begins.
    A time within a blackout is none at all.

    :param cadence: crons, time zone, offset and blackouts.
    """

    def __init__(self, cadence: Cadence) -> None:
        self.cadence = cadence
        self.description = self._described()

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        """Read back what :meth:`serialize` wrote."""
        return cls(Cadence.model_validate(data["cadence"]))

    def serialize(self) -> dict[str, Any]:
        """JSON, the same for the same cadence."""
        return {"cadence": self.cadence.model_dump(mode="json")}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CadenceTimetable) and other.cadence == self.cadence

    def __hash__(self) -> int:
        return hash(self.cadence.text())

    @property
    def summary(self) -> str:
        """What stands in the list of DAGs."""
        zone = "" if self.cadence.timezone == "UTC" else f" {self.cadence.timezone}"
        return ", ".join(self.cadence.crons) + zone

    def infer_manual_data_interval(self, *, run_after: Any) -> DataInterval:
        """A run by hand is about its own moment."""
        return DataInterval.exact(run_after)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The last time that is over and was not begun at, else the next one."""
        now = _utc(timezone.utcnow())
        found = next(iter(times_before(self.cadence, now, 1)), None)
        if last_automated_data_interval is not None:
            last = _utc(last_automated_data_interval.end)
            if found is None or found <= last:
                found = next_time(self.cadence, max(last, now))
        elif found is None or found < now - JUST_NOW:
            found = next_time(self.cadence, now)
        if restriction.earliest is not None and found is not None and found < _utc(restriction.earliest):
            found = next_time(self.cadence, max(_utc(restriction.earliest) - timedelta(microseconds=1), now))
        if found is None or (restriction.latest is not None and found > _utc(restriction.latest)):
            return None
        return DagRunInfo.exact(timezone.coerce_datetime(found))

    def _described(self) -> str:
        cadence = self.cadence
        parts = [f"By {', '.join(cadence.crons)} in {cadence.timezone}"]
        if cadence.offset_seconds:
            minutes, seconds = divmod(cadence.offset_seconds, 60)
            parts.append(f"{minutes} min {seconds} s later")
        if cadence.blackouts:
            parts.append(f"not within {len(cadence.blackouts)} blackout{'s' * (len(cadence.blackouts) > 1)}")
        return ", ".join(parts)


def _utc(time: datetime) -> datetime:
    """A plain datetime in UTC: Airflow's are of another class, which compares alike and computes otherwise."""
    moment = time.astimezone(UTC)
    return datetime(*moment.timetuple()[:6], moment.microsecond, tzinfo=UTC)
