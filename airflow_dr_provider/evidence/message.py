"""A run, in the few lines that are sent to people. No secrets, since a record holds none; texts of people stay texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Message:
    """What is sent.

    :param severity: ``info``, ``warning``, ``error`` or ``critical``.
    :param key: the same for everything that is told of one run.
    """

    subject: str
    lines: tuple[str, ...]
    severity: str
    key: str
    link: str = ""

    @property
    def text(self) -> str:
        """As plain text."""
        return "\n".join((*self.lines, *((self.link,) if self.link else ())))


_SEVERITY = {"RECOVERED": "info", "RECOVERED_DEGRADED": "warning", "COULD_NOT_VERIFY": "error", "MANUAL_TRIAGE": "critical"}


def events_of(record: dict[str, Any]) -> tuple[str, ...]:
    """What is to be told of a closed run."""
    return (str(record["outcome"]), *(("CLEANUP_FAILED",) if record.get("leftovers") else ()))


def outcome_message(record: dict[str, Any], *, event: str, link: str) -> Message:
    """What a closed run amounts to: outcome, tier, backup, RPO and RTO against the objectives, signature."""
    drill = record["drill"]
    lines = [f"Drill {drill}, run {record['run_id']}: {record['outcome']} (exit code {record['exit_code']})."]
    lines += [str(reason) for reason in record.get("reasons", ())]
    error = record.get("error")
    if error:
        lines.append(f"{error['signature']}: {error['message']}")
    if record.get("tier"):
        lines.append(f"Carried by tier {record['tier']}, backup {record['backup']}.")
        lines += _objectives(record["achieved"], record["objectives"])
    failed = [attempt for attempt in record.get("attempts", ()) if attempt.get("signature")]
    lines += [f"{attempt['tier']}: {attempt['signature']}: {attempt['detail']}" for attempt in failed[:4]]
    answer = record.get("triage")
    if answer:
        lines.append(f"Triage: {answer['answer']}" + (f", {answer['by']}" if answer["by"] else ""))
    if record.get("injected"):
        lines.append("Faults were injected: this run proves nothing about a backup.")
    lines += [f"Left behind: {left}" for left in record.get("leftovers", ())]
    lines += [f"Kept until {kept['until']}, by request: {kept['name']}" for kept in record.get("kept", ())]
    severity = "error" if event == "CLEANUP_FAILED" else _SEVERITY.get(str(record["outcome"]), "error")
    word = "something was left behind" if event == "CLEANUP_FAILED" else record["outcome"]
    return Message(f"DR drill {drill}: {word}", tuple(lines), severity, str(record["run_id"]), link)


def question_message(drill: str, run_id: str, *, link: str) -> Message:
    """That a person is asked what to do."""
    lines = (f"Drill {drill}, run {run_id}: no tier recovered. The run waits for an answer.",)
    return Message(f"DR drill {drill}: what is to be done?", lines, "critical", run_id, link)


def late_message(drill: str, run_id: str, *, seconds: float, link: str) -> Message:
    """That the RTO is over and the run is not."""
    lines = (f"Drill {drill}, run {run_id}: {seconds / 60:g} min, the RTO, are over and the run isn't.",)
    return Message(f"DR drill {drill}: the RTO is over", lines, "error", run_id, link)


def _objectives(achieved: dict[str, Any], objectives: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("rpo", "rto"):
        got, wanted = achieved[f"{name}_seconds"], objectives[f"{name}_seconds"]
        if got is None:
            lines.append(f"{name.upper()} unknown, objective {wanted:g} s.")
        else:
            lines.append(f"{name.upper()} {got:.1f} s of {wanted:g} s: {'met' if got <= wanted else 'MISSED'}.")
    return lines
