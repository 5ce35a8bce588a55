"""What the catalog watch saw."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of scans."""
    op.create_table(
        "dr_scans",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("drill", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("conclusive", sa.Boolean(), nullable=False),
        sa.Column("repository", sa.String(length=500), nullable=True),
        sa.Column("restorable", sa.Text(), nullable=True),
        sa.Column("holes", sa.Text(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("memory", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("repeats", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dr_scans")),
    )
    op.create_index(op.f("ix_dr_scans_drill_at"), "dr_scans", ["drill", "at"], unique=False)


def downgrade() -> None:
    """Remove it."""
    op.drop_index(op.f("ix_dr_scans_drill_at"), table_name="dr_scans")
    op.drop_table("dr_scans")
