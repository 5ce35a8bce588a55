"""``airflow-dr quarantine``: which backups are passed over, and the way out, which is a person's decision."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

_STATE = click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
_SPEC = click.argument("spec", type=click.Path(path_type=Path))


@click.group()
def quarantine() -> None:
    """Backups that failed, and that every later run passes over."""


@quarantine.command("list")
@_SPEC
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@_STATE
def show(spec: Path, as_json: bool, state: str | None) -> None:
    """List the backups of SPEC's repository that are in quarantine."""
    from airflow_dr_provider.cli.services import opened_services

    with opened_services(state, None) as services:
        found = services.store.quarantined(_identity(spec))
    if as_json:
        click.echo(json.dumps([entry.model_dump(mode="json") for entry in found], indent=2))
        return
    for entry in found:
        click.echo(f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.backup_id:<24} {entry.signature:<26} {entry.detail} ({entry.run_id})")


@quarantine.command()
@_SPEC
@click.argument("backup", nargs=-1, required=True)
@_STATE
def lift(spec: Path, backup: tuple[str, ...], state: str | None) -> None:
    """Take backups out of quarantine: the next run may choose them again. Verify them first.

    A fault that is still there puts a backup back at the next `airflow-dr verify`, or when it is restored.
    """
    from airflow_dr_provider.cli.services import opened_services
    from airflow_dr_provider.errors import RepositoryError

    identity = _identity(spec)
    with opened_services(state, None) as services:
        inside = {entry.backup_id for entry in services.store.quarantined(identity)}
        strange = [identifier for identifier in backup if identifier not in inside]
        if strange:
            listed = ", ".join(sorted(inside)) or "none is"
            raise RepositoryError(f"Not in quarantine: {', '.join(strange)}. In quarantine: {listed}.", code="REPOSITORY_EMPTY")
        for identifier in backup:
            services.store.lift_quarantine(identity, identifier, now=services.clock())
            click.echo(f"lifted {identifier}")


def _identity(path: Path) -> str:
    """The identity of a spec's repository."""
    from airflow_dr_provider.cli.services import named_connections
    from airflow_dr_provider.spec.loader import load_spec
    from airflow_dr_provider.spec.repository_connection import placed
    from airflow_dr_provider.stages.open_run import repository_of

    return asyncio.run(repository_of(placed(load_spec(path), named_connections())).catalog()).identity
