"""``airflow-dr manifest``: where a restored server is and what is asked of it, for other test runners."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("run_id")
@click.option("--header", is_flag=True, help="Print only the signed header, ready for an HTTP client.")
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
def manifest(run_id: str, header: bool, state: str | None) -> None:
    """Print the routing manifest of a run's latest restored server, also while the run is under way.

    Exit code 2 when the run is unknown or has restored nothing.
    """
    from airflow_dr_provider.cli.services import opened_services
    from airflow_dr_provider.domain.routing_manifest import HEADER
    from airflow_dr_provider.errors import StateError
    from airflow_dr_provider.stages.history import latest_manifest

    with opened_services(state, None) as services:
        if services.store.run(run_id) is None:
            raise StateError(f"The store knows no run {run_id}. `airflow-dr runs` lists them.")
        made = latest_manifest(services.store, run_id)
    if made is None:
        raise StateError(f"The run {run_id} has no restored server yet, so there is no manifest of one.")
    click.echo(f"{HEADER}: {made.header}" if header else json.dumps(made.model_dump(mode="json"), indent=2))
