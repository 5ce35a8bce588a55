"""A drill's cadence as Airflow has it: the timetable, what it says to the scheduler, and Airflow's own as its oracle."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from airflow.sdk import timezone
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.simple import AssetTriggeredTimetable, NullTimetable
from airflow.timetables.trigger import CronTriggerTimetable, MultipleCronTriggerTimetable

from airflow_dr_provider.domain.cadence import Cadence, Period, next_time
from airflow_dr_provider.factory import build_drill_dag
from airflow_dr_provider.spec.loader import load_text
from airflow_dr_provider.timetables.cadence import CadenceTimetable
from tests.dags.conftest import text

pytestmark = pytest.mark.airflow

ANY_TIME = TimeRestriction(earliest=None, latest=None, catchup=False)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def scheduled(schedule: str) -> Any:
    """The timetable that the scheduler reads back from the DAG of such a schedule."""
    written = text().replace('schedule: "0 3 * * *"', f"schedule: {schedule}")
    dag = build_drill_dag(load_text(written, source="spec", base=Path("/drills")))
    dag.validate()
    kept = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert kept.catchup is False
    return kept.timetable


def assets(timetable: Any) -> list[str]:
    return [key.name for key, _ in timetable.asset_condition.iter_assets()]


# -- which timetable ---------------------------------------------------------------------------------------------------
def test_airflows_own_where_they_say_the_same() -> None:
    daily = scheduled('"0 3 * * *"')
    assert type(daily) is CronTriggerTimetable
    assert daily.serialize()["timezone"] == "UTC", "whatever Airflow's default is: the dead man's switch reads it in UTC"
    assert scheduled('"@daily"').summary == "0 0 * * *"
    several = scheduled('{cron: ["0 3 * * *", "0 15 * * *"]}')
    assert type(several) is MultipleCronTriggerTimetable
    assert several.summary == "0 3 * * *, 0 15 * * *"
    by_backup = scheduled("{after_backup: true}")
    assert type(by_backup) is AssetTriggeredTimetable
    assert assets(by_backup) == ["dr://orders/backup"]


def test_by_hand_only() -> None:
    dag = build_drill_dag(load_text(text().replace('schedule: "0 3 * * *"\n', ""), source="s", base=Path("/")))
    assert type(DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable) is NullTimetable


def test_this_packages_own_elsewhere() -> None:
    zoned = scheduled("{cron: '0 3 * * *', timezone: Europe/Berlin, jitter: 15m, blackout: [Sat]}")
    assert type(zoned) is CadenceTimetable
    assert zoned.cadence.offset_seconds == 88
    assert zoned.summary == "0 3 * * * Europe/Berlin"
    assert zoned.description == "By 0 3 * * * in Europe/Berlin, 1 min 28 s later, not within 1 blackout"
    assert zoned.can_be_scheduled


def test_either() -> None:
    either = scheduled("{cron: '0 3 * * *', timezone: Europe/Berlin, after_backup: true}")
    assert type(either) is AssetOrTimeSchedule
    assert type(either.timetable) is CadenceTimetable
    assert assets(either) == ["dr://orders/backup"]
    assert type(scheduled("{cron: '0 3 * * *', after_backup: true}").timetable) is MultipleCronTriggerTimetable


# -- what the scheduler is told ----------------------------------------------------------------------------------------
@pytest.fixture
def told() -> Callable[..., datetime | None]:
    """The next run of a cadence, from a moment and the last run."""

    def ask(cadence: Cadence, now: datetime, last: datetime | None = None, **restriction: Any) -> datetime | None:
        interval = DataInterval.exact(timezone.coerce_datetime(last)) if last is not None else None
        with time_machine.travel(now, tick=False):
            info = CadenceTimetable(cadence).next_dagrun_info(
                last_automated_data_interval=interval, restriction=ANY_TIME._replace(**restriction)
            )
        if info is None:
            return None
        assert info.data_interval == DataInterval.exact(info.run_after)
        return datetime.fromisoformat(info.run_after.isoformat())

    return ask


def day(number: int, hour: int = 3, minute: int = 0) -> datetime:
    return datetime(2026, 6, number, hour, minute, tzinfo=UTC)


DAILY = Cadence(crons=("0 3 * * *",))


def test_a_new_dag_waits_for_its_time(told: Callable[..., datetime | None]) -> None:
    assert told(DAILY, NOON) == day(2)
    assert told(DAILY, day(1, 3, 4)) == day(1), "one that comes round just now is not lost between two parsings"


def test_the_next_one_after_the_last(told: Callable[..., datetime | None]) -> None:
    assert told(DAILY, day(1, 3, 30), day(1)) == day(2)


def test_nothing_is_made_up_for(told: Callable[..., datetime | None]) -> None:
    assert told(DAILY, day(20, 12), day(3)) == day(20), "of all that were missed, the last"
    assert told(DAILY, day(20, 12), day(3), catchup=True) == day(20)


def test_a_blackout_is_leapt_over(told: Callable[..., datetime | None]) -> None:
    dark = DAILY.model_copy(update={"blackouts": (Period(begin=day(5, 0), end=day(9, 0)),)})
    assert told(dark, day(4, 3, 1), day(4)) == day(9)
    assert told(dark, day(6, 12), day(4)) == day(9)


def test_start_and_end_of_a_dag(told: Callable[..., datetime | None]) -> None:
    assert told(DAILY, NOON, earliest=timezone.coerce_datetime(day(10))) == day(10)
    assert told(DAILY, NOON, day(1), earliest=timezone.coerce_datetime(day(10, 4))) == day(11)
    assert told(DAILY, NOON, day(1), latest=timezone.coerce_datetime(day(1, 5))) is None


def test_a_run_by_hand_is_about_its_moment() -> None:
    moment = timezone.coerce_datetime(NOON)
    assert CadenceTimetable(DAILY).infer_manual_data_interval(run_after=moment) == DataInterval.exact(moment)


def test_alike_and_read_back() -> None:
    table = CadenceTimetable(DAILY)
    again = CadenceTimetable.deserialize(json.loads(json.dumps(table.serialize())))
    assert again == table
    assert hash(again) == hash(table)
    assert table != CadenceTimetable(Cadence(crons=("0 4 * * *",)))


# -- the oracle --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize(
    "cron", ["*/15 * * * *", "0 3 * * *", "30 2 * * *", "45 1 * * 0", "15 1-3 * * *", "30 * * * *", "0 */2 * * *"]
)
@pytest.mark.parametrize("begin", ["2026-03-28T12:00", "2026-10-24T12:00", "2026-03-07T12:00", "2026-10-31T12:00"])
def test_airflow_reads_clocks_that_change_alike(cron: str, zone: str, begin: str) -> None:
    """From time to time, as a scheduler asks; asked from within the changing hours, Airflow's own leaves some out."""
    theirs, ours = CronTriggerTimetable(cron, timezone=zone), Cadence(crons=(cron,), timezone=zone)
    time = moment = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    while time < moment + timedelta(hours=36):
        following = datetime.fromisoformat(theirs._get_next(timezone.coerce_datetime(time)).isoformat())
        assert next_time(ours, time) == following
        time = following
