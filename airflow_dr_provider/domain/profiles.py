"""Which checks there are, and which of them a profile asks for."""

from __future__ import annotations

CHECK_NAMES = (
    "health",
    "checksum",
    "system_identifier",
    "wal_replay",
    "recovery_target",
    "archiving_off",
    "isolation",
    "dependencies",
    "side_effects",
    "schema_drift",
    "indexes",
    "extensions",
    "roles",
    "collations",
    "row_counts",
    "sequences",
    "materialized_views",
    "foreign_keys",
    "freshness",
    "page_checksums",
    "amcheck",
    "smoke",
    "query_plans",
    "synthetic_transaction",
)
"""In the order in which results are shown."""

PROFILES: dict[str, tuple[str, ...]] = {
    "full": CHECK_NAMES,
    "standard": tuple(name for name in CHECK_NAMES if name not in ("page_checksums", "amcheck")),
    "light": (
        "health",
        "checksum",
        "system_identifier",
        "wal_replay",
        "recovery_target",
        "archiving_off",
        "isolation",
        "dependencies",
        "side_effects",
        "freshness",
        "smoke",
    ),
}
"""``standard`` leaves out what reads every page; ``light`` what needs a reference, too."""
