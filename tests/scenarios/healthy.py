"""Healthy drills: productions of many shapes, soundly backed up, and every drill on them has to end green.

``python -m tests.scenarios.healthy [--seed N] [--worlds N] [--drills N] [--jobs N] [--only N]`` makes the productions, runs the
drills, prints a table and a summary, and ends with 1 when one was red; ``make healthy`` runs two hundred and more.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from airflow_dr_provider.postgresql.programs import installed
from tests.scenarios.shapes.drills import BY_DESIGN, Outcome, drills
from tests.scenarios.shapes.shape import Shape, shapes
from tests.scenarios.shapes.world import world

WORLDS, DRILLS, SEED = 30, 7, 20261125


def here(seed: int, count: int) -> list[Shape]:
    """Shapes for the versions that this machine has."""
    majors = sorted({programs.major for programs in installed()} & {15, 17, 18})
    return shapes(seed, count, majors, pgbackrest=shutil.which("pgbackrest") is not None)


def play(shape: Shape, seed: int, count: int, *, keep: bool = False) -> list[Outcome]:
    """Make one world and run its drills."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    found: list[Outcome] = []
    try:
        with world(shape, folder, seed) as made:
            found += drills(made, count, random.Random(seed + shape.number))
    except Exception:
        # A world that can't be made proves nothing, so it is red too.
        found.append(Outcome(shape.label, "world", 0.0, (traceback.format_exc()[-1500:],), ()))
    finally:
        if not keep:
            shutil.rmtree(folder)
    return found


def _show(shape: Shape, found: list[Outcome]) -> None:
    print(f"#{shape.number} {shape.label}")
    for outcome in found:
        told = "red" if outcome.reds else f"green, undecided: {', '.join(outcome.undecided)}" if outcome.undecided else "green"
        print(f"    {outcome.drill:<88} {outcome.seconds:5.1f} s  {told}")
        for red in outcome.reds:
            print(f"        {red}")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Run and print; 1 when a drill was red."""
    parser = argparse.ArgumentParser(prog="healthy")
    for name, default in (("seed", SEED), ("worlds", WORLDS), ("drills", DRILLS), ("jobs", os.cpu_count() or 1), ("only", -1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--keep", action="store_true")
    told = parser.parse_args(arguments)
    chosen = [shape for shape in here(told.seed, told.worlds) if told.only in (-1, shape.number)]
    begun, outcomes = time.monotonic(), []
    with ProcessPoolExecutor(told.jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(play, shape, told.seed, told.drills, keep=told.keep): shape for shape in chosen}
        for future in as_completed(running):
            _show(running[future], future.result())
            outcomes += future.result()
    red = [outcome for outcome in outcomes if outcome.reds]
    undecided = Counter(name.partition(": ")[2] for outcome in outcomes for name in outcome.undecided)
    print(f"\n{len(outcomes)} drills on {len(chosen)} productions, {len(red)} red, {time.monotonic() - begun:.0f} s")
    for code, why in sorted(BY_DESIGN):
        if undecided[code]:
            print(f"left undecided by design {undecided[code]} times: {code}: {why}")
    return int(bool(red))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
