"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "dr_measurements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("attempt_id", sa.String(length=260), nullable=True),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dr_measurements")),
    )
    op.create_index(op.f("ix_dr_measurements_name"), "dr_measurements", ["name"], unique=False)
    op.create_index(op.f("ix_dr_measurements_run_id"), "dr_measurements", ["run_id"], unique=False)
    op.create_table(
        "dr_quarantine",
        sa.Column("repository", sa.String(length=500), nullable=False),
        sa.Column("backup_id", sa.String(length=250), nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("lifted_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("repository", "backup_id", name=op.f("pk_dr_quarantine")),
    )
    op.create_table(
        "dr_references",
        sa.Column("id", sa.String(length=250), nullable=False),
        sa.Column("drill", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("captured_at", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dr_references")),
    )
    op.create_index(
        op.f("ix_dr_references_drill_source_captured_at"), "dr_references", ["drill", "source", "captured_at"], unique=False
    )
    op.create_table(
        "dr_resources",
        sa.Column("name", sa.String(length=250), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("attempt_id", sa.String(length=260), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("workdir", sa.Text(), nullable=False),
        sa.Column("intended_at", sa.String(length=32), nullable=False),
        sa.Column("lease_until", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=True),
        sa.Column("released_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_dr_resources")),
    )
    op.create_index(op.f("ix_dr_resources_run_id"), "dr_resources", ["run_id"], unique=False)
    op.create_index(op.f("ix_dr_resources_state"), "dr_resources", ["state"], unique=False)
    op.create_table(
        "dr_runs",
        sa.Column("id", sa.String(length=250), nullable=False),
        sa.Column("drill", sa.String(length=64), nullable=False),
        sa.Column("spec_digest", sa.String(length=64), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("trigger", sa.String(length=250), nullable=False),
        sa.Column("opened_at", sa.String(length=32), nullable=False),
        sa.Column("as_of", sa.String(length=32), nullable=True),
        sa.Column("closed_at", sa.String(length=32), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=True),
        sa.Column("alone", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dr_runs")),
        sa.UniqueConstraint("alone", name=op.f("uq_dr_runs_alone")),
    )
    op.create_index(op.f("ix_dr_runs_drill"), "dr_runs", ["drill"], unique=False)
    op.create_table(
        "dr_attempts",
        sa.Column("id", sa.String(length=260), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("tier", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("candidate", sa.String(length=250), nullable=True),
        sa.Column("opened_at", sa.String(length=32), nullable=False),
        sa.Column("closed_at", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["dr_runs.id"], name=op.f("fk_dr_attempts_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dr_attempts")),
        sa.UniqueConstraint("run_id", "rung", name=op.f("uq_dr_attempts_run_id_rung")),
    )
    op.create_table(
        "dr_transitions",
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=250), nullable=False),
        sa.Column("destination", sa.String(length=250), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=True),
        sa.Column("attempt_id", sa.String(length=260), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["dr_runs.id"], name=op.f("fk_dr_transitions_run_id")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_dr_transitions")),
    )
    op.create_table(
        "dr_checkpoints",
        sa.Column("attempt_id", sa.String(length=260), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.String(length=32), nullable=False),
        sa.Column("ended_at", sa.String(length=32), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["dr_attempts.id"], name=op.f("fk_dr_checkpoints_attempt_id")),
        sa.ForeignKeyConstraint(["run_id"], ["dr_runs.id"], name=op.f("fk_dr_checkpoints_run_id")),
        sa.PrimaryKeyConstraint("attempt_id", "stage", name=op.f("pk_dr_checkpoints")),
    )
    op.create_index(op.f("ix_dr_checkpoints_run_id"), "dr_checkpoints", ["run_id"], unique=False)


def downgrade() -> None:
    """Remove every table."""
    op.drop_index(op.f("ix_dr_checkpoints_run_id"), table_name="dr_checkpoints")
    op.drop_table("dr_checkpoints")
    op.drop_table("dr_transitions")
    op.drop_table("dr_attempts")
    op.drop_index(op.f("ix_dr_runs_drill"), table_name="dr_runs")
    op.drop_table("dr_runs")
    op.drop_index(op.f("ix_dr_resources_state"), table_name="dr_resources")
    op.drop_index(op.f("ix_dr_resources_run_id"), table_name="dr_resources")
    op.drop_table("dr_resources")
    op.drop_index(op.f("ix_dr_references_drill_source_captured_at"), table_name="dr_references")
    op.drop_table("dr_references")
    op.drop_table("dr_quarantine")
    op.drop_index(op.f("ix_dr_measurements_run_id"), table_name="dr_measurements")
    op.drop_index(op.f("ix_dr_measurements_name"), table_name="dr_measurements")
    op.drop_table("dr_measurements")
