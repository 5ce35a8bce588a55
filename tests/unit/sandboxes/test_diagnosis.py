"""A server's last words, and the failure that they mean. The logs are real ones, shortened."""

from __future__ import annotations

import pytest

from airflow_dr_provider.sandboxes.diagnosis import failure, obstacle

START = "2026-11-23 00:53:52.897 UTC [1] LOG:  starting PostgreSQL 18.6\n"
EARLY = (
    START
    + '2026-11-23 00:53:52.928 UTC [48] LOG:  restored log file "000000010000000000000003" from archive\n'
    + "2026-11-23 00:53:52.930 UTC [51] FATAL:  the database system is starting up\n"
    + "{clue}"
    + "2026-11-23 00:53:52.948 UTC [48] FATAL:  recovery ended before configured recovery target was reached\n"
    + "2026-11-23 00:53:52.948 UTC [1] LOG:  startup process (PID 48) exited with exit code 1\n"
)


def fatal(text: str) -> str:
    return f"{START}2026-11-23 00:53:52.948 UTC [48] FATAL:  {text}\n"


@pytest.mark.parametrize(
    ("log", "code", "words"),
    [
        (EARLY.format(clue=""), "RECOVERY_ENDED_EARLY", "the segment after segment 000000010000000000000003 is not there"),
        (
            EARLY.format(clue="2026-11-23 00:53:52.9 UTC [48] LOG:  invalid record length at 0/5000028: wanted 24, got 0\n"),
            "RECOVERY_ENDED_EARLY",
            "invalid record length at 0/5000028",
        ),
        (fatal("requested timeline 7 is not a child of this server's history"), "TIMELINE_MISMATCH", "timeline 7"),
        (fatal("recovery target timeline 7 does not exist"), "TIMELINE_MISMATCH", "timeline 7"),
        (fatal("requested recovery stop point is before consistent recovery point"), "SERVER_START_FAILED", "an older backup"),
        (fatal("could not locate required checkpoint record at 0/12000080"), "BACKUP_WAL_MISSING", "0/12000080"),
        (fatal('could not write to file "pg_wal/x": No space left on device'), "DISK_FULL", "filled up"),
        (fatal('could not restore file "x" from archive: child process exited with exit code 200'), "DISK_FULL", "filled up"),
        (fatal("could not map anonymous shared memory: Cannot allocate memory"), "SANDBOX_FAILED", "machine"),
        (fatal('could not access file "nowhere": No such file or directory'), "SERVER_START_FAILED", "refuses"),
        (fatal("database files are incompatible with server"), "SERVER_START_FAILED", "refuses"),
        (START, "SERVER_DIED", "ended from outside"),
        (
            START + "2026-11-23 00:53:52.9 UTC [1] LOG:  startup process (PID 48) was terminated by signal 9: Killed\n",
            "SERVER_DIED",
            "signal 9",
        ),
        (START + "2026-11-23 00:53:52.9 UTC [51] FATAL:  the database system is starting up\n", "SERVER_DIED", "outside"),
        ("mount: /x: permission denied.\n", "SANDBOX_FAILED", "permission denied"),
        ("", "SANDBOX_FAILED", "none"),
    ],
)
def test_each_end_has_its_name(log: str, code: str, words: str) -> None:
    error = failure(log, target="0/6000000")
    assert error.code == code
    assert words in error.message


def test_obstacles_that_another_start_gets_over() -> None:
    raised = obstacle(
        START
        + "2026-11-23 00:53:52.9 UTC [48] WARNING:  hot standby is not possible because of insufficient parameter settings\n"
        + "2026-11-23 00:53:52.9 UTC [48] DETAIL:  max_connections = 100 is a lower setting than on the primary server, where its "
        + "value was 333.\n"
    )
    assert raised is not None
    assert raised.raised == {"max_connections": 333}
    made = obstacle(
        fatal('directory "/mnt/fast disk" does not exist')
        + '2026-11-23 00:53:52.9 UTC [48] CONTEXT:  WAL redo at 0/3000 for Tablespace/CREATE: 16401 "/mnt/fast disk"\n'
    )
    assert made is not None
    assert made.location == "/mnt/fast disk"
    assert obstacle(fatal('directory "/mnt/fast disk" does not exist')) is None
    assert obstacle(START) is None
