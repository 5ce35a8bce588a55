"""``airflow-dr plan``: what a run would choose now, and from what. Nothing is restored, and nothing is made."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from airflow_dr_provider.cli.run import error_document, parse_moment
from airflow_dr_provider.domain.plan import Plan
from airflow_dr_provider.errors import DrillError


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--as-of", metavar="TIME", help="The moment of the disaster, with an offset; now when left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--records", is_flag=True, help="Decode WAL, to tell the exact target, times and RPO as a run would.")
@click.option("--all", "everything", is_flag=True, help="Show every backup, also when there are very many.")
@click.option("--state", metavar="URL", help="The state store; AIRFLOW_DR_STATE when left out.")
def plan(spec: Path, as_of: str | None, as_json: bool, records: bool, everything: bool, state: str | None) -> None:
    r"""Show which backup each tier of the drill in SPEC would take, and what speaks against the others.

    Names, sizes and headers are read; records of the WAL only with --records, or for a target that is a time, a transaction
    or a restore point.

    \b
    Exit codes: 0 at least one tier has a candidate, 1 none has,
    2 it can't be said.
    """
    try:
        found = _plan(spec, as_of=as_of, records=records, state=state)
    except DrillError as error:
        if as_json:
            click.echo(json.dumps(error_document(error, 2), indent=2))
        else:
            click.echo(f"airflow-dr: {error.message}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json"), indent=2))
    else:
        from airflow_dr_provider.cli.plan_table import show

        show(found, everything=everything)
    sys.exit(0 if found.possible else 1)


def _plan(path: Path, *, as_of: str | None, records: bool, state: str | None) -> Plan:
    from airflow_dr_provider.cli.services import named_connections
    from airflow_dr_provider.spec.loader import load_spec
    from airflow_dr_provider.stages.plan import make_plan
    from airflow_dr_provider.stages.services import utc_now
    from airflow_dr_provider.state.location import default_state_url
    from airflow_dr_provider.state.store import Store

    spec = load_spec(path)
    moment = parse_moment(as_of) if as_of else None
    store = Store.existing(state or default_state_url())
    try:
        plan = make_plan(spec, store=store, as_of=moment, now=utc_now(), records=records, connections=named_connections())
        return asyncio.run(plan)
    finally:
        if store is not None:
            store.close()
