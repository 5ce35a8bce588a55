"""The restored server's configuration: all of it ours.

The backup's postgresql.conf, postgresql.auto.conf, pg_hba.conf and pg_ident.conf are never obeyed. What recovery has to
match comes from pg_control, which production itself wrote (PostgreSQL manual, *Hot Standby: Administrator's Overview*).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.command import run
from airflow_dr_provider.postgresql.programs import Programs

PORT = 5432
SOCKET_DIRECTORY = "../run"
"""Relative to the data directory, so that neither a long path nor a namespace's other path matters."""

# Fetched segments lie beside the data directory. A segment that isn't there is exit code 1, which ends recovery in order; one
# that can't be copied (a full disk) is above 125, which PostgreSQL takes for a failure, not for the archive's end.
_RESTORE_COMMAND = 'test -f "../wal/%f" || exit 1; cp "../wal/%f" "%p" || exit 200'

_MATCHING = {
    # name of the setting: its line in pg_controldata, and what a server that only a drill uses needs at least
    "max_connections": ("max_connections setting", 50),
    "max_worker_processes": ("max_worker_processes setting", 8),
    "max_wal_senders": ("max_wal_senders setting", 0),
    "max_prepared_transactions": ("max_prepared_xacts setting", 0),
    "max_locks_per_transaction": ("max_locks_per_xact setting", 64),
}

ASSERTED = {
    "archive_mode": "off",
    "archive_library": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "listen_addresses": "",
    "max_logical_replication_workers": "0",
    "synchronous_standby_names": "",
}
"""What the live server has to say of itself before anybody uses it."""

REPORTED = (
    *ASSERTED,
    "archive_command",
    "data_checksums",
    "server_version",
    "server_version_num",
    "block_size",
    "wal_segment_size",
    "shared_preload_libraries",
    "restore_command",
    "fsync",
)
"""What :attr:`Recovery.settings <airflow_dr_provider.domain.reports.Recovery.settings>` keeps."""


async def control_data(programs: Programs, data: Path) -> dict[str, str]:
    """What ``pg_controldata`` says, by its own labels.

    :raises BackupError: ``SERVER_START_FAILED`` when the restored files have no control file that can be read.
    """
    done = await run((programs.path("pg_controldata"), "-D", str(data)), timeout=60)
    values = {label.strip(): value.strip() for label, _, value in (line.partition(":") for line in done.out.splitlines())}
    if done.code != 0 or "max_connections setting" not in values or "WARNING" in done.out + done.err:
        raise BackupError(
            f"The restored files have no control file that PostgreSQL {programs.version} can read: {done.last_words}",
            code="SERVER_START_FAILED",
        )
    return values


