"""``airflow-dr verify``: read what is due of a repository, and say what is wrong with it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from airflow_dr_provider.stages.verify_repository import PassProgress, VerificationReport

_EVERY_SECONDS = 10.0
_SHOWN = 20
_UNITS = ("kB", "MB", "GB", "TB", "PB")


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--backup", "backups", metavar="ID", multiple=True, help="Only this backup and what it builds on, and no archived WAL."
)
@click.option("--all", "everything", is_flag=True, help="Read everything again, also what was read before and is unchanged.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
def verify(spec: Path, backups: tuple[str, ...], everything: bool, as_json: bool, state: str | None) -> None:
    r"""Read the backups and the WAL of SPEC's repository, as far as they are new, changed, or due again.

    \b
    Exit codes: 0 everything that was read is sound, 1 faults were found,
    2 it could not be verified, 128 + signal when interrupted.
    """
    from airflow_dr_provider.errors import DrillError, RunInterruptedError

    try:
        report = _verify(spec, backups=backups, everything=everything, state=state)
    except DrillError as error:
        code = 128 + error.signal_number if isinstance(error, RunInterruptedError) else 2
        message = "Interrupted; what was read is kept." if isinstance(error, RunInterruptedError) else error.message
        if as_json:
            click.echo(json.dumps({"error": {"signature": error.code, "message": message}, "exit_code": code}, indent=2))
        else:
            click.echo(f"airflow-dr: {message}", err=True)
        sys.exit(code)
    code = 1 if report.faulty else 0
    if as_json:
        click.echo(json.dumps({**report.model_dump(mode="json"), "exit_code": code}, indent=2))
    else:
        for line in _lines(report):
            click.echo(line)
    sys.exit(code)


def _verify(path: Path, *, backups: tuple[str, ...], everything: bool, state: str | None) -> VerificationReport:
    from airflow_dr_provider.cli.services import opened_services
    from airflow_dr_provider.spec.loader import load_spec
    from airflow_dr_provider.spec.repository_connection import placed
    from airflow_dr_provider.stages.interruption import interruptible
    from airflow_dr_provider.stages.open_run import repository_of
    from airflow_dr_provider.stages.verify_repository import verify_repository

    spec = load_spec(path)
    with opened_services(state, None) as services:
        walk = verify_repository(
            services,
            repository_of(placed(spec, services.connections)),
            spec.verification,
            backups=backups,
            everything=everything,
            progress=_progress(),
        )
        return asyncio.run(interruptible(walk))


def _progress() -> Callable[[PassProgress], None]:
    """Show how far the pass is: one line that changes on a terminal, a line now and then elsewhere."""
    terminal = sys.stderr.isatty()
    shown = time.monotonic()

    def show(done: PassProgress) -> None:
        nonlocal shown
        if not terminal and time.monotonic() - shown < _EVERY_SECONDS:
            return
        shown = time.monotonic()
        faults = f", {done.faulty} faults" if done.faulty else ""
        text = f"  {done.items} items listed, {done.read} read, {_size(done.bytes_read)}{faults}"
        click.echo(f"\r{text}\x1b[K" if terminal else text, err=True, nl=not terminal)

    return show


def _lines(report: VerificationReport) -> list[str]:
    clear = "\r\x1b[K" if sys.stderr.isatty() and sys.stdout.isatty() else ""
    read = sum(report.read.values())
    why = ", ".join(f"{count} {reason}" for reason, count in report.read.items())
    lines = [
        f"{clear}  repository {report.repository}: {report.items} items, {_size(report.bytes)}",
        f"  read       {read} items, {_size(report.bytes_read)}, in {report.seconds:.1f} s" + (f" ({why})" if why else ""),
        f"  unchanged  {report.unchanged} items since they were read",
    ]
    if report.uncompared:
        lines.append(
            f"  uncompared {report.uncompared} of the items read have nothing to compare them with; a later change shows"
        )
    if report.forgotten:
        lines.append(f"  forgotten  {report.forgotten} items that are no longer in the repository")
    lines += [f"  ✗ {fault.item}: {fault.signature}: {fault.detail}" for fault in report.faults[:_SHOWN]]
    if report.faulty > _SHOWN:
        lines.append(f"  ✗ and {report.faulty - _SHOWN} more; --json lists them")
    lines += [f"  quarantine {identifier}: later runs pass it over" for identifier in report.quarantined]
    lines.append(f"  {'FAULTS FOUND' if report.faulty else 'SOUND'}")
    return lines


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, len(_UNITS))
    return f"{count / 1000**power:.1f} {_UNITS[power - 1]}"
