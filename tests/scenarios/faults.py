"""The fault matrix: every fault that is really produced, what the drill makes of it, and what other tools say of the same.

``python -m tests.scenarios.faults [WORD]...`` plays those whose names hold one of the words and prints the table; ``make faults``
plays them all. Adding a fault is adding a line to the table of its family in ``matrix/``.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.scenarios.matrix import adversaries, archives, backups, servers
from tests.scenarios.matrix.ground import Row, make_base, play
from tests.scenarios.matrix.others import AMCHECK, NOT_LOOKED_AT, VERIFYBACKUP

MATRIX: tuple[Row, ...] = (*backups.ROWS, *archives.ROWS, *servers.ROWS, *adversaries.ROWS)
SEEN: tuple[Row, ...] = tuple(row for row in MATRIX if row.family != "unseen")
REPRESENTATIVE: tuple[Row, ...] = tuple({(row.family, row.expected): row for row in reversed(SEEN)}.values())[::-1]
"""One of each family, name and move: what the test suite plays. ``make faults`` plays them all."""


def main(*words: str) -> int:
    """Play and print; how many were not as expected."""
    chosen = [row for row in MATRIX if not words or any(word in (row.family, row.name) or word in row.name for word in words)]
    folder = Path(tempfile.mkdtemp(prefix="dr-faults-"))
    begun, wrong = time.monotonic(), 0
    print(f"{'fault':<32} {'drill says':<28} {'and goes on':<24} {'':<4} {VERIFYBACKUP:<40} {AMCHECK}")
    try:
        base = make_base(folder)
        with servers.statements():
            for row in chosen:
                found, _, said = play(row, base, tools=True)
                good = found == row.expected
                wrong += not good
                told = (said.get(name, NOT_LOOKED_AT) for name in (VERIFYBACKUP, AMCHECK))
                line = f"{row.name:<32} {found.signature:<28} {found.move:<24} {'' if good else 'NOT ':<4} "
                print(line + " ".join(f"{text:<40}" for text in told).rstrip(), flush=True)
                if not good:
                    print(f"{'':<32} expected {row.expected.signature}, {row.expected.move}")
    finally:
        shutil.rmtree(folder)
    print(f"{len(chosen)} faults, {wrong} not as expected, {time.monotonic() - begun:.0f} s")
    return wrong


if __name__ == "__main__":
    sys.exit(1 if main(*sys.argv[1:]) else 0)
