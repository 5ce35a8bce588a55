"""A session for statements of the spec: read-only, time-limited, by a role that can neither write files nor run programs."""

from __future__ import annotations

from airflow_dr_provider.checks.parallel import Connection

_LOCK_TIMEOUT = "5s"

_POWERS = """
SELECT r.rolsuper OR EXISTS (
  SELECT FROM pg_catalog.pg_roles g
  WHERE (g.rolsuper OR g.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))
    AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER'))
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""
POWERFUL = "The sandbox's role for statements of the spec could write files or run programs, so nothing was run as it."


async def begin_powerless(connection: Connection, timeout_seconds: float) -> bool:
    """Begin a read-only transaction in which each statement may take that long.

    :return: False when the role turned out to have power: then nothing of the spec's may be run.
    """
    if not connection.autocommit:
        await connection.set_autocommit(True)
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    # This query takes the snapshot: from here on the transaction can't be made one that writes any more.
    await connection.execute(
        "SELECT pg_catalog.set_config('statement_timeout', %s, true), pg_catalog.set_config('lock_timeout', %s, true)",
        (str(max(1, int(timeout_seconds * 1000))), _LOCK_TIMEOUT),
    )
    powerful = await (await connection.execute(_POWERS)).fetchone()
    return powerful is not None and not powerful[0]
