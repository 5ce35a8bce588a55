"""The base of every part of a spec, and the texts that parts are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, WithJsonSchema


class SpecPart(BaseModel):
    """A mapping of a spec: immutable, and closed, so that a typo is an error and not a wish ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True)


_NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_ACCOUNT = r"^[a-z_][a-z0-9_-]{0,31}$"
_LIBRARY = r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,62}$"
_IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$"
_QUALIFIED = r"^[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?$"
TOOL_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
SEGMENT_NAME = r"^[0-9A-F]{24}$"
_POOL = r"^[A-Za-z0-9_.-]{1,128}$"
CONNECTION_ID = r"^[A-Za-z0-9_.-]{1,250}$"

IN_WORDS: dict[str, str] = {
    _NAME: "a name: lower-case letters, digits, - and _, 63 at most, a letter or digit first",
    _ACCOUNT: "an account: lower-case letters, digits, - and _, 32 at most, no digit first",
    _LIBRARY: "a library's name: letters, digits and _ . + - without a folder",
    _IDENTIFIER: "a plain SQL name: letters, digits, _ and $, 63 at most, no digit first",
    _QUALIFIED: "table or schema.table, both plain SQL names",
    TOOL_NAME: "a name: letters, digits and _ . -, a letter, digit or _ first",
    SEGMENT_NAME: "a WAL segment's file name: 24 digits and capital letters A to F",
    _POOL: "a pool's name: letters, digits and _ . -",
    CONNECTION_ID: "a connection's id: letters, digits and _ . -",
}
"""What each pattern asks for, for messages."""

Name = Annotated[str, StringConstraints(strict=True, pattern=_NAME)]
"""A name that may become a file's or a task's."""
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=4096)]
AccountName = Annotated[str, StringConstraints(strict=True, pattern=_ACCOUNT)]
"""An account of the operating system."""
LibraryName = Annotated[str, StringConstraints(strict=True, pattern=_LIBRARY)]
"""A shared library as ``shared_preload_libraries`` names it, never with a folder."""
Identifier = Annotated[str, StringConstraints(strict=True, pattern=_IDENTIFIER)]
"""A plain SQL name."""
ToolName = Annotated[str, StringConstraints(strict=True, pattern=TOOL_NAME)]
"""What a backup tool calls a cluster; it becomes a word of a command and a part of a path."""
PoolName = Annotated[str, StringConstraints(strict=True, pattern=_POOL)]
"""An Airflow pool."""
SegmentName = Annotated[str, StringConstraints(strict=True, pattern=SEGMENT_NAME)]
"""A WAL segment's file name."""
QualifiedName = Annotated[str, StringConstraints(strict=True, pattern=_QUALIFIED)]
"""``table`` or ``schema.table``."""


def _path(value: Any) -> Any:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise ValueError("is no path; write one as text, in quotes if it looks like a number")
    if not value or not value.isprintable():
        raise ValueError("is no path; write a file or folder, relative to the spec's own folder or absolute")
    return Path(value)


FilePath = Annotated[
    Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "format": "path", "minLength": 1}, mode="validation")
]
"""A path; ``~`` and variables in it stand for themselves."""
