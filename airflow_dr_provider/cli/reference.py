"""``airflow-dr reference``: capture what production looks like."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from airflow_dr_provider.errors import ConfigurationError


@click.group()
def reference() -> None:
    """The yardstick of the schema, index and row checks."""


@reference.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Where to write it; - for stdout.")
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
def capture(spec: Path, output: Path | None, state: str | None) -> None:
    """Read production's reference now, keep it, and write it to the spec's `source.reference.file` or to --output."""
    from airflow_dr_provider.cli.services import opened_services
    from airflow_dr_provider.spec.loader import load_spec
    from airflow_dr_provider.spec.models import FileReference
    from airflow_dr_provider.stages.production import PRODUCTION, capture_production, keep

    loaded = load_spec(spec)
    wanted = loaded.source.reference
    place = output or (wanted.file if isinstance(wanted, FileReference) else None)
    with opened_services(state, None) as services:
        found = asyncio.run(capture_production(services, loaded))
        identifier = keep(services, loaded, None, PRODUCTION, found)
    objects = sum(len(database.objects) for database in found.databases)
    if place is not None and str(place) == "-":
        click.echo(found.model_dump_json(indent=2))
        return
    if place is not None:
        try:
            place.write_text(found.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise ConfigurationError(f"{place} can't be written: {error.strerror}.", code="SPEC_INVALID") from error
        click.echo(f"wrote {place}: {len(found.databases)} databases, {objects} objects, at {found.lsn}")
    click.echo(f"kept as {identifier}")
