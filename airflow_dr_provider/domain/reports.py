"""What adapters report: values that cross from repositories and sandboxes to checks, stages and the record."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.value import Value


class BackupFault(Value):
    """One thing that is wrong with a backup's files.

    :param code: a signature's code of the backup domain.
    :param path: the file, relative to the backup; "" for the backup as a whole.
    """

    code: str
    path: str
    detail: str


class FileReport(Value):
    """What was read, and what was wrong with it.

    :param verified: whether every byte was compared with a checksum; False where the manifest has none.
    :param vouched_by: the environment that restored the files by itself, when the drill saw none of them.
    """

    files: int = 0
    bytes_read: int = 0
    verified: bool = False
    vouched_by: str | None = None
    faults: tuple[BackupFault, ...] = ()


class WalReport(Value):
    """What was fetched from the archive.

    :param missing: segments that were not there after all.
    :param damaged: segments that can't be decoded.
    """

    segments: int = 0
    bytes_read: int = 0
    missing: tuple[SegmentRange, ...] = ()
    damaged: tuple[SegmentRange, ...] = ()
    detail: str = ""


class SandboxHandle(Value):
    """What is known of a sandbox: enough to find it again from another process. No secrets.

    :param name: derived from drill, run, tier and attempt, so that a retry finds its own; safe as a file's name.
    :param place: the directory (process) or another address of the environment.
    :param details: the adapter's own notes (process ids with their start times, programs, isolation reached), JSON-able.
    """

    kind: str
    name: str
    place: str
    details: dict[str, Any] = Field(default_factory=dict)


class IsolationReport(Value):
    """What isolation was asked for and what was reached.

    :param reached: names of what holds: ``network``, ``mount``, ``pid``, ``ipc``, ``user``.
    :param missing: what could not be had, with the reason.
    """

    wanted: Literal["required", "preferred", "off"]
    reached: tuple[str, ...] = ()
    missing: str = ""


class Recovery(Value):
    """How recovery ended.

    :param replayed_lsn: ``pg_last_wal_replay_lsn()`` at the target.
    :param last_commit: ``pg_last_xact_replay_timestamp()`` at the target; None when no commit was replayed.
    :param timeline: the timeline that was replayed last, before promotion.
    :param seconds: from the server's start to the target; to connections accepted for writing in ``ready_seconds``.
    """

    reached: bool
    replayed_lsn: Lsn | None = None
    last_commit: datetime | None = None
    timeline: int | None = None
    next_transaction: int | None = None
    seconds: float = 0.0
    ready_seconds: float = 0.0
    settings: dict[str, str] = Field(default_factory=dict)
    log_tail: str = ""


class Vitals(Value):
    """Signs of life of a sandbox; None for what its environment can't tell.

    :param server: the server's process on this machine, None when it doesn't run (or runs on another).
    :param answers: whether the server answered; None when there is none.
    :param disk_free: bytes that the disk under the data directory has left.
    :param memory_free: bytes that the machine, or the control group, has left.
    :param memory_used: bytes that the sandbox's processes hold for themselves.
    """

    server: int | None = None
    answers: bool | None = None
    disk_free: int | None = None
    memory_free: int | None = None
    memory_used: int | None = None


class Probe(Value):
    """An address that must not be reachable from inside.

    :param address: a host name, an IP address, or the directory of a Unix socket.
    """

    label: str
    address: str
    port: int | None = None


class ProbeResult(Value):
    """One attempt to get out.

    :param reached: None when the probe itself could not be run.
    """

    label: str
    reached: bool | None
    detail: str


class Endpoint(Value):
    """Where a restored server answers. No secrets.

    :param kind: ``unix_socket``: *address* is its directory.
    :param credentials: the file with the roles and passwords that were made for this sandbox, readable by the drill's account
        alone; its role ``smoke`` may only read.
    """

    kind: Literal["unix_socket"]
    address: str
    port: int
    credentials: str
