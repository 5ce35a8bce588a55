"""The verification ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "dr_verified",
        sa.Column("repository", sa.String(length=500), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("stamp", sa.String(length=250), nullable=False),
        sa.Column("backup_id", sa.String(length=250), nullable=False),
        sa.Column("timeline", sa.BigInteger(), nullable=True),
        sa.Column("segment", sa.BigInteger(), nullable=True),
        sa.Column("checksum", sa.String(length=250), nullable=False),
        sa.Column("compared", sa.Boolean(), nullable=False),
        sa.Column("unfinished", sa.Boolean(), nullable=False),
        sa.Column("verified_at", sa.String(length=32), nullable=False),
        sa.Column("verified_by", sa.String(length=500), nullable=False),
        sa.Column("fault_code", sa.String(length=64), nullable=True),
        sa.Column("fault_detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("repository", "name", name=op.f("pk_dr_verified")),
    )
    op.create_index(op.f("ix_dr_verified_fault_code"), "dr_verified", ["fault_code"], unique=False)
    op.create_index(op.f("ix_dr_verified_verified_at"), "dr_verified", ["verified_at"], unique=False)


def downgrade() -> None:
    """Remove it."""
    op.drop_table("dr_verified")
