"""Destroy what outlived its lease or its run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_dr_provider.hooks.dag_runs import dag_run_ended
from airflow_dr_provider.hooks.exceptions import DrillFailedError
from airflow_dr_provider.operators.base import DrillOperator
from airflow_dr_provider.stages.reap import reap


class SandboxReaperOperator(DrillOperator):
    """One pass over the ledger, over runs whose DAG run has ended without closing them, and over this worker's work folder.

    :param only_report: ``True`` to only say what would be released. (templated)
    """

    template_fields: Sequence[str] = ("drill_run_id", "only_report")

    def __init__(self, *, only_report: bool | str = "{{ params.dry_run }}", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.only_report = only_report

    def execute(self, context: Any) -> dict[str, Any]:
        """Reap; the names of what was released go to XCom.

        :raises DrillFailedError: when something could not be removed.
        """
        reporting = str(self.only_report).lower() == "true"
        with self.hook().services() as services:
            done = self.run(reap(services, now=services.clock(), dry_run=reporting, ended=dag_run_ended))
        self.log.info("released %s; in use %s; closed %s", list(done.released), list(done.kept), list(done.closed))
        for name, host in done.elsewhere.items():
            self.log.info("%s is on %s, whose own reaper removes it", name, host)
        if done.leftovers:
            raise DrillFailedError("; ".join(f"{name}: {why}" for name, why in done.leftovers.items()))
        return {"released": list(done.released), "kept": list(done.kept), "closed": list(done.closed)}
