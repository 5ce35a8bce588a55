"""Runs with injected faults are marked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the mark; earlier runs had none."""
    op.add_column("dr_runs", sa.Column("injected", sa.Text(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Remove it."""
    with op.batch_alter_table("dr_runs") as table:
        table.drop_column("injected")
