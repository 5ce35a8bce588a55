"""Whom a drill tells of its outcome, and how. A spec names connections; what is secret is in those."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from airflow_dr_provider.spec.base import CONNECTION_ID, SpecPart, Text

Event = Literal[
    "RECOVERED", "RECOVERED_DEGRADED", "MANUAL_TRIAGE", "COULD_NOT_VERIFY", "CLEANUP_FAILED", "QUESTION", "RTO_PASSED"
]
"""What may be told: the four outcomes; that something was left behind; that a person is asked; that the RTO is over and the
run is not."""
ConnectionId = Annotated[str, StringConstraints(strict=True, pattern=CONNECTION_ID)]
_ARN = r"^arn:[a-z0-9-]+:sns:[a-z0-9-]*:[0-9]*:[A-Za-z0-9_.-]{1,256}$"
USUAL: tuple[Event, ...] = ("RECOVERED_DEGRADED", "MANUAL_TRIAGE", "COULD_NOT_VERIFY", "CLEANUP_FAILED", "QUESTION")


class _Channel(SpecPart):
    on: tuple[Event, ...] = Field(default=USUAL, min_length=1)
    """What is told. RECOVERED and RTO_PASSED only when they are named."""

    @field_validator("on")
    @classmethod
    def _once(cls, value: tuple[Event, ...]) -> tuple[Event, ...]:
        return tuple(dict.fromkeys(value))


class SlackChannel(_Channel):
    """A message in a Slack channel, by Slack's API."""

    kind: Literal["slack"]
    """The kind."""
    conn_id: ConnectionId = "slack_api_default"
    """A connection of the type slack."""
    channel: Text
    """The channel, like #dr."""

    @property
    def shown(self) -> str:
        """For the record."""
        return f"slack {self.channel} by {self.conn_id}"


class SlackWebhookChannel(_Channel):
    """A message by a Slack webhook, whose channel is the webhook's."""

    kind: Literal["slack_webhook"]
    """The kind."""
    conn_id: ConnectionId = "slack_default"
    """A connection of the type slackwebhook."""

    @property
    def shown(self) -> str:
        """For the record."""
        return f"slack_webhook by {self.conn_id}"


class EmailChannel(_Channel):
    """A message by SMTP."""

    kind: Literal["email"]
    """The kind."""
    conn_id: ConnectionId = "smtp_default"
    """A connection of the type smtp."""
    to: tuple[Annotated[str, StringConstraints(strict=True, pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$", max_length=254)], ...] = (
        Field(min_length=1, max_length=50)
    )
    """The addresses."""
    sender: Annotated[str, StringConstraints(strict=True, pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)] | None = None
    """The sender's address; the connection's when left out."""

    @property
    def shown(self) -> str:
        """For the record."""
        return f"email to {', '.join(self.to)} by {self.conn_id}"[:400]


class SnsChannel(_Channel):
    """A message to an Amazon SNS topic."""

    kind: Literal["sns"]
    """The kind."""
    conn_id: ConnectionId = "aws_default"
    """A connection of the type aws."""
    topic: Annotated[str, StringConstraints(strict=True, pattern=_ARN)]
    """The topic's ARN."""
    region: Text | None = None
    """Its region; the connection's when left out."""

    @property
    def shown(self) -> str:
        """For the record."""
        return f"sns {self.topic} by {self.conn_id}"[:400]


class PagerDutyChannel(_Channel):
    """An event to PagerDuty's Events API; one incident a run."""

    kind: Literal["pagerduty"]
    """The kind."""
    conn_id: ConnectionId = "pagerduty_events_default"
    """A connection of the type pagerduty_events."""

    @property
    def shown(self) -> str:
        """For the record."""
        return f"pagerduty by {self.conn_id}"


Channel = Annotated[
    SlackChannel | SlackWebhookChannel | EmailChannel | SnsChannel | PagerDutyChannel, Field(discriminator="kind")
]

PACKAGES = {
    "slack": "apache-airflow-providers-slack",
    "slack_webhook": "apache-airflow-providers-slack",
    "email": "apache-airflow-providers-smtp",
    "sns": "apache-airflow-providers-amazon",
    "pagerduty": "apache-airflow-providers-pagerduty",
}
"""The provider whose notifier each kind is sent by."""


def missing_packages(channels: tuple[Channel, ...]) -> tuple[str, ...]:
    """A sentence for each kind whose provider isn't installed.

    No rule of the format: without Airflow, where nobody is told of anything, the same spec has to work in a disaster.
    """
    told: dict[str, str] = {}
    for channel in channels:
        package = PACKAGES[channel.kind]
        try:
            distribution(package)
        except PackageNotFoundError:
            told[channel.kind] = f"notifications: kind {channel.kind} needs {package}, which isn't installed here. Install it."
    return tuple(told.values())
