"""What other tools say of the same fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_dr_provider.domain.fault_list import FAULTS, Moment
from airflow_dr_provider.faults.base import Deed, Victim
from airflow_dr_provider.stages import injection
from tests.scenarios.matrix.ground import Ground, Row, run_program

NOT_LOOKED_AT = "-"
VERIFYBACKUP, AMCHECK = "pg_verifybackup", "pg_amcheck"


def ask(row: Row, place: Ground) -> None:
    """Ask the tools that look at files; only about what they look at at all.

    ``pgbackrest verify`` reads repositories of its own kind only, which this one isn't.
    """
    if row.family != "backup" or not place.newest.is_dir():
        return
    done = run_program(place.base, "pg_verifybackup", "--quiet", str(place.newest))
    place.said[VERIFYBACKUP] = _said(done.returncode, done.stderr)


@contextmanager
def looking_on(place: Ground) -> Iterator[None]:
    """Let pg_amcheck look at the server as soon as it was damaged, while the drill goes on."""
    original = injection.deed

    def deed(name: str) -> Deed:
        real = original(name)

        async def then_amcheck(victim: Victim) -> str:
            said = await real(victim)
            if FAULTS[name].moment is Moment.SERVER_OPEN:
                await _amcheck(place, victim)
            return said

        return then_amcheck

    injection.deed = deed
    try:
        yield
    finally:
        injection.deed = original


async def _amcheck(place: Ground, victim: Victim) -> None:
    role: dict[str, Any] = json.loads((victim.root / "credentials.json").read_text())["admin"]
    where = ("-h", str(victim.root / "run"), "-U", role["user"], "-d", "postgres")
    done = run_program(place.base, "pg_amcheck", *where, "--install-missing", "--heapallindexed", PGPASSWORD=role["password"])
    # The drill is not to see what pg_amcheck needs.
    async with await victim.connect("postgres") as connection:
        await connection.execute("DROP EXTENSION IF EXISTS amcheck")
    place.said[AMCHECK] = _said(done.returncode, done.stdout + done.stderr)


def _said(code: int, text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "ok" if code == 0 else f"{code}: {lines[0] if lines else 'no word'}"[:70]
