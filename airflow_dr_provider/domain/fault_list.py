"""The list of faults that can be injected: when each strikes, and what a drill is expected to make of it."""

from __future__ import annotations

from enum import StrEnum

from airflow_dr_provider.domain.value import Value
from airflow_dr_provider.domain.verdicts import StageName


class Moment(StrEnum):
    """When a fault strikes."""

    BEFORE_PROVISION = "before the sandbox is made"
    BEFORE_RESTORE = "before files are restored"
    FILES_RESTORED = "when the files are restored and verified"
    WAL_FETCHED = "when the WAL is fetched and decoded"
    SERVER_OPEN = "when the server is open"
    IN_GATE = "while the checks run"
    BEFORE_TEARDOWN = "before the sandbox is removed"

    @property
    def stage(self) -> StageName:
        """The stage in which that is."""
        return _STAGES.get(self, StageName.RESTORE)


_STAGES = {
    Moment.BEFORE_PROVISION: StageName.PROVISION,
    Moment.IN_GATE: StageName.VALIDATE,
    Moment.BEFORE_TEARDOWN: StageName.TEARDOWN,
}


class Leads(StrEnum):
    """What the chain is expected to do after it."""

    ANOTHER_BACKUP = "goes on with another backup"
    SAME_BACKUP = "goes on with the same backup"
    NOTHING = "recovers all the same"


class Fault(Value):
    """One way to damage the drill's own copy.

    :param signatures: what a drill that notices ends the attempt with: one of these, by what the copy holds.
    :param found_by: the check that notices; empty when the restore itself does. A tier whose profile leaves it out doesn't.
    """

    name: str
    moment: Moment
    signatures: tuple[str, ...]
    leads: Leads
    found_by: str
    meaning: str


_CORRUPT = ("PAGE_CHECKSUM_MISMATCH", "DATA_CORRUPT", "ROW_COUNT_DROPPED")
_RECOVERY = ("RECOVERY_ENDED_EARLY", "BACKUP_WAL_MISSING")
_OTHER, _SAME = Leads.ANOTHER_BACKUP, Leads.SAME_BACKUP

_TABLE: tuple[tuple[str, Moment, tuple[str, ...], Leads, str, str], ...] = (
    ("provision_fails", Moment.BEFORE_PROVISION, ("WORKDIR_UNUSABLE",), _SAME, "",
     "something else lies where the sandbox is to be made"),
    ("disk_full", Moment.BEFORE_RESTORE, ("DISK_FULL",), _SAME, "",
     "the data directory is a memory disk that is smaller than the backup"),
    ("stage_hangs", Moment.BEFORE_RESTORE, ("STAGE_TIMEOUT",), _SAME, "",
     "the restore waits until the tier's time is over"),
    ("heap_bytes", Moment.SERVER_OPEN, _CORRUPT, _OTHER, "amcheck",
     "bytes in the middle of the largest table are overwritten"),
    ("heap_truncated", Moment.SERVER_OPEN, _CORRUPT, _OTHER, "row_counts or amcheck",
     "nine tenths of the largest table's pages are cut off"),
    ("file_removed", Moment.SERVER_OPEN, _CORRUPT, _OTHER, "amcheck",
     "the largest table's file is removed"),
    ("control_damaged", Moment.FILES_RESTORED, ("SERVER_START_FAILED",), _OTHER, "",
     "bytes of pg_control are overwritten"),
    ("wal_removed", Moment.WAL_FETCHED, _RECOVERY, _SAME, "",
     "the last fetched WAL segment is removed"),
    ("wal_damaged", Moment.WAL_FETCHED, _RECOVERY, _SAME, "",
     "a record in the last fetched WAL segment is overwritten"),
    ("index_dropped", Moment.SERVER_OPEN, ("INDEX_MISSING", "SCHEMA_DRIFT"), _OTHER, "indexes",
     "an index is dropped"),
    ("index_invalid", Moment.SERVER_OPEN, ("INDEX_INVALID",), _OTHER, "indexes",
     "an index is marked invalid"),
    ("table_dropped", Moment.SERVER_OPEN, ("SCHEMA_DRIFT",), _OTHER, "schema_drift",
     "the largest table is dropped"),
    ("constraint_dropped", Moment.SERVER_OPEN, ("SCHEMA_DRIFT",), _OTHER, "schema_drift",
     "a check or foreign key constraint is dropped"),
    ("column_type", Moment.SERVER_OPEN, ("SCHEMA_DRIFT",), _OTHER, "schema_drift",
     "a column is given the type text"),
    ("extension_dropped", Moment.SERVER_OPEN, ("EXTENSION_MISSING", "SCHEMA_DRIFT"), _OTHER, "extensions",
     "an extension is dropped"),
    ("sequence_back", Moment.SERVER_OPEN, ("SEQUENCE_BEHIND",), _OTHER, "sequences",
     "a sequence is set back behind the rows that it numbered"),
    ("rows_deleted", Moment.SERVER_OPEN, ("ROW_COUNT_DROPPED",), _OTHER, "row_counts",
     "the largest table is emptied"),
    ("heartbeat_old", Moment.SERVER_OPEN, ("RPO_EXCEEDED",), _SAME, "freshness",
     "the heartbeat is set back by a year"),
    ("archiving_on", Moment.SERVER_OPEN, ("ARCHIVING_ON",), _SAME, "archiving_off",
     "the server is restarted with archive_mode = on"),
    ("server_killed", Moment.IN_GATE, ("SERVER_DIED", "SANDBOX_LOST"), _SAME, "",
     "the server's first process is killed"),
    ("server_frozen", Moment.IN_GATE, ("SERVER_UNREACHABLE", "CHECK_TIMEOUT", "STAGE_TIMEOUT"), _SAME, "",
     "the server's first process is stopped, so that it answers nobody"),
    ("table_locked", Moment.IN_GATE, ("CHECK_TIMEOUT", "STAGE_TIMEOUT", "SMOKE_ERROR"), _SAME, "",
     "somebody holds the largest table locked"),
    ("teardown_fails", Moment.BEFORE_TEARDOWN, ("CLEANUP_FAILED",), Leads.NOTHING, "",
     "a process out of sight holds the server's lock"),
)  # fmt: skip

FAULTS: dict[str, Fault] = {
    name: Fault(name=name, moment=moment, signatures=signatures, leads=leads, found_by=found_by, meaning=meaning)
    for name, moment, signatures, leads, found_by, meaning in _TABLE
}
