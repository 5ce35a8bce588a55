"""``airflow-dr run``: walk a drill's chain without Airflow."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from airflow_dr_provider.domain.exit_codes import ExitCode
from airflow_dr_provider.errors import ConfigurationError, DrillError, RunInterruptedError, SpecError


def parse_moment(text: str) -> datetime:
    """A time with an offset.

    :raises SpecError: when it is none, or has no offset.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SpecError(f"--as-of: {text!r} is no time. Write it like 2026-03-01T04:00:00+00:00.") from None
    if moment.tzinfo is None:
        raise SpecError(f"--as-of: {text!r} has no offset from UTC. Write it like {text.strip()}+00:00.")
    return moment.astimezone(UTC)


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--as-of", metavar="TIME", help="The moment of the disaster, with an offset; now when left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
@click.option("--workdir", type=click.Path(path_type=Path), help="Where sandboxes live; AIRFLOW_DR_WORKDIR when left out.")
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="Write the record to this file too.")
@click.option("--new", is_flag=True, help="Don't go on with an unfinished run whose process is dead; clean it up.")
@click.option("--wait", is_flag=True, help="Wait for a run of this drill that is under way.")
@click.option("--target", metavar="KIND[=VALUE]", help="Recover to latest, time=…, lsn=…, xid=… or restore_point=… instead.")
@click.option("--first-tier", metavar="TIER", help="Begin at this tier; those before it are not tried.")
@click.option("--keep-for", metavar="TIME", help="Leave the recovered server up for this long, 24h at most; needs --reason.")
@click.option("--reason", help="Why the drill is run; kept in the record.")
@click.option("--inject", multiple=True, metavar="FAULT[@TIER]", help="Drill the drill: damage its own copy; repeatable.")
def run(
    spec: Path,
    as_of: str | None,
    as_json: bool,
    state: str | None,
    workdir: Path | None,
    record: Path | None,
    new: bool,
    wait: bool,
    inject: tuple[str, ...],
    target: str | None,
    first_tier: str | None,
    keep_for: str | None,
    reason: str | None,
) -> None:
    r"""Walk the chain of the drill in SPEC.

    \b
    Exit codes: 0 RECOVERED, 3 RECOVERED_DEGRADED, 1 MANUAL_TRIAGE,
    2 COULD_NOT_VERIFY, 4 CLEANUP_FAILED, 128 + signal when interrupted.
    With --inject also 2 when the drill did not do what was expected of it.
    """
    try:
        document = _run(
            spec,
            as_of=as_of,
            quiet=as_json,
            state=state,
            workdir=workdir,
            record=record,
            new=new,
            wait=wait,
            inject=inject,
            asked={"target": target, "first_tier": first_tier, "keep_for": keep_for, "reason": reason},
        )
    except DrillError as error:
        code = 128 + error.signal_number if isinstance(error, RunInterruptedError) else int(ExitCode.COULD_NOT_VERIFY)
        if as_json:
            click.echo(json.dumps(error_document(error, code), indent=2))
        else:
            click.echo(f"airflow-dr: {error.message}", err=True)
        sys.exit(code)
    if as_json:
        click.echo(json.dumps(document, indent=2))
    sys.exit(int(document["exit_code"]))


def error_document(error: DrillError, exit_code: int) -> dict[str, Any]:
    """The JSON document for a run that never got to a record."""
    return {
        "error": {"signature": error.code, "message": error.message, "facts": error.facts},
        "outcome": ExitCode.COULD_NOT_VERIFY.name,
        "exit_code": exit_code,
        "leftovers": [],
    }


def _run(
    path: Path,
    *,
    as_of: str | None,
    quiet: bool,
    state: str | None,
    workdir: Path | None,
    record: Path | None,
    new: bool,
    wait: bool,
    inject: tuple[str, ...],
    asked: dict[str, str | None],
) -> dict[str, Any]:
    from airflow_dr_provider.cli.services import opened_services
    from airflow_dr_provider.cli.summary import progress_line, summary_lines
    from airflow_dr_provider.runner import run_drill
    from airflow_dr_provider.spec.loader import load_spec
    from airflow_dr_provider.spec.request import requested_target, run_request
    from airflow_dr_provider.stages.services import Progress

    spec = load_spec(path)
    kind, value = requested_target(asked.pop("target") or "")
    request = run_request(spec, recover_to=kind, value=value, **asked)
    moment = parse_moment(as_of) if as_of else None
    if record is not None:
        _check_writable(record)

    def show(event: Progress) -> None:
        line = progress_line(event)
        if line is not None:
            click.echo(line, err=quiet)

    click.echo(f"  drill {spec.drill}: {' → '.join(tier.name for tier in spec.tiers)} → manual triage", err=quiet)
    with opened_services(state, workdir, progress=show) as services:
        document = asyncio.run(run_drill(services, spec, as_of=moment, new=new, wait=wait, inject=inject, request=request))
        place = services.store.url_without_password
    if record is not None:
        _write(record, document)
        place = str(record)
    if not quiet:
        for line in summary_lines(document, record_place=place):
            click.echo(line)
    return document


def _check_writable(path: Path) -> None:
    """Say now, not after the drill, that a record can't be written.

    :raises ConfigurationError: with the reason.
    """
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or path.is_dir():
        raise ConfigurationError(
            f"--record: {path} can't be written. Name a file in a folder that exists and that you may write to.",
            code="SPEC_INVALID",
        )


def _write(path: Path, document: dict[str, Any]) -> None:
    """Write the record whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as file:
        json.dump(document, file, indent=2)
        file.write("\n")
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
