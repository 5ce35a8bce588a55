"""``airflow-dr inject``: the faults with which a drill can be drilled."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--list", "listed", is_flag=True, required=True, help="List them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def inject(listed: bool, as_json: bool) -> None:
    """List the faults that `airflow-dr run SPEC --inject FAULT[@TIER]` can inject into the drill's own copy.

    Neither the repository nor production is ever touched, and a run with an injected fault proves nothing about a backup.
    """
    from airflow_dr_provider.domain.fault_list import FAULTS

    if as_json:
        click.echo(json.dumps([fault.model_dump(mode="json") for fault in FAULTS.values()], indent=2))
        return
    for fault in FAULTS.values():
        found_by = f", found by {fault.found_by}" if fault.found_by else ""
        click.echo(f"{fault.name:<20} {fault.meaning}")
        click.echo(f"{'':<20}   {fault.moment.value}; {' or '.join(fault.signatures)}{found_by}; the chain {fault.leads.value}")
