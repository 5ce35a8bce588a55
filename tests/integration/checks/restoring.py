"""A restored server without a drill: the files of a base backup, replayed to a target and opened."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from airflow_dr_provider.demo.production import DemoProduction


def restored(production: DemoProduction, backup: Path, folder: Path, **recovery: str) -> DemoProduction:
    """Start a copy of a backup in a folder of its own, and wait until it is open; the caller closes it.

    :param recovery: settings of recovery, as ``recovery_target_lsn``; without any the server opens at the archive's end.
    """
    folder.mkdir()
    folder.chmod(0o755)
    server = DemoProduction(folder, major=production.programs.major)
    shutil.copytree(backup, server.data)
    (server.data / "recovery.signal").touch()
    lines = {
        "unix_socket_directories": str(server.socket),
        "archive_mode": "off",
        "restore_command": f'cp "{production.archive}/%f" "%p"',
        "recovery_target_action": "promote",
        "wal_keep_size": "32MB",
        **recovery,
    }
    with (server.data / "postgresql.conf").open("a") as file:
        file.writelines(f"{key} = '{value}'\n" for key, value in lines.items())
    server.account.own_tree(server.data)
    server.start()
    deadline = time.monotonic() + 30
    while server.sql("SELECT pg_is_in_recovery()") != [(False,)]:
        assert time.monotonic() < deadline, server.log.read_text()[-800:]
        time.sleep(0.02)
    return server
