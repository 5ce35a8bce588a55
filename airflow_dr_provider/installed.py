"""What other installed packages bring, known by their entry points without importing any of them."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points


def installed(group: str, *, longest: int) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted; one whose name couldn't be written in a spec is passed over.

    :param longest: how many characters a name may have.
    """
    name = re.compile(rf"[a-z][a-z0-9_]{{0,{longest - 1}}}")
    found = {point.name: point for point in entry_points(group=group) if name.fullmatch(point.name)}
    return dict(sorted(found.items()))
