"""The store's tables. What a table must never hold twice is a constraint, not a habit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from airflow_dr_provider.errors import StateError

LARGEST_JSON = 8 << 20
"""Bytes of one JSON column: a record of a long chain has some hundred thousand."""


class Json(sa.types.TypeDecorator[Any]):
    """JSON as canonical text, alike on every database."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Python to text."""
        if value is None:
            return None
        text = canonical(value)
        if len(text) > LARGEST_JSON:
            raise StateError(f"A value of {len(text)} bytes is too large for the state store; it takes {LARGEST_JSON}.")
        return text

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        """Text to Python."""
        return None if value is None else json.loads(value)


class Moment(sa.types.TypeDecorator[datetime]):
    """A time in UTC, aware on the way in and on the way out, kept as ISO 8601 text that sorts as time does."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        """Python to text."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without an offset can't be kept")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> datetime | None:
        """Text to Python."""
        return None if value is None else datetime.fromisoformat(value)


def canonical(value: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

runs = sa.Table(
    "dr_runs",
    metadata,
    sa.Column("id", sa.String(250), primary_key=True),
    sa.Column("drill", sa.String(64), nullable=False, index=True),
    sa.Column("spec_digest", sa.String(64), nullable=False),
    sa.Column("spec", Json, nullable=False),
    sa.Column("owner", Json, nullable=False),
    sa.Column("trigger", sa.String(250), nullable=False),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("as_of", Moment),
    sa.Column("closed_at", Moment),
    sa.Column("outcome", sa.String(32)),
    sa.Column("exit_code", sa.Integer),
    sa.Column("inputs", Json, nullable=False),
    sa.Column("record", Json),
    # Faults that the run was told to inject: with any, it is a drill of the drill and proves nothing.
    sa.Column("injected", Json, nullable=False, server_default="[]"),
    # What whoever triggered it asked for, and what a person answered when no tier recovered.
    sa.Column("request", Json, nullable=False, server_default="{}"),
    sa.Column("triage", Json),
    # Set while a run that must be alone is unfinished: the unique index then refuses a second one, whoever is faster.
    sa.Column("alone", sa.String(64), unique=True),
)

attempts = sa.Table(
    "dr_attempts",
    metadata,
    sa.Column("id", sa.String(260), primary_key=True),
    sa.Column("run_id", sa.ForeignKey("dr_runs.id"), nullable=False),
    sa.Column("rung", sa.Integer, nullable=False),
    sa.Column("tier", sa.String(64), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("candidate", sa.String(250)),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("closed_at", Moment),
    sa.UniqueConstraint("run_id", "rung"),
)

checkpoints = sa.Table(
    "dr_checkpoints",
    metadata,
    sa.Column("attempt_id", sa.ForeignKey("dr_attempts.id"), primary_key=True),
    sa.Column("stage", sa.String(32), primary_key=True),
    sa.Column("run_id", sa.ForeignKey("dr_runs.id"), nullable=False, index=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("ended_at", Moment, nullable=False),
    sa.Column("result", Json, nullable=False),
)

transitions = sa.Table(
    "dr_transitions",
    metadata,
    sa.Column("run_id", sa.ForeignKey("dr_runs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("source", sa.String(250), nullable=False),
    sa.Column("destination", sa.String(250), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("signature", sa.String(64)),
    sa.Column("attempt_id", sa.String(260)),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
)

resources = sa.Table(
    "dr_resources",
    metadata,
    sa.Column("name", sa.String(250), primary_key=True),
    sa.Column("run_id", sa.String(250), nullable=False, index=True),
    sa.Column("attempt_id", sa.String(260), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("handle", Json, nullable=False),
    sa.Column("settings", Json, nullable=False),
    sa.Column("workdir", sa.Text, nullable=False),
    sa.Column("intended_at", Moment, nullable=False),
    sa.Column("lease_until", Moment, nullable=False),
    sa.Column("created_at", Moment),
    sa.Column("released_at", Moment),
)

quarantine = sa.Table(
    "dr_quarantine",
    metadata,
    sa.Column("repository", sa.String(500), primary_key=True),
    sa.Column("backup_id", sa.String(250), primary_key=True),
    sa.Column("signature", sa.String(64), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("run_id", sa.String(250), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("lifted_at", Moment),
)

references = sa.Table(
    "dr_references",
    metadata,
    sa.Column("id", sa.String(250), primary_key=True),
    sa.Column("drill", sa.String(64), nullable=False),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("captured_at", Moment, nullable=False),
    sa.Column("run_id", sa.String(250)),
    sa.Column("reference", Json, nullable=False),
    sa.Index(None, "drill", "source", "captured_at"),
)

measurements = sa.Table(
    "dr_measurements",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.String(250), nullable=False, index=True),
    sa.Column("attempt_id", sa.String(260)),
    sa.Column("name", sa.String(128), nullable=False, index=True),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("unit", sa.String(16), nullable=False),
    sa.Column("at", Moment, nullable=False),
)

scans = sa.Table(
    "dr_scans",
    metadata,
    sa.Column("id", sa.String(120), primary_key=True),
    sa.Column("drill", sa.String(64), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("conclusive", sa.Boolean, nullable=False),
    sa.Column("repository", sa.String(500)),
    sa.Column("restorable", Json),
    sa.Column("holes", Json, nullable=False),
    sa.Column("findings", Json, nullable=False),
    sa.Column("notes", Json, nullable=False),
    sa.Column("memory", Json, nullable=False),
    # Of what was said: scans that say the same as those around them are not worth keeping for long.
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("repeats", sa.Boolean, nullable=False),
    sa.Index(None, "drill", "at"),
)

notices = sa.Table(
    "dr_notices",
    metadata,
    sa.Column("run_id", sa.String(250), primary_key=True),
    sa.Column("event", sa.String(32), primary_key=True),
    sa.Column("channel", sa.String(400), primary_key=True),
    sa.Column("sent", sa.Boolean, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

logs = sa.Table(
    "dr_logs",
    metadata,
    sa.Column("attempt_id", sa.String(260), primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

verified = sa.Table(
    "dr_verified",
    metadata,
    sa.Column("repository", sa.String(500), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("stamp", sa.String(250), nullable=False),
    sa.Column("backup_id", sa.String(250), nullable=False),
    sa.Column("timeline", sa.BigInteger),
    sa.Column("segment", sa.BigInteger),
    sa.Column("checksum", sa.String(250), nullable=False),
    sa.Column("compared", sa.Boolean, nullable=False),
    sa.Column("unfinished", sa.Boolean, nullable=False),
    # The repository is in no other index than the key's: a planner without statistics would look names up by that one.
    sa.Column("verified_at", Moment, nullable=False, index=True),
    sa.Column("verified_by", sa.String(500), nullable=False),
    sa.Column("fault_code", sa.String(64), index=True),
    sa.Column("fault_detail", sa.Text),
)