def server_settings(
    coordinate: RestoreCoordinate,
    control: Mapping[str, str],
    *,
    name: str,
    libraries: Iterable[str],
    posix_memory: bool,
    raised: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """Every setting of the server.

    :param control: from :func:`control_data`.
    :param libraries: what it may preload.
    :param posix_memory: whether /dev/shm is the sandbox's own; elsewhere dynamic shared memory is kept in files of the
        data directory, which go with it.
    :param raised: settings that production raised after the backup, as recovery found out.
    """
    major, target = coordinate.server_version, coordinate.target
    matching = {
        setting: str(max(int(control[label]), least, (raised or {}).get(setting, 0)))
        for setting, (label, least) in _MATCHING.items()
    }
    settings = {
        **matching,
        "cluster_name": name[:63],
        # Reached by nobody but us.
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": SOCKET_DIRECTORY,
        "unix_socket_permissions": "0700",
        "ssl": "off",
        "bonjour": "off",
        "password_encryption": "scram-sha-256",
        # Reaching nobody.
        "archive_mode": "off",
        "archive_command": "",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "synchronous_standby_names": "",
        "max_logical_replication_workers": "0",
        "archive_cleanup_command": "",
        "recovery_end_command": "",
        # Running nothing that came with the backup.
        "shared_preload_libraries": ",".join(libraries),
        "session_preload_libraries": "",
        "local_preload_libraries": "",
        # To the target, and no further until we have looked.
        "hot_standby": "on",
        "restore_command": _RESTORE_COMMAND,
        "recovery_target_lsn": str(target.lsn),
        "recovery_target_inclusive": "on" if target.inclusive else "off",
        "recovery_target_timeline": str(target.timeline),
        "recovery_target_action": "pause",
        "recovery_min_apply_delay": "0",
        "max_standby_archive_delay": "0",
        # A copy to throw away: it has to survive its own server's death, which the page cache does, not the machine's.
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "wal_level": "replica",
        "track_commit_timestamp": control.get("track_commit_timestamp setting", "off"),
        "max_replication_slots": "10",
        "restart_after_crash": "off",
        # Looked at as it came: nothing tidies up meanwhile.
        "autovacuum": "off",
        "autovacuum_freeze_max_age": "2000000000",
        "autovacuum_multixact_freeze_max_age": "2000000000",
        "checkpoint_timeout": "1h",
        "jit": "off",
        "shared_buffers": "128MB",
        "huge_pages": "off",
        "dynamic_shared_memory_type": "posix" if posix_memory else "mmap",
        # A log that can be read by a program, and that keeps no data: statements are not written.
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "lc_messages": "C",
        "log_min_messages": "warning",
        "log_min_error_statement": "panic",
        "log_statement": "none",
        "log_connections": "off",
        "log_checkpoints": "off",
    }
    # Neither may be less than two segments; the defaults are for small ones (postgres, "WAL Configuration").
    twice = 2 * coordinate.segment_size >> 20
    settings |= {"min_wal_size": f"{max(80, twice)}MB", "max_wal_size": f"{max(1024, twice)}MB"}
    if major >= 13:
        # What was replayed last stays readable for the check of the target, also where it ended with a segment.
        settings["wal_keep_size"] = f"{twice}MB"
    if major >= 15:
        settings["archive_library"] = ""
    if major >= 17:
        settings |= {"event_triggers": "off", "sync_replication_slots": "off", "summarize_wal": "off"}
    return settings


SAFE_PATH = "pg_catalog,public"
"""A superuser's ``search_path``: built-in names first, extensions of ours among them, whatever a database sets for itself."""


OUR_SETTINGS = {
    "search_path": SAFE_PATH,
    "default_transaction_read_only": "off",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
}
"""What a superuser's session of ours is told beside that: a client reads times in one form only."""


def session_settings(major: int) -> dict[str, str]:
    """What every session of ours is told, since a restored ``ALTER DATABASE … SET`` would tell it otherwise.

    They keep a session from loading libraries and from running what was left for whoever logs in, from being cut short, from
    passing over damage, from being somebody else, and from an isolation that no standby can give. What only changes the look of
    an answer (``datestyle``) stays as restored for smoke tests, and so does ``search_path``, since they are written against it;
    for a superuser see :data:`OUR_SETTINGS`.
    """
    settings = {
        "session_preload_libraries": "",
        "local_preload_libraries": "",
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "zero_damaged_pages": "off",
        "ignore_checksum_failure": "off",
        "session_replication_role": "origin",
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        "role": "none",
    }
    if major >= 14:
        settings["idle_session_timeout"] = "0"
    if major >= 17:
        settings |= {"event_triggers": "off", "transaction_timeout": "0"}
    return settings


def session_options(major: int) -> str:
    """:func:`session_settings` as libpq's ``options``: it outranks what is kept for a role or a database."""
    told = {**session_settings(major), **OUR_SETTINGS}
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in told.items())


def rendered(settings: Mapping[str, str]) -> str:
    """The text of a postgresql.conf.

    :raises ValueError: for a value that one line can't hold.
    """
    lines = []
    for name, value in settings.items():
        if any(character in value for character in "\n\r\0"):
            raise ValueError(f"{name}: a line break in a setting")
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{quoted}'\n")
    return "".join(lines)


_SETTING = re.compile(r"^\s*(\w+)(?:\s*=\s*|\s+)('(?:[^'\\]|''|\\.)*'|[^\s#]+)", re.ASCII)


def wanted_libraries(data: Path, allowed: Iterable[str]) -> tuple[str, ...]:
    """Of the libraries that the backup's configuration preloads, those that the sandbox allows.

    Where the configuration wasn't part of the backup (Debian keeps it in /etc), nobody can say what production
    preloads, and all that are allowed are loaded: a person named them.
    """
    allowed = tuple(allowed)
    value: str | None = None
    present = False
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        path = data / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 22:
            continue
        present = present or name == "postgresql.conf"
        for line in path.read_text("utf-8", "replace").splitlines():
            match = _SETTING.match(line)
            if match and match[1].lower() == "shared_preload_libraries":
                value = match[2]
    if not present and value is None:
        return allowed
    text = value or ""
    if text.startswith("'"):
        text = re.sub(r"''|\\'", "'", text[1:-1])
    wanted = {word.strip().strip('"').removesuffix(".so").removeprefix("$libdir/") for word in text.split(",")}
    return tuple(name for name in allowed if name in wanted)
