"""Names that are derived, so that a retry in another process finds what an earlier try made."""

from __future__ import annotations

import hashlib


def sandbox_name(drill: str, run_id: str, rung: int) -> str:
    """The name of an attempt's sandbox: short enough for a socket's path, unique per run and rung."""
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:12]
    return f"{drill[:24]}-{digest}-{rung}"
