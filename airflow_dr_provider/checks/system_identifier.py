"""Is the restored cluster the one that it should be?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from airflow_dr_provider.checks.answers import failed, passed, unknown
from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.checks.parallel import any_connection
from airflow_dr_provider.domain.verdicts import CheckResult


class SystemIdentifierCheck:
    """Asks the restored server for its system identifier and compares it with the reference's and the repository's.

    Proves that the copy descends from the same ``initdb`` as production and as the backup that was chosen: not a backup of
    another cluster under the right name. Can't prove that it is the right moment of that cluster (wal_replay,
    recovery_target), nor tell a cluster from a physical copy that somebody promoted and went on writing to: those share the
    identifier and differ in the timeline, which wal_replay compares.
    """

    name: ClassVar[str] = "system_identifier"
    default_timeout: ClassVar[float] = 30.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        """Compare with whoever knows."""
        async with await any_connection(context) as connection:
            row = await (await connection.execute("SELECT system_identifier FROM pg_catalog.pg_control_system()")).fetchone()
        if row is None or row[0] is None:
            return (unknown(self.name, "CHECK_BROKEN", "The restored server doesn't tell its system identifier."),)
        # The catalog's function gives a signed bigint; the identifier is unsigned.
        found = int(row[0]) % (1 << 64)
        expected = {
            "the repository": context.coordinate.system_identifier,
            "the reference": context.reference.system_identifier if context.reference is not None else None,
        }
        known = {who: identifier for who, identifier in expected.items() if identifier is not None}
        facts = {"system_identifier": str(found), "expected": {who: str(identifier) for who, identifier in known.items()}}
        wrong = [f"{who} says {identifier}" for who, identifier in known.items() if identifier != found]
        if wrong:
            detail = f"The restored cluster has the system identifier {found}, and {' and '.join(wrong)}."
            return (failed(self.name, "SYSTEM_MISMATCH", detail, facts=facts),)
        if not known:
            detail = f"The restored cluster has the system identifier {found}; neither repository nor reference names one."
            return (unknown(self.name, "NO_REFERENCE", detail, required=False, facts=facts),)
        detail = f"The restored cluster is {found}, as {' and '.join(known)} {'say' if len(known) > 1 else 'says'}."
        return (passed(self.name, detail, facts=facts),)
