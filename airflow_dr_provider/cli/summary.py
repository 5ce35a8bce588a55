"""A run, in lines for a person: live while it goes on, and at its end."""

from __future__ import annotations

from typing import Any

from airflow_dr_provider.domain.verdicts import Verdict
from airflow_dr_provider.stages.services import Progress

_MARKS = {Verdict.PASSED: "✓", Verdict.FAILED: "✗", Verdict.COULD_NOT_VERIFY: "?"}


def progress_line(event: Progress) -> str | None:
    """The line for one event; None for one that needs none."""
    if event.started:
        return None
    if event.result is None:
        return f"  → {event.message}"
    result = event.result
    mark = _MARKS[result.verdict]
    tries = f" (try {result.tries})" if result.tries > 1 else ""
    code = f"{result.signature}: " if result.signature else ""
    return f"  {mark} {event.place:<12} {result.stage.value:<10} {result.elapsed_seconds:7.2f} s{tries}  {code}{result.detail}"


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def summary_lines(record: dict[str, Any], *, record_place: str = "") -> list[str]:
    """The closing summary of a record."""
    lines = ["", f"  {record['outcome']}   drill {record['drill']}, run {record['run_id']}"]
    error = record.get("error")
    if error:
        lines.append(f"  why        {error['signature']}: {error['message']}")
    achieved, objectives = record.get("achieved"), record.get("objectives")
    if record.get("tier"):
        lines.append(f"  carried by tier {record['tier']}, backup {record['backup']}")
    target = record.get("target")
    if target:
        note = f" ({target['note']})" if target.get("note") else ""
        time = f", last commit {target['last_commit']}" if target.get("last_commit") else ""
        lines.append(f"  target     {target['lsn']} on timeline {target['timeline']}{time}{note}")
    if achieved and objectives and record.get("tier"):
        lines += _objectives(achieved, objectives)
    for attempt in record.get("attempts", []):
        if attempt["verdict"] != Verdict.PASSED.value:
            lines.append(
                f"  refused    {attempt['candidate'] or 'no backup'} on {attempt['tier']}: "
                f"{attempt['signature']}: {attempt['detail']}"
            )
    for injected in record.get("injected", []):
        lines.append(f"  INJECTED   {injected['fault']} on {injected['tier']}: {injected.get('detail', 'no report')}")
    lines += [f"  finding    {finding['subject']}: {finding['detail']}" for finding in record.get("findings", [])]
    if record.get("not_tried"):
        lines.append(f"  not tried  {', '.join(record['not_tried'])}, by request")
    for kept in record.get("kept", []):
        lines.append(
            f"  kept       {kept['name']} until {kept['until']}: socket {kept['address']}, port {kept['port']}, "
            f"credentials in {kept['credentials']}"
        )
    lines += [f"  LEFT OVER  {left}" for left in record.get("leftovers", [])]
    if record_place:
        lines.append(f"  record     {record_place}")
    return [*lines, ""]


def _objectives(achieved: dict[str, Any], objectives: dict[str, Any]) -> list[str]:
    rpo, rto = achieved["rpo_seconds"], achieved["rto_seconds"]
    source = f", by the {achieved['rpo_source'].replace('_', ' ')}" if achieved.get("rpo_source") else ""
    if rpo is None:
        first = f"  RPO        unknown: {achieved['rpo_reason']} (objective {duration(objectives['rpo_seconds'])})"
    else:
        met = "met" if rpo <= objectives["rpo_seconds"] else "MISSED"
        first = f"  RPO        {duration(rpo)} of {duration(objectives['rpo_seconds'])}: {met}{source}"
    met = "met" if rto <= objectives["rto_seconds"] else "MISSED"
    split = ", ".join(f"{name} {seconds:.2f}" for name, seconds in achieved["stages"].items())
    lines = [first, f"  RTO        {duration(rto)} of {duration(objectives['rto_seconds'])}: {met} ({split})"]
    # Records of earlier versions have none.
    reached = achieved.get("milestones") or {}
    if reached.get("accepts_connections_seconds") is not None:
        warm = f", warm after {duration(reached['warm_seconds'])}" if reached.get("warm_seconds") is not None else ""
        lines.append(f"  usable     accepts connections after {duration(reached['accepts_connections_seconds'])}{warm}")
    return lines
