"""Tell people that the RTO is over and the run is not: Airflow's deadline alerts, where it has them.

A deadline ends nothing; the run goes on. 3.1 and 3.2 have callbacks that run in the triggerer only, 3.3 also some that the
executor runs. Made only for a spec that names ``RTO_PASSED``: in 3.3.2 ``dag.test()`` can't end a DAG that has a deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter

from airflow_dr_provider.evidence.message import late_message
from airflow_dr_provider.hooks.drill import DrillHook
from airflow_dr_provider.links.drill import record_url
from airflow_dr_provider.notifications.announce import tell
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.notifications import Channel

_LOG = logging.getLogger(__name__)
EVENT = "RTO_PASSED"
_CHANNELS: TypeAdapter[list[Channel]] = TypeAdapter(list[Channel])


def rto_deadline(spec: DrillSpec) -> dict[str, Any]:
    """The DAG's argument ``deadline``; empty when nobody wants to be told, or this Airflow has no deadlines."""
    channels = [channel for channel in spec.notifications if EVENT in channel.on]
    if not channels:
        return {}
    try:
        deadline: Any = import_module("airflow.sdk.definitions.deadline")
    except ImportError:
        return {}
    told = {
        "drill": spec.drill,
        "seconds": spec.objectives.rto.total_seconds(),
        # Text, for Airflow hashes what it finds in here.
        "channels": _CHANNELS.dump_json(channels).decode(),
    }
    made = getattr(deadline, "SyncCallback", None)
    callback = made(rto_passed, kwargs=told) if made else deadline.AsyncCallback(rto_passed_async, kwargs=told)
    queued = deadline.DeadlineReference.DAGRUN_QUEUED_AT
    return {"deadline": deadline.DeadlineAlert(reference=queued, interval=spec.objectives.rto, callback=callback)}


def rto_passed(*, drill: str, seconds: float, channels: str, context: Any = None, **_: Any) -> None:
    """What the executor calls. Never raises: a deadline that can't be told of must not look like a run that failed."""
    try:
        run = _field(context or {}, "dag_run") or {}
        dag_id = str(_field(run, "dag_id") or drill)
        run_id = str(_field(run, "dag_run_id") or _field(run, "run_id") or "")
        identifier = f"{dag_id}:{run_id}"
        message = late_message(drill, identifier, seconds=seconds, link=record_url(dag_id, run_id))
        with DrillHook().services() as services:
            tell(services, _CHANNELS.validate_json(channels), identifier, EVENT, message)
    except Exception:
        _LOG.exception("nobody could be told that the RTO of %s is over", drill)


async def rto_passed_async(**arguments: Any) -> None:
    """What the triggerer calls: the same, beside its loop."""
    await asyncio.to_thread(rto_passed, **arguments)


def _field(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
