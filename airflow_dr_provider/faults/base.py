"""What a deed may touch, and the registry of deeds.

A deed damages one drill's own copy and says what it did. Adding one is writing a coroutine here in the file of its family, naming
it in :data:`DEEDS`, and saying in :mod:`airflow_dr_provider.domain.fault_list` what it is expected to lead to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg

from airflow_dr_provider.errors import SandboxError

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Victim:
    """The copy of one attempt. Whoever makes one has seen that it is the run's own.

    :param root: the sandbox's directory: nothing outside of it is ever changed.
    :param details: what the sandbox's adapter noted of it.
    :param size_bytes: the backup's size.
    :param databases: the databases that the drill looks at.
    :param heartbeat: the heartbeat's database (None when it isn't known), table and column.
    :param connect: a superuser's connection to a database of the copy.
    :param server: the server's process on this machine, None when it doesn't run or runs elsewhere.
    :param start: starts the server again after it was ended.
    :param held: what is given back when the stage ends, however it ends.
    :param then: what is waited for once the damage is written to the log.
    """

    root: Path
    data: Path
    wal: Path
    size_bytes: int
    connect: Callable[[str], Awaitable[Connection]]
    databases: Callable[[], Awaitable[tuple[str, ...]]]
    server: Callable[[], Awaitable[int | None]]
    start: Callable[[], Awaitable[None]]
    held: AsyncExitStack
    details: Mapping[str, Any] = field(default_factory=dict)
    then: list[Callable[[], Awaitable[object]]] = field(default_factory=list)
    heartbeat: tuple[str | None, str, str] | None = None

    def own_file(self, path: Path) -> Path:
        """A regular file of the copy alone.

        :raises SandboxError: ``INJECTION_REFUSED`` for one outside of it, and for one that has another name elsewhere: to damage
            a hard link would be to damage whatever else it is, a repository's file say.
        """
        real = Path(os.path.realpath(path))
        status = real.stat()
        if not real.is_relative_to(os.path.realpath(self.root)):
            raise refused(f"{path} leads to {real}, outside of the sandbox {self.root}")
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise refused(f"{real} has {status.st_nlink} names; it may be somebody else's file too")
        return real


Deed = Callable[[Victim], Awaitable[str]]
"""Does the damage; what was done, in words."""


def refused(why: str) -> SandboxError:
    """The error of a deed that can't or must not be done."""
    return SandboxError(f"The fault was not injected: {why}.", code="INJECTION_REFUSED")


DEEDS: dict[str, str] = {
    "provision_fails": "airflow_dr_provider.faults.environment:occupy",
    "disk_full": "airflow_dr_provider.faults.environment:small_disk",
    "stage_hangs": "airflow_dr_provider.faults.environment:hang",
    "teardown_fails": "airflow_dr_provider.faults.environment:hold_lock",
    "heap_bytes": "airflow_dr_provider.faults.files:overwrite_relation",
    "heap_truncated": "airflow_dr_provider.faults.files:truncate_relation",
    "file_removed": "airflow_dr_provider.faults.files:remove_relation",
    "control_damaged": "airflow_dr_provider.faults.files:overwrite_control",
    "wal_removed": "airflow_dr_provider.faults.wal:remove_segment",
    "wal_damaged": "airflow_dr_provider.faults.wal:overwrite_segment",
    "index_dropped": "airflow_dr_provider.faults.objects:drop_index",
    "index_invalid": "airflow_dr_provider.faults.objects:invalidate_index",
    "table_dropped": "airflow_dr_provider.faults.objects:drop_table",
    "constraint_dropped": "airflow_dr_provider.faults.objects:drop_constraint",
    "column_type": "airflow_dr_provider.faults.objects:change_type",
    "extension_dropped": "airflow_dr_provider.faults.objects:drop_extension",
    "sequence_back": "airflow_dr_provider.faults.objects:set_sequence_back",
    "rows_deleted": "airflow_dr_provider.faults.rows:empty_table",
    "heartbeat_old": "airflow_dr_provider.faults.rows:set_heartbeat_back",
    "archiving_on": "airflow_dr_provider.faults.server:archive",
    "server_killed": "airflow_dr_provider.faults.server:kill",
    "server_frozen": "airflow_dr_provider.faults.server:freeze",
    "table_locked": "airflow_dr_provider.faults.server:lock_table",
}


def deed(name: str) -> Deed:
    """The deed of a fault.

    :raises KeyError: for an unknown one; names are checked before a run opens.
    """
    module, _, function = DEEDS[name].partition(":")
    found: Deed = getattr(import_module(module), function)
    return found
