"""``airflow-dr signatures``: which failures were seen, how often, and since when."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("drill", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
def signatures(drill: str | None, as_json: bool, state: str | None) -> None:
    """List failure signatures over all runs, of one drill or of all, the latest first."""
    from airflow_dr_provider.cli.services import opened_services

    with opened_services(state, None) as services:
        seen = services.store.signatures(drill)
    if as_json:
        click.echo(json.dumps([entry.model_dump(mode="json") for entry in seen], indent=2))
        return
    for entry in seen:
        since, last = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (entry.first_seen, entry.last_seen))
        click.echo(f"{entry.code:<26} {entry.count:>5}  {since}  {last}  {', '.join(entry.drills)}")
