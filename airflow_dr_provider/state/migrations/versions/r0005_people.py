"""What people asked of a run, what they answered, whom it told, and the ends of the sandboxes' logs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Earlier runs asked for nothing and were asked nothing."""
    op.add_column("dr_runs", sa.Column("request", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("dr_runs", sa.Column("triage", sa.Text()))
    op.create_table(
        "dr_notices",
        sa.Column("run_id", sa.String(250), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("channel", sa.String(400), nullable=False),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "event", "channel", name="pk_dr_notices"),
    )
    op.create_table(
        "dr_logs",
        sa.Column("attempt_id", sa.String(260), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_dr_logs"),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("dr_logs")
    op.drop_table("dr_notices")
    with op.batch_alter_table("dr_runs") as table:
        table.drop_column("triage")
        table.drop_column("request")
