"""When fewer rows than in the reference are a loss."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from airflow_dr_provider.domain.reference import DatabaseReference, ObjectKind, TableRows


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One table with fewer rows than the reference says.

    :param failed: False for what production's own work explains: reported only.
    :param witness: the transaction whose committed row proves the loss, None where something else does.
    """

    database: str
    table: str
    expected: int
    found: int
    exact: bool
    failed: bool
    why: str
    witness: int | None = None

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        return f"{self.table} (database {self.database}) holds {self.found} rows instead of {about}{self.expected}: {self.why}"

    def as_fact(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


def judge(
    database: DatabaseReference,
    reference: TableRows,
    restored: TableRows,
    *,
    later: bool | None,
    restored_next: int | None,
    drop_percent: int,
) -> Finding | None:
    """Judge one table.

    Against live production (*later*) only an empty table can be a loss, and it is one for certain when production still holds a
    row that was written before the recovered point: rows don't come back. Where no row was looked at, the age of the table's
    catalog row has to do. Against an older reference the volume counts.

    :param later: whether the reference was taken after the recovered point; None when unknown, treated as an older one.
    :param restored_next: the first transaction id not yet given out at the recovered point.
    :param drop_percent: by how much a table may have shrunk.
    :return: None when the table holds as many rows or more, or enough of them.
    """
    if restored.rows >= reference.rows or not restored.exact:
        return None
    unlogged = reference.unlogged or restored.unlogged

    def finding(failed: bool, why: str, witness: int | None = None) -> Finding:
        return Finding(
            database=database.name,
            table=reference.name,
            expected=reference.rows,
            found=restored.rows,
            exact=reference.exact,
            failed=failed,
            why=why,
            witness=witness,
        )

    if unlogged:
        return finding(False, "it is unlogged, and so empty after any recovery")
    if later:
        if restored.rows > 0:
            return finding(False, "production may have added rows since")
        written = reference.oldest_row if reference.oldest_row is not None else _table_written(database, reference.name)
        if written is None or restored_next is None:
            return finding(False, "nothing tells whether it had rows at the recovered point")
        if written >= restored_next:
            return finding(False, "what production holds was written after the recovered point")
        return finding(
            True, "production holds rows from before the recovered point", written if reference.oldest_row is not None else None
        )
    lost_percent = 100 * (reference.rows - restored.rows) / reference.rows
    if restored.rows == 0 or lost_percent > drop_percent:
        return finding(True, f"{lost_percent:.0f} % fewer, and {drop_percent} % are allowed")
    return None


def _table_written(database: DatabaseReference, table: str) -> int | None:
    for item in database.objects:
        if item.kind is ObjectKind.TABLE and item.name == table:
            return max((xid for xid in (item.changed_by, item.definition_changed_by) if xid is not None), default=None)
    return None
