"""Which checks there are, and which of them a profile asks for."""

from __future__ import annotations

CHECK_NAMES = (
    "health",
    "checksum",
    "wal_replay",
    "archiving_off",
    "isolation",
    "schema_drift",
    "indexes",
    "row_counts",
    "freshness",
    "amcheck",
    "smoke",
    "query_plans",
    "synthetic_transaction",
)
"""In the order in which results are shown."""

PROFILES: dict[str, tuple[str, ...]] = {
    "full": CHECK_NAMES,
    "standard": tuple(name for name in CHECK_NAMES if name != "amcheck"),
    "light": ("health", "checksum", "wal_replay", "archiving_off", "isolation", "freshness", "smoke"),
}
"""``standard`` leaves out what reads every page; ``light`` what needs a reference, too."""
