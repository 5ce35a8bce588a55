"""``airflow-dr metrics``: the latest run of each drill, for Prometheus."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click


@click.command("metrics")
@click.option("--output", type=click.Path(path_type=Path), help="A file for the textfile collector, replaced at one stroke.")
@click.option("--state", help="The state store's URL; AIRFLOW_DR_STATE when left out.")
def metrics(output: Path | None, state: str | None) -> None:
    """Print the latest run of each drill in Prometheus' text format."""
    from airflow_dr_provider.cli.services import opened_services
    from airflow_dr_provider.evidence.open_metrics import open_metrics

    with opened_services(state, None) as services:
        text = open_metrics(services.store.latest_records())
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        # Beside it, so that the collector never reads half a file.
        with tempfile.NamedTemporaryFile("w", dir=output.absolute().parent, prefix=".airflow-dr-", delete=False) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        os.replace(file.name, output)
    except OSError as error:
        raise click.ClickException(f"{output} can't be written: {error.strerror}.") from error
