"""The databases of a restored server that a drill looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_dr_provider.domain.reports import SandboxHandle

if TYPE_CHECKING:
    from airflow_dr_provider.stages.context import AttemptContext


async def databases(context: AttemptContext, handle: SandboxHandle) -> tuple[str, ...]:
    """Those of the spec, else every one that takes connections."""
    if context.spec.databases:
        return tuple(context.spec.databases)
    async with await context.sandbox.connect(handle, "template1") as connection:
        rows = await connection.execute(
            "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"
        )
        return tuple(str(row[0]) for row in await rows.fetchall())
