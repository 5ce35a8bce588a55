"""Alembic's environment: migrates on the connection, and in the transaction, that it is given."""

from __future__ import annotations

from alembic import context

from airflow_dr_provider.state.database import VERSION_TABLE
from airflow_dr_provider.state.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
