"""``airflow-dr lint``: say what is wrong with specs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def lint(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check specs; a folder stands for every YAML file in it. Exit code 0 when all are good, 2 when one is bad."""
    from airflow_dr_provider.errors import SpecError
    from airflow_dr_provider.spec.loader import find_specs, load_spec
    from airflow_dr_provider.spec.notifications import missing_packages

    found = find_specs(paths)
    results: list[dict[str, object]] = []
    for path in found:
        try:
            spec = load_spec(path)
            missing = missing_packages(spec.notifications)
            if missing:
                raise SpecError(f"{path}: {' '.join(missing)}", facts={"problems": list(missing)})
        except SpecError as error:
            results.append(
                {"path": str(path), "ok": False, "problems": error.facts.get("problems", []), "message": error.message}
            )
            if not as_json:
                click.echo(error.message, err=True)
        else:
            pools = sorted({tier.pool for tier in spec.tiers if tier.pool is not None})
            results.append({"path": str(path), "ok": True, "drill": spec.drill, **({"pools": pools} if pools else {})})
            if not as_json:
                # Whether Airflow has them can't be told here, and a task in a pool that isn't there waits for ever.
                named = f"; its tasks wait for the pools {', '.join(pools)}: see `airflow-dr setup --check`" if pools else ""
                click.echo(f"ok {path}{named}")
    if not found and not as_json:
        click.echo(f"airflow-dr: no spec (*.yaml, *.yml) in {', '.join(map(str, paths))}", err=True)
    if as_json:
        click.echo(json.dumps(results, indent=2))
    sys.exit(0 if found and all(result["ok"] for result in results) else 2)
