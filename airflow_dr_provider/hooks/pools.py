"""Airflow's pools, through Airflow's own command line: a task can't make them, and the metadata database is not ours to touch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import conf

from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.errors import ConfigurationError
from airflow_dr_provider.provider_configuration import SECTION

SLOTS = 2
"""Slots of a pool whose size nobody says."""
LONGEST = 300.0
"""Seconds that one command of Airflow's may take."""
DESCRIPTION = "Tasks of disaster recovery drills that share a host of sandboxes"
_PAIR = re.compile(r"([A-Za-z0-9_.-]{1,128})=(\d{1,6})")


class Pool(Value):
    """A pool of Airflow's."""

    name: str
    slots: int
    description: str = ""
    include_deferred: bool = False


def sizes(text: str) -> dict[str, int]:
    """Pools and their slots from a text like ``dr_staging=4, dr_isolated=2``.

    :raises ConfigurationError: when it can't be read.
    """
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _PAIR.fullmatch(part)
        if match is None or int(match[2]) == 0:
            raise ConfigurationError(
                f"{part!r} is no pool and its slots; write NAME=SLOTS, like dr_staging=4, several with commas between.",
                code="SETUP_INCOMPLETE",
            )
        found[match[1]] = int(match[2])
    return found


def configured_sizes() -> dict[str, int]:
    """What the option ``[dr] pools`` says.

    :raises ConfigurationError: when it can't be read.
    """
    return sizes(str(conf.get(SECTION, "pools", fallback="") or ""))


def known_pools() -> dict[str, Pool]:
    """Airflow's pools by their names.

    :raises ConfigurationError: when Airflow doesn't answer.
    """
    answer = _airflow("pools", "list", "--output", "json")
    rows = _rows(answer)
    return {
        str(row["pool"]): Pool(
            name=str(row["pool"]),
            slots=int(row["slots"]),
            description=str(row.get("description") or ""),
            include_deferred=str(row.get("include_deferred")).lower() == "true",
        )
        for row in rows
    }


def make_pools(pools: Mapping[str, Pool]) -> None:
    """Make pools, or give them another size; all in one command.

    :raises ConfigurationError: when Airflow refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pools.json"
        file.write_text(json.dumps({name: pool.model_dump(exclude={"name"}) for name, pool in sorted(pools.items())}))
        _airflow("pools", "import", str(file))


def _rows(answer: str) -> list[dict[str, Any]]:
    # Airflow's own warnings may stand before the document.
    for begin in (match.start() for match in re.finditer(r"^\[", answer, re.MULTILINE)):
        try:
            rows = json.loads(answer[begin:])
        except json.JSONDecodeError:
            continue
        if isinstance(rows, list):
            return rows
    raise ConfigurationError(
        f"`airflow pools list` printed no JSON: {answer.strip()[-200:] or 'nothing'}.", code="SETUP_INCOMPLETE"
    )


def _airflow(*arguments: str) -> str:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments], capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(
            f"`airflow {' '.join(arguments[:2])}` didn't end within {LONGEST:.0f} s.", code="SETUP_INCOMPLETE"
        ) from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1][:300]
        raise ConfigurationError(
            f"`airflow {' '.join(arguments[:2])}` failed: {said}. Run this where Airflow is installed and its metadata database "
            f"is set up (`airflow db migrate`).",
            code="SETUP_INCOMPLETE",
        )
    return done.stdout
