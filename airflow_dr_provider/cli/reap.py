"""``airflow-dr reap``: remove what outlived its lease or its run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click


@click.command()
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
@click.option("--workdir", type=click.Path(path_type=Path), help="Unused: the ledger knows each sandbox's folder.")
@click.option("--all", "everything", is_flag=True, help="Don't wait for leases: take what is in use, too.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
def reap(state: str | None, workdir: Path | None, everything: bool, dry_run: bool) -> None:
    """Remove sandboxes whose lease is over. Exit code 4 when something could not be removed."""
    from airflow_dr_provider.cli.services import opened_services
    from airflow_dr_provider.domain.exit_codes import ExitCode
    from airflow_dr_provider.stages import reap as reaping

    with opened_services(state, workdir) as services:
        done = asyncio.run(reaping.reap(services, now=services.clock(), everything=everything, dry_run=dry_run))
    for name in done.released:
        click.echo(f"{'would release' if dry_run else 'released'} {name}")
    for name in done.kept:
        click.echo(f"in use {name}")
    for name, host in done.elsewhere.items():
        click.echo(f"on {host} {name}")
    for name, why in done.leftovers.items():
        click.echo(f"still there {name}: {why}", err=True)
    sys.exit(int(ExitCode.CLEANUP_FAILED) if done.leftovers else 0)
