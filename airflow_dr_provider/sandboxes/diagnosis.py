"""What a server's log says about why it stopped: one failure each, put in words and in its place.

The log is in English (``lc_messages`` is ours) and begins anew with each start, so its own sentences can be told apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from airflow_dr_provider.errors import ArchiveError, BackupError, DrillError, SandboxError

STOPPED_AT_TARGET = re.compile(r'recovery stopping (?:before|after) WAL location \(LSN\) "([0-9A-F]+/[0-9A-F]+)"')
_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ UTC \[\d+\] ([A-Z]+): +(.*)$")
_RESTORED = re.compile(r'restored log file "([0-9A-F]+)" from archive')
_RAISED = re.compile(r"(max_\w+) = \d+ is a lower setting than on the primary server, where its value was (\d+)")
_LOCATION = re.compile(r'directory "(/[^\n]*)" does not exist')
_REDO_OF_TABLESPACE = re.compile(r"WAL redo at \S+ for Tablespace/CREATE")
# What the server tells those who come too early, or as somebody who isn't there: answers to us, no failures.
_ANSWERS = re.compile(
    r"the database system is |role \".*\" (?:does not exist|is not permitted to log in)|database \".*\" |"
    r"no pg_hba.conf entry|password authentication failed|terminating connection|canceling statement"
)
_CLUES = re.compile(
    r"invalid |incorrect |unexpected |could not |contrecord|there is no contrecord|WAL ends|record with |resource manager|"
    r"prev-link|zero-length"
)


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """Something that stopped recovery and that a start with other settings gets over.

    :param raised: settings that production raised after the backup.
    :param location: a place at which production made a tablespace after the backup.
    """

    raised: dict[str, int] = field(default_factory=dict)
    location: str | None = None


def obstacle(log: str) -> Obstacle | None:
    """What has to be changed for recovery to go on, None when nothing can be.

    :param log: since the server's last start.
    """
    raised = {name: int(value) for name, value in _RAISED.findall(log)}
    if raised:
        return Obstacle(raised=raised)
    location = _LOCATION.search(log)
    if location and _REDO_OF_TABLESPACE.search(log):
        return Obstacle(location=location[1])
    return None


def failure(log: str, *, target: str) -> DrillError:
    """The error for a server that ended before it was open.

    :param log: since its last start.
    :param target: the recovery target's LSN.
    """
    fatal = [text for level, text in _messages(log) if level in ("FATAL", "PANIC") and not _ANSWERS.search(text)]
    worst = fatal[-1] if fatal else ""
    facts: dict[str, Any] = {"fatal": fatal[-5:]}
    for pattern, make in _CAUSES:
        if any(re.search(pattern, text) for text in (*fatal, *_terminations(log))):
            return make(worst, log, target, facts)
    if worst:
        return _refused(worst, log, target, facts)
    if _messages(log):
        return SandboxError(
            f"The restored server was ended from outside before it was open. Its last words: {_last_words(log)}",
            code="SERVER_DIED",
            facts=facts,
        )
    return SandboxError(f"The restored server could not be started: {_last_words(log)}", code="SANDBOX_FAILED", facts=facts)


def _messages(log: str) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in map(_LINE.match, log.splitlines()) if match]


def _terminations(log: str) -> list[str]:
    return [text for _, text in _messages(log) if "was terminated by signal" in text]


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "none"


def _early(worst: str, log: str, target: str, facts: dict[str, Any]) -> DrillError:
    restored = _RESTORED.findall(log)
    clues = [text for level, text in _messages(log) if level in ("LOG", "WARNING") and _CLUES.search(text)]
    after = f" after segment {restored[-1]}" if restored else " before any segment of the archive"
    reason = f": {clues[-1]}" if clues else f"; the segment{after} is not there"
    return ArchiveError(
        f"Recovery ended{after}, before the target {target}{reason}. The WAL between the backup and the target is not whole.",
        code="RECOVERY_ENDED_EARLY",
        facts={**facts, "last_segment": restored[-1] if restored else None, "clues": clues[-5:]},
    )


def _timeline(worst: str, log: str, target: str, facts: dict[str, Any]) -> DrillError:
    return ArchiveError(
        f"The server could not follow the chosen timeline: {worst}. Choose a backup of that timeline's own history.",
        code="TIMELINE_MISMATCH",
        facts=facts,
    )


def _too_early(worst: str, log: str, target: str, facts: dict[str, Any]) -> DrillError:
    return BackupError(
        f"The target {target} lies before the point at which this backup is consistent; an older backup is needed.",
        code="SERVER_START_FAILED",
        facts=facts,
    )


def _no_checkpoint(worst: str, log: str, target: str, facts: dict[str, Any]) -> DrillError:
    return BackupError(f"WAL that the backup itself needs is not there: {worst}.", code="BACKUP_WAL_MISSING", facts=facts)


def _full(worst: str, log: str, target: str, facts: dict[str, Any]) -> DrillError:
    return SandboxError(f"The sandbox's disk filled up during recovery: {worst}.", code="DISK_FULL", facts=facts)


def _host(worst: str, log: str, target: str, facts: dict[str, Any]) -> DrillError:
    return SandboxError(f"The machine under the sandbox refused the server something: {worst}.", facts=facts)


def _killed(worst: str, log: str, target: str, facts: dict[str, Any]) -> DrillError:
    return SandboxError(
        f"The restored server was killed during recovery: {'; '.join(_terminations(log)) or worst}.",
        code="SERVER_DIED",
        facts=facts,
    )


def _refused(worst: str, log: str, target: str, facts: dict[str, Any]) -> DrillError:
    return BackupError(f"The server refuses the restored files: {worst}.", code="SERVER_START_FAILED", facts=facts)


_CAUSES = (
    (r"No space left on device|exit code 200", _full),
    (r"could not (?:map|create|resize|attach to) .*shared memory", _host),
    (r"Cannot allocate memory|Too many open files|out of memory", _host),
    (r"could not (?:create|bind|listen on) .*(?:Unix|socket)|could not create any|lock file", _host),
    (r"recovery ended before configured recovery target was reached", _early),
    (r"requested timeline|recovery target timeline|unexpected timeline", _timeline),
    (r"stop point is before consistent recovery point", _too_early),
    (r"could not locate (?:a valid|required) checkpoint record", _no_checkpoint),
    (r"WAL ends before (?:end of online backup|consistent)", _no_checkpoint),
    (r"was terminated by signal (?:9|15)\b", _killed),
)
