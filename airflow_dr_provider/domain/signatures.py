"""Failure signatures: one stable code for each way in which a drill can fail, on three axes.

Quarantine, routing and history key on the code; people read the sentence. A code is never renamed or reused.
"""

from __future__ import annotations

from enum import StrEnum

from airflow_dr_provider.domain.value import Value


class Recoverability(StrEnum):
    """What another try can do about it."""

    SELF_HEALING = "self_healing"
    MANUAL = "manual"
    FATAL = "fatal"


class Severity(StrEnum):
    """How much it matters to somebody who needs this backup."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Domain(StrEnum):
    """Where the cause lies, and so what has to be changed for the next attempt."""

    BACKUP = "backup"
    """This backup: its files are damaged or incomplete. Another backup may serve."""
    ARCHIVE = "archive"
    """The WAL archive: a hole or a damaged segment. A backup taken after it may serve."""
    TARGET = "target"
    """The recovery target: nothing reaches it, whichever backup is taken."""
    OBJECTIVE = "objective"
    """Recovery worked and came too late or lost too much."""
    DATA = "data"
    """The restored data is not what it should be."""
    ENVIRONMENT = "environment"
    """The sandbox or its host. The same backup may pass elsewhere."""
    CONFIGURATION = "configuration"
    """The spec, a connection, a missing program: a person has to change something."""


class Signature(Value):
    """One way to fail."""

    code: str
    recoverability: Recoverability
    severity: Severity
    domain: Domain
    meaning: str


_SELF, _MANUAL, _FATAL = Recoverability.SELF_HEALING, Recoverability.MANUAL, Recoverability.FATAL
_LOW, _MEDIUM, _HIGH, _CRITICAL = Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL

_TABLE: tuple[tuple[str, Recoverability, Severity, Domain, str], ...] = (
    # The backup.
    ("BACKUP_CHECKSUM_MISMATCH", _FATAL, _CRITICAL, Domain.BACKUP, "a file's bytes are not those its manifest promises"),
    ("BACKUP_FILE_MISSING", _FATAL, _CRITICAL, Domain.BACKUP, "a file that the manifest lists is not there"),
    ("BACKUP_FILE_EXTRA", _FATAL, _HIGH, Domain.BACKUP, "a file lies in the backup that its manifest doesn't list"),
    ("BACKUP_FILE_SIZE", _FATAL, _CRITICAL, Domain.BACKUP, "a file is longer or shorter than its manifest says"),
    ("BACKUP_MANIFEST_DAMAGED", _FATAL, _CRITICAL, Domain.BACKUP, "the manifest can't be read or fails its own checksum"),
    ("BACKUP_UNREADABLE", _FATAL, _CRITICAL, Domain.BACKUP, "the backup's container (tar, compression) can't be read"),
    ("BACKUP_WAL_MISSING", _FATAL, _CRITICAL, Domain.BACKUP, "WAL that the backup needs to become consistent is nowhere"),
    ("BACKUP_COMBINE_FAILED", _FATAL, _CRITICAL, Domain.BACKUP, "the incremental chain can't be combined"),
    ("SERVER_START_FAILED", _FATAL, _CRITICAL, Domain.BACKUP, "the server refuses to start on the restored files"),
    ("DATA_CORRUPT", _FATAL, _CRITICAL, Domain.BACKUP, "a heap or an index of the restored server is corrupt"),
    ("SYSTEM_MISMATCH", _FATAL, _CRITICAL, Domain.BACKUP, "the restored cluster is another one than it should be"),
    ("PAGE_CHECKSUM_MISMATCH", _FATAL, _CRITICAL, Domain.BACKUP, "a page of the restored server fails its own checksum"),
    ("DATABASE_UNUSABLE", _FATAL, _CRITICAL, Domain.BACKUP, "a database of the restored server can't be opened"),
    # The archive.
    ("WAL_SEGMENT_DAMAGED", _FATAL, _CRITICAL, Domain.ARCHIVE, "a WAL segment on the way to the target can't be decoded"),
    ("WAL_HOLE", _FATAL, _CRITICAL, Domain.ARCHIVE, "a WAL segment on the way to the target is missing"),
    ("RECOVERY_ENDED_EARLY", _FATAL, _CRITICAL, Domain.ARCHIVE, "recovery stopped before the recovery target"),
    ("RECOVERY_OVERRAN", _FATAL, _CRITICAL, Domain.ARCHIVE, "what came after the recovery target is in the restored copy"),
    ("TIMELINE_MISMATCH", _FATAL, _CRITICAL, Domain.ARCHIVE, "the server followed another timeline than the chosen one"),
    # The target and the choice.
    ("TARGET_UNREACHABLE", _MANUAL, _HIGH, Domain.TARGET, "no backup and WAL in the repository reach the recovery target"),
    ("TARGET_IN_FUTURE", _MANUAL, _MEDIUM, Domain.TARGET, "the recovery target lies in the future"),
    ("NO_CANDIDATE", _MANUAL, _CRITICAL, Domain.TARGET, "no backup is eligible for this tier"),
    ("RPO_EXCEEDED", _FATAL, _HIGH, Domain.OBJECTIVE, "more data would be lost than the RPO allows"),
    ("BUDGET_EXHAUSTED", _FATAL, _HIGH, Domain.OBJECTIVE, "what is left of the tolerable downtime is too short for the tier"),
    ("RTO_EXCEEDED", _MANUAL, _MEDIUM, Domain.OBJECTIVE, "recovery took longer than the RTO allows"),
    # What the watch finds before anybody needs the backup.
    ("NOT_RESTORABLE", _MANUAL, _CRITICAL, Domain.TARGET, "no backup of the repository can be used as it is now"),
    ("WAL_LOST", _MANUAL, _CRITICAL, Domain.ARCHIVE, "WAL that was the archive's end at an earlier scan is gone"),
    ("ARCHIVE_STALLED", _MANUAL, _CRITICAL, Domain.ARCHIVE, "production lives, and no WAL came for longer than the RPO allows"),
    ("BACKUP_SPOILED", _FATAL, _HIGH, Domain.BACKUP, "a backup that was sound at an earlier scan is not any more"),
    ("BACKUP_OVERDUE", _MANUAL, _MEDIUM, Domain.CONFIGURATION, "no backup was taken for so long that the lookback runs out"),
    ("DRILL_MISSED", _MANUAL, _HIGH, Domain.CONFIGURATION, "the drill's time came and no run was begun"),
    ("DRILL_STUCK", _MANUAL, _MEDIUM, Domain.CONFIGURATION, "a run of the drill was begun and never closed"),
    ("DRILL_UNPROVED", _MANUAL, _HIGH, Domain.OBJECTIVE, "no run has proved a recovery for several of the drill's times"),
    # The data.
    ("SCHEMA_DRIFT", _FATAL, _HIGH, Domain.DATA, "the restored schema differs from the reference"),
    ("INDEX_MISSING", _FATAL, _HIGH, Domain.DATA, "an index of the reference is not in the restored database"),
    ("INDEX_INVALID", _FATAL, _HIGH, Domain.DATA, "an index of the restored database is not valid"),
    ("INDEX_DRIFT", _FATAL, _MEDIUM, Domain.DATA, "an index is defined otherwise than in the reference"),
    ("ROW_COUNT_DROPPED", _FATAL, _HIGH, Domain.DATA, "a table holds far fewer rows than the reference"),
    ("DATA_STALE", _FATAL, _HIGH, Domain.DATA, "the newest heartbeat is older than the recovered point allows"),
    ("EXTENSION_MISSING", _FATAL, _HIGH, Domain.DATA, "an extension of the reference is not in the restored database"),
    ("EXTENSION_DRIFT", _FATAL, _MEDIUM, Domain.DATA, "an extension has another version than in the reference"),
    ("ROLE_MISSING", _FATAL, _HIGH, Domain.DATA, "a role of the reference is not in the restored cluster"),
    ("ROLE_DRIFT", _FATAL, _HIGH, Domain.DATA, "a role's rights, memberships or settings differ from the reference"),
    ("SEQUENCE_BEHIND", _FATAL, _HIGH, Domain.DATA, "a sequence stands behind the column that it numbers"),
    ("MATVIEW_UNPOPULATED", _FATAL, _MEDIUM, Domain.DATA, "a materialised view of the restored database holds nothing"),
    ("FOREIGN_KEY_ORPHANS", _FATAL, _HIGH, Domain.DATA, "rows refer to rows that are not in the restored database"),
    ("SMOKE_FAILED", _FATAL, _HIGH, Domain.DATA, "a smoke test of the spec did not answer true"),
    ("SMOKE_ERROR", _MANUAL, _MEDIUM, Domain.CONFIGURATION, "a smoke test of the spec could not be run"),
    ("CUSTOM_CHECK_FAILED", _FATAL, _HIGH, Domain.DATA, "a check of your own failed"),
    ("WRITE_FAILED", _FATAL, _HIGH, Domain.DATA, "the restored server doesn't take or keep writes"),
    ("QUERY_PLAN_DEGRADED", _FATAL, _MEDIUM, Domain.DATA, "a query reads a whole table where it used an index before"),
    ("QUERY_SLOW", _MANUAL, _MEDIUM, Domain.ENVIRONMENT, "a query takes far longer than in earlier good runs"),
    ("QUERY_ERROR", _MANUAL, _MEDIUM, Domain.CONFIGURATION, "a query of the spec could not be run"),
    ("NO_REFERENCE", _MANUAL, _LOW, Domain.CONFIGURATION, "there is no reference to compare with yet"),
    ("NO_PAGE_CHECKSUMS", _MANUAL, _LOW, Domain.CONFIGURATION, "the cluster was made without page checksums"),
    ("NO_DATA_CHECK", _MANUAL, _HIGH, Domain.CONFIGURATION, "no check that looks at data could run"),
    # The environment.
    ("DISK_LOW", _FATAL, _HIGH, Domain.ENVIRONMENT, "the sandbox's disk has less room left than the limit"),
    ("MEMORY_LOW", _FATAL, _HIGH, Domain.ENVIRONMENT, "the machine has less memory left than the limit"),
    ("STAGE_TIMEOUT", _FATAL, _HIGH, Domain.ENVIRONMENT, "the tier's time was over before the stage was"),
    ("CHECK_TIMEOUT", _FATAL, _MEDIUM, Domain.ENVIRONMENT, "a check did not end within its time"),
    ("CHECK_BROKEN", _MANUAL, _MEDIUM, Domain.ENVIRONMENT, "a check raised an error of its own"),
    ("CHECK_NOT_RUN", _MANUAL, _LOW, Domain.ENVIRONMENT, "a check was left out because one that it needs did not pass"),
    ("DISK_FULL", _FATAL, _HIGH, Domain.ENVIRONMENT, "the sandbox's disk has no room for the restore"),
    ("SERVER_DIED", _SELF, _HIGH, Domain.ENVIRONMENT, "the restored server ended though nobody stopped it"),
    ("SERVER_UNREACHABLE", _SELF, _HIGH, Domain.ENVIRONMENT, "the restored server runs and doesn't answer"),
    ("SANDBOX_LOST", _SELF, _MEDIUM, Domain.ENVIRONMENT, "the sandbox that an earlier stage made is gone"),
    ("SANDBOX_FAILED", _SELF, _MEDIUM, Domain.ENVIRONMENT, "the sandbox could not be made"),
    ("REMOTE_THROTTLED", _SELF, _LOW, Domain.ENVIRONMENT, "the sandbox's environment was asked too often"),
    ("REMOTE_UNREACHABLE", _SELF, _MEDIUM, Domain.ENVIRONMENT, "the sandbox's environment doesn't answer its calls"),
    ("REMOTE_FAILED", _FATAL, _HIGH, Domain.ENVIRONMENT, "the sandbox's environment gave up what it was asked to do"),
    ("ISOLATION_UNAVAILABLE", _FATAL, _HIGH, Domain.ENVIRONMENT, "this machine can't isolate the sandbox as required"),
    ("ISOLATION_BREACHED", _FATAL, _CRITICAL, Domain.ENVIRONMENT, "a probe from inside the sandbox got out"),
    ("ARCHIVING_ON", _FATAL, _CRITICAL, Domain.ENVIRONMENT, "the restored server could archive or replicate"),
    (
        "DEPENDENCY_REACHABLE",
        _FATAL,
        _CRITICAL,
        Domain.ENVIRONMENT,
        "the restored copy can act on another system of production",
    ),
    ("SIDE_EFFECTS_ARMED", _FATAL, _CRITICAL, Domain.ENVIRONMENT, "jobs of production would run in the restored copy"),
    ("EXTENSION_UNAVAILABLE", _FATAL, _MEDIUM, Domain.ENVIRONMENT, "the sandbox's PostgreSQL lacks an extension's files"),
    ("COLLATION_DIFFERS", _FATAL, _MEDIUM, Domain.ENVIRONMENT, "the sandbox's libraries sort text by another version's rules"),
    ("CLEANUP_FAILED", _SELF, _HIGH, Domain.ENVIRONMENT, "something that the drill made is still there"),
    ("LEASE_EXPIRED", _FATAL, _MEDIUM, Domain.ENVIRONMENT, "the sandbox's lease ran out while it was in use"),
    # Configuration and the drill itself.
    ("SPEC_INVALID", _MANUAL, _MEDIUM, Domain.CONFIGURATION, "the spec can't be used"),
    ("REPOSITORY_UNREACHABLE", _MANUAL, _CRITICAL, Domain.CONFIGURATION, "the backup repository can't be read"),
    ("REPOSITORY_EMPTY", _MANUAL, _CRITICAL, Domain.CONFIGURATION, "the repository holds no backup"),
    ("ARCHIVE_MISSING", _MANUAL, _CRITICAL, Domain.CONFIGURATION, "the WAL archive is not there"),
    ("PROGRAMS_NOT_FOUND", _FATAL, _HIGH, Domain.CONFIGURATION, "no PostgreSQL of the backup's major version is installed"),
    ("SETUP_INCOMPLETE", _MANUAL, _MEDIUM, Domain.CONFIGURATION, "Airflow's pools can't be read or made"),
    ("WORKDIR_UNUSABLE", _MANUAL, _HIGH, Domain.CONFIGURATION, "sandboxes can't be made in the work folder"),
    ("WRONG_HOST", _MANUAL, _HIGH, Domain.CONFIGURATION, "a task ran on another host than the one that holds the sandbox"),
    ("PRODUCTION_UNREACHABLE", _MANUAL, _HIGH, Domain.CONFIGURATION, "no reference: production doesn't answer, none is kept"),
    ("CONNECTION_UNKNOWN", _MANUAL, _MEDIUM, Domain.CONFIGURATION, "a connection that the spec names is not defined"),
    ("STATE_UNREACHABLE", _MANUAL, _HIGH, Domain.CONFIGURATION, "the state store can't be used"),
    ("STATE_INTERRUPTED", _SELF, _MEDIUM, Domain.CONFIGURATION, "the state store went away or was locked for too long"),
    ("ALREADY_RUNNING", _MANUAL, _LOW, Domain.CONFIGURATION, "another run of this drill is under way"),
    ("INJECTION_REFUSED", _MANUAL, _LOW, Domain.CONFIGURATION, "a fault that was to be injected could or must not be"),
    ("REQUEST_REFUSED", _MANUAL, _LOW, Domain.CONFIGURATION, "what was asked of a run can't be done, or must not be"),
    ("INTERRUPTED", _MANUAL, _LOW, Domain.CONFIGURATION, "a person or the system ended the run"),
    ("STAGE_BROKEN", _MANUAL, _HIGH, Domain.ENVIRONMENT, "a stage raised an error that nobody foresaw"),
)

SIGNATURES: dict[str, Signature] = {
    code: Signature(code=code, recoverability=recoverability, severity=severity, domain=domain, meaning=meaning)
    for code, recoverability, severity, domain, meaning in _TABLE
}


def signature(code: str) -> Signature:
    """The signature of a code.

    :raises KeyError: for a code that isn't registered: a programming error, never input.
    """
    return SIGNATURES[code]
