"""A drill's cadence as the ``schedule`` of a DAG: Airflow's own timetables where they say the same, this package's elsewhere."""

from __future__ import annotations

from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, MultipleCronTriggerTimetable

from airflow_dr_provider.operators.catalog_watch import backup_asset
from airflow_dr_provider.spec.models import DrillSpec


def dag_schedule(spec: DrillSpec) -> Any:
    """What :class:`airflow.sdk.DAG` takes as its schedule."""
    cadence = spec.cadence
    if cadence is None:
        return None
    if cadence.after_backup and not cadence.crons:
        return [backup_asset(spec.drill)]
    timetable: Any
    if not cadence.plain:
        from airflow_dr_provider.timetables.cadence import CadenceTimetable

        timetable = CadenceTimetable(cadence)
    elif cadence.after_backup or len(cadence.crons) > 1:
        timetable = MultipleCronTriggerTimetable(*cadence.crons, timezone="UTC")
    else:
        # Not the text: Airflow would read that in its own default time zone.
        timetable = CronTriggerTimetable(cadence.crons[0], timezone="UTC")
    return AssetOrTimeSchedule(timetable=timetable, assets=[backup_asset(spec.drill)]) if cadence.after_backup else timetable
