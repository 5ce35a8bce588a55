"""Watch over a drill's backups, and over the drill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import Asset, AssetAlias

from airflow_dr_provider.domain.signatures import signature
from airflow_dr_provider.domain.watch import WatchReport
from airflow_dr_provider.evidence.metrics import Metric, watch_metrics
from airflow_dr_provider.hooks.drill import judged
from airflow_dr_provider.hooks.exceptions import DrillFindingsError
from airflow_dr_provider.hooks.stats import emit
from airflow_dr_provider.operators.base import DrillOperator
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.stages.watch import kept_scan, scan

SCAN = "scan"
"""The XCom that holds the scan's id."""


def restorable_asset(drill: str) -> Asset:
    """The asset that says up to when a drill's cluster could be restored: what a DAG may be scheduled on."""
    return Asset(name=f"dr://{drill}/restorable", uri=f"dr://{drill}/restorable")


def backup_asset(drill: str) -> Asset:
    """The asset with one event for each new backup that a drill could be begun with."""
    return Asset(name=f"dr://{drill}/backup", uri=f"dr://{drill}/backup")


def backup_alias(drill: str) -> AssetAlias:
    """What the events of :func:`backup_asset` are published through: as many as there are new backups, none when there is none."""
    return AssetAlias(name=f"dr://{drill}/backup")


class CatalogWatchOperator(DrillOperator):
    """Scan a drill's repository and runs, and publish up to where it could be restored.

    Reads names, sizes and headers, and the end of the WAL; opens no run. The event of the asset :func:`restorable_asset` has
    ``restorable_to``, ``lsn``, ``timeline``, ``backup`` and ``scan``; none is published when nothing could be restored: the
    task is skipped. Each backup that recovery could begin with and that no earlier scan announced is an event of
    :func:`backup_asset`, with ``backup``, ``type``, ``stop_lsn``, ``stop_time`` and ``scan``; within a blackout of the drill it
    waits. What is wrong fails another task, :class:`CatalogFindingsOperator`, for a failed one publishes nothing.

    :param spec: the drill.
    """

    def __init__(self, *, spec: DrillSpec, **kwargs: Any) -> None:
        super().__init__(outlets=[restorable_asset(spec.drill), backup_alias(spec.drill)], **kwargs)
        self.spec = spec

    def execute(self, context: Any) -> dict[str, Any]:
        """Scan; the scan's id goes to XCom.

        :raises AirflowSkipException: when there is nothing to publish.
        """
        with judged(), self.hook().services() as services:
            identifier, report = self.run(scan(services, self.spec, announcer=self.run_id_in_store))
        context["ti"].xcom_push(key=SCAN, value=identifier)
        emit(_numbers(report))
        for note in report.notes:
            self.log.info("note: %s", note)
        point = report.restorable
        if point is None:
            raise AirflowSkipException(f"{self.spec.drill}: nothing to publish; the task of the findings says why.")
        extra = {
            "restorable_to": point.time.isoformat() if point.time is not None else None,
            "lsn": str(point.lsn),
            "timeline": point.timeline,
            "backup": point.backup,
            "scan": identifier,
        }
        news = context["outlet_events"][backup_alias(self.spec.drill)]
        for backup in report.new_backups:
            facts = backup.model_dump(mode="json", exclude={"id", "kind"})
            news.add(
                backup_asset(self.spec.drill), extra={"backup": backup.id, "type": backup.kind, **facts, "scan": identifier}
            )
            self.log.info("new backup: %s", backup.id)
        context["outlet_events"][restorable_asset(self.spec.drill)].extra = extra
        self.log.info("restorable to %s, %s on timeline %s, by %s", point.time, point.lsn, point.timeline, point.backup)
        return extra


def _numbers(report: WatchReport) -> tuple[Metric, ...]:
    point = report.restorable
    age = (report.at - point.time).total_seconds() if point is not None and point.time is not None else None
    return watch_metrics(report.drill, findings=len(report.findings), age_seconds=age)


class CatalogFindingsOperator(DrillOperator):
    """Fail with what a scan found, so that whoever is told of failed tasks is told of it.

    :param scan: the scan's id in the state store. (templated)
    """

    template_fields: Sequence[str] = ("drill_run_id", "scan")

    def __init__(self, *, scan: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scan = scan

    def execute(self, context: Any) -> int:
        """Say that nothing was found.

        :raises DrillFindingsError: with everything that was, new or known.
        """
        with judged(), self.hook().services() as services:
            report = kept_scan(services, self.scan)
        for finding in report.findings:
            age = "new" if report.is_new(finding) else f"since {finding.since.isoformat(timespec='minutes')}"
            severity = signature(finding.signature).severity.value
            self.log.error("%s %s (%s) %s: %s", severity, finding.signature, age, finding.subject, finding.detail)
        if report.findings:
            new = sum(report.is_new(finding) for finding in report.findings)
            told = "; ".join(f"{finding.signature} {finding.subject}: {finding.detail}" for finding in report.findings)
            raise DrillFindingsError(f"{report.drill}: {len(report.findings)} findings, {new} of them new. {told}")
        return 0
