"""Send a message by the notifier of the provider that has one. Its package is imported when it is used, and not before.

A notifier is asked to notify directly: called as Airflow calls a callback, it would render the message as a template, and a
message holds texts that people wrote.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from typing import Any

from airflow_dr_provider.evidence.message import Message
from airflow_dr_provider.spec.notifications import (
    Channel,
    EmailChannel,
    PagerDutyChannel,
    SlackChannel,
    SlackWebhookChannel,
    SnsChannel,
)

LIMIT_SECONDS = 30.0
"""How long the other side may take: a task that can't tell somebody must end all the same."""


class NotSentError(RuntimeError):
    """A message that did not go out."""


def send(channel: Channel, message: Message, *, limit: float = LIMIT_SECONDS) -> None:
    """Send it, or give up in time.

    :raises NotSentError: saying why in words of our own: what the other side said may hold a webhook's address or a token.
    """
    failed: list[BaseException] = []

    def work() -> None:
        try:
            notifier(channel, message).notify({})
        except BaseException as error:
            failed.append(error)

    # A thread that nobody waits for: not every client has a time limit of its own.
    thread = threading.Thread(target=work, name=f"notify {channel.kind}", daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        raise NotSentError(f"no answer within {limit:g} s")
    if failed:
        raise NotSentError(f"{type(failed[0]).__name__}; the task's log says more") from failed[0]


def notifier(channel: Channel, message: Message) -> Any:
    """The provider's notifier for a channel, with a message in it."""
    return _MAKERS[channel.kind](channel, message)


def _slack(channel: SlackChannel, message: Message) -> Any:
    from airflow.providers.slack.notifications.slack import SlackNotifier

    return SlackNotifier(slack_conn_id=channel.conn_id, text=_slack_text(message), channel=channel.channel)


def _slack_webhook(channel: SlackWebhookChannel, message: Message) -> Any:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    return SlackWebhookNotifier(slack_webhook_conn_id=channel.conn_id, text=_slack_text(message), timeout=int(LIMIT_SECONDS))


def _slack_text(message: Message) -> str:
    """Slack's own escapes: without them ``<!channel>`` in somebody's reason would wake everybody."""
    text = f"{message.subject}\n{message.text}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _email(channel: EmailChannel, message: Message) -> Any:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    link = f'<p><a href="{html.escape(message.link)}">{html.escape(message.link)}</a></p>' if message.link else ""
    return SmtpNotifier(
        to=list(channel.to),
        from_email=channel.sender,
        subject=_line(message.subject),
        html_content="".join(f"<p>{html.escape(line)}</p>" for line in message.lines) + link,
        smtp_conn_id=channel.conn_id,
    )


def _sns(channel: SnsChannel, message: Message) -> Any:
    from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

    return SnsNotifier(
        aws_conn_id=channel.conn_id,
        target_arn=channel.topic,
        # A topic's subject is a line of ASCII, 99 characters at most (API reference, Publish).
        subject=_line(message.subject).encode("ascii", "replace").decode()[:99],
        message=message.text,
        region_name=channel.region,
    )


def _pagerduty(channel: PagerDutyChannel, message: Message) -> Any:
    from airflow.providers.pagerduty.notifications.pagerduty import PagerdutyNotifier

    return PagerdutyNotifier(
        summary=_line(message.subject)[:1000],
        severity=message.severity,
        source="airflow-dr",
        dedup_key=message.key[:255],
        custom_details={"message": message.text},
        links=[{"href": message.link, "text": "record"}] if message.link.startswith("http") else None,
        pagerduty_events_conn_id=channel.conn_id,
    )


def _line(text: str) -> str:
    return " ".join(text.split())


_MAKERS: dict[str, Callable[[Any, Message], Any]] = {
    "slack": _slack,
    "slack_webhook": _slack_webhook,
    "email": _email,
    "sns": _sns,
    "pagerduty": _pagerduty,
}
