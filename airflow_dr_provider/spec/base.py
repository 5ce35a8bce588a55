"""The base of every part of a spec, and the texts that parts are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints


class SpecPart(BaseModel):
    """A mapping of a spec: immutable, and closed, so that a typo is an error and not a wish ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True)


Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
"""A name that may become a file's or a task's."""
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=4096)]
Identifier = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$")]
"""A plain SQL name."""
QualifiedName = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?$")
]
"""``table`` or ``schema.table``."""
