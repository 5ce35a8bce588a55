"""What a drill's task raises."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowFailException


class DrillFailedError(AirflowFailException):
    """A verdict, or something that a person has to change: never tried again by Airflow.

    What may heal by itself was tried again inside the stage; Airflow's ``retries`` are for tasks whose process was lost.
    """


class StageFailedError(DrillFailedError):
    """A stage that did not pass. The router after it decides what comes next."""


class DrillFindingsError(DrillFailedError):
    """What the catalog watch found: the task is red until it is mended or acknowledged, and notifiers tell people."""
