"""``airflow-dr runs`` and ``airflow-dr show``: what the store remembers."""

from __future__ import annotations

import json
import sys

import click


@click.command()
@click.argument("drill", required=False)
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
@click.option("--limit", default=20, show_default=True)
def runs(drill: str | None, state: str | None, limit: int) -> None:
    """List the latest runs, of one drill or of all."""
    from airflow_dr_provider.cli.services import opened_services

    with opened_services(state, None) as services:
        for run in services.store.runs(drill, limit=limit):
            drilled = f"  drill of the drill: {', '.join(run.injected)}" if run.injected else ""
            click.echo(f"{run.opened_at:%Y-%m-%d %H:%M:%S}  {run.outcome or 'under way':<20} {run.drill:<20} {run.id}{drilled}")


@click.command()
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record.")
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
def show(run_id: str, as_json: bool, state: str | None) -> None:
    """Show a run's record, and whether its log is whole. Exit code 2 when it is unknown, unfinished or tampered with."""
    from airflow_dr_provider.cli.services import opened_services
    from airflow_dr_provider.cli.summary import summary_lines
    from airflow_dr_provider.errors import StateError

    with opened_services(state, None) as services:
        run = services.store.run(run_id)
        if run is None:
            raise StateError(f"The store knows no run {run_id}. `airflow-dr runs` lists them.")
        if run.record is None:
            raise StateError(f"The run {run_id} was opened at {run.opened_at.isoformat()} and isn't closed yet.")
        broken = services.store.broken_link(run_id)
    if as_json:
        click.echo(json.dumps(run.record, indent=2))
    else:
        for line in summary_lines(run.record):
            click.echo(line)
    if broken is not None:
        click.echo(f"airflow-dr: the log was changed: its entry {broken} doesn't fit the one before it", err=True)
        sys.exit(2)
