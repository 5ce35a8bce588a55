"""Names of objects as people write them, the same in every version of PostgreSQL."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


def label(*parts: str | None) -> str:
    """A dotted name, each part quoted where it isn't plain.

    Not for statements: a keyword stays bare, as the list of keywords differs from version to version.

    :param parts: schema, relation, name; a None is left out.
    """
    return ".".join(_part(part) for part in parts if part is not None)


def _part(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
