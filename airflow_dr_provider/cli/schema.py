"""``airflow-dr schema``: the JSON Schema of a spec."""

from __future__ import annotations

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of a spec, for your editor."""
    from airflow_dr_provider.spec.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
