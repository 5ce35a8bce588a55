"""``airflow-dr watch``: say what is wrong with backups before anybody needs them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from airflow_dr_provider.domain.watch import WatchReport


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
def watch(paths: tuple[Path, ...], as_json: bool, state: str | None) -> None:
    """Scan the repositories and runs of drills; a folder stands for every YAML file in it.

    Exit code 0 when nothing was found, 1 when something was, 2 when it could not be told.
    """
    from airflow_dr_provider.cli.services import opened_services
    from airflow_dr_provider.errors import DrillError, SpecError
    from airflow_dr_provider.spec.loader import find_specs, load_spec
    from airflow_dr_provider.stages.watch import scan

    found = find_specs(paths)
    if not found:
        raise SpecError(f"There is no spec (*.yaml, *.yml) in {', '.join(map(str, paths))}.")
    documents: list[dict[str, Any]] = []
    with opened_services(state, None) as services:
        for path in found:
            try:
                identifier, report = asyncio.run(scan(services, load_spec(path)))
            except DrillError as error:
                documents.append(
                    {"spec": str(path), "conclusive": False, "error": {"code": error.code, "message": error.message}}
                )
            else:
                documents.append({"spec": str(path), **_document(identifier, report)})
            if not as_json:
                _print(documents[-1])
    if as_json:
        click.echo(json.dumps(documents, indent=2))
    sys.exit(2 if not all(document["conclusive"] for document in documents) else int(any(d["findings"] for d in documents)))


def _document(identifier: str, report: WatchReport) -> dict[str, Any]:
    from airflow_dr_provider.domain.signatures import signature

    point = report.restorable
    return {
        "drill": report.drill,
        "scan": identifier,
        "at": report.at.isoformat(),
        "conclusive": report.conclusive,
        "repository": report.repository,
        "restorable": point.model_dump(mode="json", exclude={"hole"}) if point is not None else None,
        "holes": [hole.model_dump(mode="json") for hole in report.holes],
        "findings": [
            {
                "code": finding.signature,
                "severity": signature(finding.signature).severity.value,
                "subject": finding.subject,
                "detail": finding.detail,
                "since": finding.since.isoformat(),
                "new": report.is_new(finding),
            }
            for finding in report.findings
        ],
        "notes": list(report.notes),
    }


def _print(document: dict[str, Any]) -> None:
    if "error" in document:
        click.echo(f"?  {document['spec']}: {document['error']['message']}", err=True)
        return
    findings, point = document["findings"], document["restorable"]
    mark = "✗" if findings else "✓"
    if point is not None:
        reach = f"restorable to {point['time'] or 'an unknown time'}, {point['lsn']} on timeline {point['timeline']}, by {point['backup']}"
    else:
        reach = "not restorable" if document["conclusive"] else "nobody knows what is restorable"
    click.echo(f"{mark}  {document['drill']:<20} {reach}")
    for finding in findings:
        age = "new" if finding["new"] else f"since {finding['since'][:16]}"
        click.echo(f"     {finding['severity']:<8} {finding['code']} ({age}) {finding['subject']}: {finding['detail']}")
    for note in document["notes"]:
        click.echo(f"     note     {note}")
