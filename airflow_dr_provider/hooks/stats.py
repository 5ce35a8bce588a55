"""Metrics through Airflow's own statistics: StatsD, with tags or without, or OpenTelemetry, as ``[metrics]`` says."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from airflow.providers.common.compat.sdk import Stats, conf

from airflow_dr_provider.evidence.metrics import Metric, MetricKind

_log = logging.getLogger(__name__)
_TAGGING = ("statsd_datadog_enabled", "statsd_influxdb_enabled", "otel_on")
_STRANGE = re.compile(r"[^a-zA-Z0-9_-]+")


def emit(metrics: Iterable[Metric]) -> None:
    """Send values. What goes wrong on the way is a line in the log and never a drill's failure.

    Where tags are carried, a value's name is ``dr.<group>.<leaf>``. Plain StatsD drops them, so there drill and tags are parts of
    the name: ``dr.<drill>.<group>.<tag>….<leaf>``.
    """
    try:
        tagged = any(conf.getboolean("metrics", option, fallback=False) for option in _TAGGING)
        for metric in metrics:
            _send(metric, tagged=tagged)
    except Exception as error:
        _log.warning("no metrics were sent: %s: %s", type(error).__name__, error)


def name_of(metric: Metric, *, tagged: bool) -> str:
    """A metric's name: without its tags where they are carried, with them where they aren't."""
    if tagged:
        return f"dr.{metric.group}.{metric.leaf}"
    parts = (metric.drill, metric.group, *metric.tags.values(), metric.leaf)
    return "dr." + ".".join(_plain(part) for part in parts)


def _send(metric: Metric, *, tagged: bool) -> None:
    name = name_of(metric, tagged=tagged)
    tags = {"drill": metric.drill, **{key: _plain(value) for key, value in metric.tags.items()}} if tagged else None
    if metric.kind is MetricKind.COUNTER:
        Stats.incr(name, int(metric.value), tags=tags)
    elif metric.kind is MetricKind.GAUGE:
        Stats.gauge(name, metric.value, tags=tags)
    else:
        Stats.timing(name, metric.value * 1000.0, tags=tags)


def _plain(text: str) -> str:
    """A part of a name: dots would make levels of it, and commas and colons end it."""
    return _STRANGE.sub("_", text)
