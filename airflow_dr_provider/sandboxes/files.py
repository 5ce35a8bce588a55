"""Make restored files safe to start a server on: what they are told to do is taken out, and no link leads outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from airflow_dr_provider.errors import BackupError, SandboxError
from airflow_dr_provider.postgresql.account import Account
from airflow_dr_provider.sandboxes.place import Place

# Orders to a server (signals, triggers, settings), and the traces of production's own server.
_REMOVED = (
    "standby.signal",
    "recovery.signal",
    "recovery.conf",
    "promote",
    "fallback_promote",
    "logrotate",
    "postmaster.pid",
    "postmaster.opts",
    "postgresql.auto.conf",
    "tablespace_map",
)
# PostgreSQL manual, *Making a Base Backup*: slots of production must not come alive on a copy; the rest is rebuilt.
_EMPTIED = ("pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans")
_NEEDED = ("pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans", "pg_stat",
           "pg_tblspc", "pg_twophase", "pg_wal", "pg_wal/archive_status", "pg_commit_ts", "pg_logical")  # fmt: skip


def prepare(place: Place, account: Account, *, major: int) -> None:
    """Take the orders out of the restored files, and give them to the account.

    :raises BackupError: when they are no cluster of that version, or reach outside of the sandbox by a link.
    """
    data = place.data
    _recognise(data, major)
    _bind_tablespaces(place)
    for name in _REMOVED:
        _remove(data / name)
    for name in _EMPTIED:
        if (data / name).is_dir() and not (data / name).is_symlink():
            for entry in list((data / name).iterdir()):
                _remove(entry)
    for name in _NEEDED:
        (data / name).mkdir(mode=0o700, exist_ok=True)
    (data / "postgresql.auto.conf").touch(mode=0o600)
    (data / "recovery.signal").touch(mode=0o600)
    data.chmod(0o700)
    for part in (place.data, place.tablespaces, place.wal):
        _own(place, part, account)


def _recognise(data: Path, major: int) -> None:
    try:
        version = (data / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise SandboxError(
            f"There are no restored files in {data}: {error.strerror}. Restore them again.", code="SANDBOX_LOST"
        ) from error
    if version != str(major):
        raise BackupError(f"The restored files are PostgreSQL {version}'s, not {major}'s.", code="SERVER_START_FAILED")
    if not (data / "global" / "pg_control").is_file():
        raise BackupError("The restored files lack global/pg_control.", code="BACKUP_FILE_MISSING")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _bind_tablespaces(place: Place) -> None:
    """Make every tablespace's link relative, so that it holds inside the namespaces too, and see that it stays inside.

    ``tablespace_map`` would make PostgreSQL link production's own places again; it goes, once each of its entries is linked.
    """
    links = place.data / "pg_tblspc"
    if links.is_dir():
        for entry in list(links.iterdir()):
            if not entry.is_symlink():
                continue
            goal = Path(os.path.realpath(entry))
            if not any(goal.is_relative_to(os.path.realpath(part)) for part in (place.tablespaces, place.data)):
                raise BackupError(
                    f"Tablespace {entry.name} of the restored files lies at {goal}, outside of the sandbox. It has to be "
                    "restored into the sandbox.",
                    code="SERVER_START_FAILED",
                )
            entry.unlink()
            entry.symlink_to(os.path.relpath(goal, os.path.realpath(links)))
    table = place.data / "tablespace_map"
    if table.is_file() and not table.is_symlink():
        for line in table.read_text("utf-8", "surrogateescape").splitlines():
            oid = line.partition(" ")[0]
            if oid.isdigit() and not (links / oid).is_dir():
                raise BackupError(f"Tablespace {oid} of the backup was not restored.", code="BACKUP_FILE_MISSING")


def _own(place: Place, part: Path, account: Account) -> None:
    inside = os.path.realpath(place.root)
    account.own(part)
    for folder, folders, files in os.walk(part):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path):
                goal = os.path.realpath(path)
                if not goal.startswith(f"{inside}/data"):
                    raise BackupError(
                        f"{os.path.relpath(path, part)} of the restored files is a link to {goal}, outside of the sandbox.",
                        code="SERVER_START_FAILED",
                    )
            if not account.ours:
                os.chown(path, account.uid, account.gid, follow_symlinks=False)
