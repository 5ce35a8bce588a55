"""Publish a proved recovery."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from airflow_dr_provider.operators.base import DrillOperator
from airflow_dr_provider.operators.drill import failure_of


def proved_asset(drill: str) -> Asset:
    """The asset that says that a drill's cluster was restored and put through its gate."""
    return Asset(name=f"dr://{drill}/proved", uri=f"dr://{drill}/proved")


class DrillProvedOperator(DrillOperator):
    """Publish :func:`proved_asset` when the run proved a recovery; skipped when it didn't.

    A task of its own, for Airflow publishes every outlet of a task that succeeded. The rule is the verdict's: a run that
    Airflow shows as failed publishes nothing, nor does one that damaged its own copy, which proves nothing about a backup.

    :param drill: the drill's name.
    """

    def __init__(self, *, drill: str, **kwargs: Any) -> None:
        super().__init__(outlets=[proved_asset(drill)], **kwargs)
        self.drill = drill

    def execute(self, context: Any) -> dict[str, Any]:
        """Publish what was proved; the same goes to XCom.

        :raises AirflowSkipException: when nothing was.
        """
        with self.hook().drill(self.run_id_in_store) as drill:
            record = self.run(drill.close())
        why = failure_of(record) or ("; ".join(drill.run.injected) and "faults were injected into its own copy")
        if why:
            raise AirflowSkipException(f"{self.drill}: nothing was proved: {why}")
        target, achieved = record["target"] or {}, record["achieved"]
        extra = {
            "outcome": record["outcome"],
            "tier": record["tier"],
            "backup": record["backup"],
            "lsn": target.get("replayed_lsn") or target.get("lsn"),
            "timeline": target.get("timeline"),
            "recovered_to": target.get("last_commit"),
            "rpo_seconds": achieved["rpo_seconds"],
            "rto_seconds": achieved["rto_seconds"],
            "run": record["run_id"],
        }
        context["outlet_events"][proved_asset(self.drill)].extra = extra
        return extra
