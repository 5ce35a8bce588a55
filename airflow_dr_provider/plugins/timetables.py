"""What makes the scheduler know this package's timetable: Airflow reads a DAG's timetable only when a plugin names it."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_dr_provider.timetables.cadence import CadenceTimetable


class TimetablesPlugin(AirflowPlugin):
    """The timetables of drills."""

    name = "airflow_dr_timetables"
    timetables = [CadenceTimetable]
