"""Tell people of a run. Whatever goes wrong here changes nothing about the run; it is written down beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from airflow_dr_provider.evidence.message import Message, events_of, outcome_message
from airflow_dr_provider.notifications.channels import NotSentError, send
from airflow_dr_provider.spec.notifications import Channel
from airflow_dr_provider.stages.drill import Drill
from airflow_dr_provider.stages.services import Services
from airflow_dr_provider.state.people import Notice, People

_LOG = logging.getLogger("airflow.task.drill.notifications")


def announce(drill: Drill, record: dict[str, object], link: str) -> None:
    """Send what is to be told of a closed run, and what could not be sent before. Never raises."""
    try:
        for event in events_of(record):
            tell(drill.services, drill.spec.notifications, drill.run.id, event, outcome_message(record, event=event, link=link))
    except Exception:
        _LOG.exception("people could not be told of %s", drill.run.id)


def tell(services: Services, channels: Iterable[Channel], run_id: str, event: str, message: Message) -> tuple[Notice, ...]:
    """Send one message to every channel that wants it and hasn't got it, and write down what became of it.

    At least once: a process that is killed between sending and writing sends again.
    """
    people, told = People(services.store), []
    done = {(notice.event, notice.channel) for notice in people.notices(run_id) if notice.sent}
    for channel in channels:
        if event not in channel.on or (event, channel.shown) in done:
            continue
        sent, detail = True, ""
        try:
            send(channel, message)
        except NotSentError as error:
            sent, detail = False, str(error)
            # The cause goes to the log, where Airflow masks what it knows to be secret, and not to the store.
            _LOG.warning("%s: %s was not told: %s", event, channel.shown, error, exc_info=error)
        else:
            _LOG.info("%s: told %s", event, channel.shown)
        told.append(Notice(run_id=run_id, event=event, channel=channel.shown, sent=sent, detail=detail, at=services.clock()))
        people.note(told[-1])
    return tuple(told)
