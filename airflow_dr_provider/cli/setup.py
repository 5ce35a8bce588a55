"""``airflow-dr setup``: what drills need of an Airflow, made or looked for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from airflow_dr_provider.spec.models import DrillSpec

PLUGIN = "airflow_dr_timetables"


@dataclass(frozen=True)
class Step:
    """One thing that is needed.

    :param state: ``there``, ``made``, ``changed``, ``missing`` or ``wrong``.
    """

    what: str
    state: str
    detail: str


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--pool", "asked", multiple=True, metavar="NAME=SLOTS", help="Make this pool, or give it this size. May be repeated."
)
@click.option("--check", is_flag=True, help="Only look; exit code 1 when something is missing or wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--state", metavar="URL", help="The state store; else AIRFLOW_DR_STATE and Airflow's section [dr].")
@click.option("--workdir", type=click.Path(path_type=Path), help="Where sandboxes live; else AIRFLOW_DR_WORKDIR and [dr].")
def setup(
    paths: tuple[Path, ...], asked: tuple[str, ...], check: bool, as_json: bool, state: str | None, workdir: Path | None
) -> None:
    """Make the pools that the specs in PATHS name, the state store and the work folder. Done twice, it changes nothing.

    Sizes of pools: --pool, then the option pools of Airflow's section [dr] (dr_staging=4, dr_isolated=2), then 2. A pool that
    is there keeps its size unless one of the first two says another.
    """
    steps = [
        _plugin(),
        *_pools(paths, asked, check),
        _store(state, check),
        _workdir(workdir, check),
    ]
    if as_json:
        click.echo(json.dumps([asdict(step) for step in steps], indent=2))
    else:
        for step in steps:
            mark = "✗" if step.state in ("missing", "wrong") else "✓"
            click.echo(f"{mark}  {step.what:<28} {step.state:<8} {step.detail}")
    sys.exit(1 if any(step.state in ("missing", "wrong") for step in steps) else 0)


def _plugin() -> Step:
    from importlib.metadata import entry_points

    if any(point.name == PLUGIN for point in entry_points(group="airflow.plugins")):
        return Step("timetables", "there", "Airflow knows schedules with a time zone, jitter or blackouts")
    return Step("timetables", "wrong", "the installed package is older than its source; install it again")


def _pools(paths: Iterable[Path], asked: Iterable[str], check: bool) -> list[Step]:
    from airflow_dr_provider.hooks.pools import DESCRIPTION, SLOTS, Pool, configured_sizes, known_pools, make_pools, sizes

    named = {tier.pool: spec.drill for spec in _specs(paths) for tier in spec.tiers if tier.pool is not None}
    told = {**configured_sizes(), **sizes(",".join(asked))}
    wanted = {name: told.get(name, SLOTS) for name in sorted({*named, *told})}
    if not wanted:
        return [Step("pools", "there", "no spec names one")]
    known, steps, making = known_pools(), [], {}
    for name, slots in wanted.items():
        there, why = known.get(name), f"{slots} slots" + (f", for {named[name]}" if name in named else "")
        if there is not None and (name not in told or there.slots == slots):
            steps.append(Step(f"pool {name}", "there", f"{there.slots} slots"))
            continue
        if there is None:
            making[name] = Pool(name=name, slots=slots, description=DESCRIPTION, include_deferred=True)
            hint = ", and tasks in it would wait for ever; `airflow-dr setup` makes it" if check else ""
            steps.append(Step(f"pool {name}", "missing" if check else "made", f"{why}{hint}"))
        else:
            making[name] = there.model_copy(update={"slots": slots})
            steps.append(Step(f"pool {name}", "wrong" if check else "changed", f"{there.slots} slots, wanted are {slots}"))
    if making and not check:
        make_pools(making)
    return steps


def _specs(paths: Iterable[Path]) -> list[DrillSpec]:
    from airflow_dr_provider.errors import SpecError
    from airflow_dr_provider.spec.loader import find_specs, load_spec

    found = []
    for path in find_specs(paths):
        try:
            found.append(load_spec(path))
        except SpecError as error:
            # What is wrong with it is lint's to say at length; its pools can't be known.
            click.echo(f"airflow-dr: passed over: {error.message.splitlines()[0]}", err=True)
    return found


def _store(state: str | None, check: bool) -> Step:
    from airflow_dr_provider.hooks.drill import DrillHook
    from airflow_dr_provider.state.database import database_url, is_current, plainly, shown
    from airflow_dr_provider.state.store import Store

    url = state or DrillHook().state_url()
    parsed = database_url(url)
    place = shown(parsed)
    with plainly(parsed):
        current = is_current(parsed)
    if current:
        return Step("state store", "there", place)
    if check:
        return Step("state store", "missing", f"{place} isn't made or is of an older version; `airflow-dr setup` makes it")
    Store.open(url).close()
    return Step("state store", "made", place)


def _workdir(told: Path | None, check: bool) -> Step:
    from airflow_dr_provider.hooks.drill import DrillHook

    place = told.absolute() if told is not None else DrillHook().work_folder()
    made = False
    try:
        if not place.exists():
            if check:
                return Step("work folder", "missing", f"{place}; `airflow-dr setup` makes it on this machine")
            place.mkdir(parents=True, mode=0o711)
            made = True
    except OSError as error:
        return Step("work folder", "wrong", f"{place}: {error.strerror}")
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Step("work folder", "wrong", f"{place} isn't a folder that this account can write to")
    free = os.statvfs(place)
    return Step(
        "work folder",
        "made" if made else "there",
        f"{place}, {free.f_bavail * free.f_frsize / 1e9:.1f} GB free, on this machine",
    )
