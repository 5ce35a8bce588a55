"""From a started server to one that is open at the target, and proof that it is there.

``pg_ctl -w start`` returns at consistency, long before the target, and a server can die after that. So the server is told
to pause at the target, is asked until it says that it does, and only then let go on; and whoever asks also watches its process.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import psycopg
from psycopg import errors

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import ArchiveError, BackupError, SandboxError
from airflow_dr_provider.sandboxes import client, credentials
from airflow_dr_provider.sandboxes.diagnosis import STOPPED_AT_TARGET, Obstacle, failure, obstacle
from airflow_dr_provider.sandboxes.place import Place
from airflow_dr_provider.sandboxes.processes import clock, ended
from airflow_dr_provider.sandboxes.server import Server, log_since_start
from airflow_dr_provider.sandboxes.settings import ASSERTED, REPORTED, session_options

_PAUSE = 0.02
"""Seconds between two questions; the server's death ends the waiting at once."""
_BROKEN_SECONDS = 5.0
"""How long a server may answer every try with an error that is no refusal before it is called broken."""


class ObstacleError(Exception):
    """Recovery needs a start with other settings to go on; caught where servers are started.

    :param obstacle: what to change.
    """

    def __init__(self, obstacle: Obstacle) -> None:
        super().__init__(str(obstacle))
        self.obstacle = obstacle


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What the server says of its recovery, once it is open."""

    stopped_at: Lsn | None
    replayed: Lsn
    last_commit: datetime | None
    timeline: int
    next_transaction: int
    seconds: float
    ready_seconds: float
    settings: dict[str, str]


class Door:
    """The way in as a superuser: the sandbox's own credentials once they work, before that one of production's superusers.

    :param users: names that may be superusers; the first that gets in is kept.
    :param databases: databases that may be there.
    """

    def __init__(self, place: Place, server: Server, *, major: int, users: tuple[str, ...], databases: tuple[str, ...]) -> None:
        self._place, self._server, self._major = place, server, major
        self._options = session_options(major)
        self._ways = [(user, database) for database in databases for user in users]
        self._broken_since: float | None = None

    async def enter(self) -> client.Connection | None:
        """A connection, None while the server doesn't take any yet.

        :raises SandboxError: ``SANDBOX_FAILED`` when it takes connections, and none of the names gets in.
        :raises BackupError: ``DATABASE_UNUSABLE`` when it goes on answering with errors: its catalogs are damaged.
        """
        own = credentials.load(self._place) if credentials.door_is_closed(self._place) else None
        ways = [(own["admin"].user, database, own["admin"].password) for _, database in self._ways] if own else []
        ways = list(dict.fromkeys(ways)) or [(user, database, "") for user, database in self._ways]
        refusals: list[str] = []
        broken: list[str] = []
        for user, database, password in ways:
            try:
                connection = await client.connect(
                    self._place, self._server.postmaster, user=user, database=database, password=password, options=self._options
                )
            except psycopg.OperationalError as error:
                text = " ".join(str(error).split())
                if _REFUSED.search(text):
                    refusals.append(text)
                elif "FATAL" in text and not _NOT_YET.search(text):
                    # Another database may be sound; the gate then names the one that isn't.
                    broken.append(text)
                else:
                    self._broken_since = None
                    return None
                continue
            if not own:
                row = await (await connection.execute("SELECT current_setting('is_superuser')")).fetchone()
                if row != ("on",):
                    await connection.close()
                    continue
                self._ways = [(user, database)]
            self._broken_since = None
            return connection
        if broken:
            self._judge_broken(broken)
            return None
        raise SandboxError(
            f"The restored server is up, but no superuser could be found that may log in (tried: "
            f"{', '.join(dict.fromkeys(user for user, *_ in ways)) or 'none'}). Give production's superuser LOGIN.",
            facts={"refusals": refusals[-3:]},
        )

    def _judge_broken(self, broken: list[str]) -> None:
        if self._broken_since is None:
            self._broken_since = clock()
        if clock() - self._broken_since >= _BROKEN_SECONDS:
            raise BackupError(
                f"The restored server refuses every session, so its catalogs are damaged: {broken[-1]}",
                code="DATABASE_UNUSABLE",
                facts={"answers": list(dict.fromkeys(broken))[:3]},
            )

    async def entered(self) -> client.Connection:
        """A connection to a server that is known to take some.

        :raises SandboxError: ``SERVER_DIED`` when it ended meanwhile.
        """
        while not await ended(self._server.postmaster, 0):
            connection = await self.enter()
            if connection is not None:
                return connection
            await ended(self._server.postmaster, _PAUSE)
        raise SandboxError("The restored server ended just after it was opened.", code="SERVER_DIED")

    async def wait_until_closed(self) -> None:
        """Wait until the way that was used so far is refused: the server has read its new rules.

        :raises SandboxError: when it still lets people in after ten seconds.
        """
        (user, database), deadline = self._ways[0], clock() + 10
        while clock() < deadline:
            try:
                connection = await client.connect(
                    self._place, self._server.postmaster, user=user, database=database, options=self._options
                )
            except psycopg.OperationalError as error:
                if _REFUSED.search(str(error)):
                    return
                raise SandboxError(
                    f"The restored server ended just after it was opened: {error}", code="SERVER_DIED"
                ) from error
            await connection.close()
            await asyncio.sleep(_PAUSE)
        raise SandboxError("The restored server goes on letting roles of production in; it was not used.")


_REFUSED = re.compile(
    r'role ".*" (?:does not exist|is not permitted to log in)|database ".*" (?:does not exist|is not currently accepting)|'
    r"too many connections for|permission denied for database|no pg_hba\.conf entry|password authentication failed"
)


_NOT_YET = re.compile(
    r"the database system is (?:starting up|not yet accepting connections|not accepting connections|shutting down|in recovery mode)|"
    r"too many clients already|connection slots are reserved"
)


async def to_target(place: Place, server: Server, door: Door, coordinate: RestoreCoordinate, *, started: float) -> Replayed:
    """Wait for the target, look, open the server, and look again.

    :param started: :func:`~airflow_dr_provider.sandboxes.processes.clock` at the server's start.
    :raises DrillError: for a recovery that ended otherwise.
    :raises ObstacleError: when a start with other settings gets further.
    """
    target = str(coordinate.target.lsn)
    connection: client.Connection | None = None
    reached: float | None = None
    try:
        while True:
            if await ended(server.postmaster, 0 if connection is None else _PAUSE):
                await raise_end(place, target)
            try:
                if connection is None:
                    connection = await door.enter()
                    if connection is None:
                        await ended(server.postmaster, _PAUSE)
                        continue
                recovering, paused = await _state(connection)
                if recovering and paused and reached is None:
                    if not STOPPED_AT_TARGET.search(await asyncio.to_thread(log_since_start, place)):
                        await _raise_pause(place, target)
                    reached = clock() - started
                    await connection.execute("SELECT pg_catalog.pg_wal_replay_resume()")
                if not recovering:
                    opened = clock() - started
                    return await _look(place, connection, coordinate, opened if reached is None else reached, opened)
            except errors.ObjectNotInPrerequisiteState:
                continue  # promoted between two words of one question
            except psycopg.OperationalError:
                # A conflict with replay (the database was dropped), or the server's end, which the next round sees.
                await _close(connection)
                connection = None
    finally:
        await _close(connection)


async def _close(connection: client.Connection | None) -> None:
    if connection is not None:
        await connection.close()


async def _state(connection: client.Connection) -> tuple[bool, bool]:
    question = (
        "SELECT pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() "
        "THEN pg_catalog.pg_get_wal_replay_pause_state() = 'paused' ELSE false END"
        if connection.info.server_version >= 140000
        else "SELECT pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() "
        "THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END"
    )
    row = await (await connection.execute(question)).fetchone()
    recovering, paused = row or (True, False)
    return bool(recovering), bool(paused)


async def raise_end(place: Place, target: str) -> NoReturn:
    """Say why the server ended.

    :raises ObstacleError: when a start with other settings gets further.
    :raises DrillError: else.
    """
    log = await asyncio.to_thread(log_since_start, place)
    found = obstacle(log)
    if found is not None:
        raise ObstacleError(found)
    raise failure(log, target=target)


async def _raise_pause(place: Place, target: str) -> NoReturn:
    """Recovery paused, and not at the target: production raised a setting that replay has to follow."""
    log = await asyncio.to_thread(log_since_start, place)
    found = obstacle(log)
    if found is not None:
        raise ObstacleError(found)
    raise SandboxError(f"Recovery paused before the target {target}: {' / '.join(log.splitlines()[-3:])}")


async def _look(
    place: Place, connection: client.Connection, coordinate: RestoreCoordinate, reached: float, opened: float
) -> Replayed:
    cursor = await connection.execute(
        "SELECT pg_catalog.pg_last_wal_replay_lsn()::text, pg_catalog.pg_last_xact_replay_timestamp(), "
        # After promotion, and before any transaction of ours has an id, the snapshot's end is the next id.
        "pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()), pg_catalog.pg_control_checkpoint() IS NOT NULL"
    )
    replayed, last_commit, next_transaction, _ = await cursor.fetchone() or (None, None, None, None)
    if replayed is None or next_transaction is None:
        raise SandboxError("The restored server doesn't know of a recovery: it was not started from a backup by this sandbox.")
    cursor = await connection.execute(
        "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY (%s)", (list(REPORTED),)
    )
    settings = {str(name): str(value) for name, value in await cursor.fetchall()}
    await _assert_alone(connection, settings)
    log = await asyncio.to_thread(log_since_start, place)
    stopped = STOPPED_AT_TARGET.search(log)
    timeline = await asyncio.to_thread(_replayed_timeline, place)
    point, target = Lsn(replayed), coordinate.target
    if stopped is None or (target.inclusive and point <= target.lsn):
        raise ArchiveError(
            f"The server opened at {point} without having stopped at the target {target.lsn}.", code="RECOVERY_ENDED_EARLY"
        )
    if timeline != target.timeline:
        raise ArchiveError(
            f"The server replayed timeline {timeline}, not the chosen timeline {target.timeline}.", code="TIMELINE_MISMATCH"
        )
    return Replayed(
        stopped_at=Lsn(stopped[1]),
        replayed=point,
        last_commit=last_commit,
        timeline=timeline,
        next_transaction=int(next_transaction),
        seconds=reached,
        ready_seconds=opened,
        settings=settings,
    )


async def _assert_alone(connection: client.Connection, settings: dict[str, str]) -> None:
    """The server itself has to say that it archives nowhere and replicates with nobody."""
    wrong = {name: settings[name] for name, value in ASSERTED.items() if name in settings and settings[name] != value}
    if settings.get("archive_command") not in ("", "(disabled)"):
        wrong["archive_command"] = settings.get("archive_command", "")
    cursor = await connection.execute(
        "SELECT count(*) FILTER (WHERE backend_type IN "
        "('walreceiver', 'walsender', 'archiver', 'logical replication launcher', 'logical replication worker')), "
        "(SELECT count(*) FROM pg_catalog.pg_replication_slots) FROM pg_catalog.pg_stat_activity"
    )
    row: tuple[Any, ...] = await cursor.fetchone() or (0, 0)
    if wrong or row[0] or row[1]:
        said = ", ".join(f"{name} = {value!r}" for name, value in wrong.items()) or f"{row[0]} processes, {row[1]} slots"
        raise SandboxError(f"The restored server could archive or replicate ({said}); it was not used.", code="ARCHIVING_ON")


_HISTORY = re.compile(r"^(\d+)\s+([0-9A-F]+/[0-9A-F]+)\s", re.MULTILINE)


def _replayed_timeline(place: Place) -> int:
    """The timeline that was replayed last: the parent, in the history file that promotion wrote for the new one."""
    folder = place.data / "pg_wal"
    names = sorted(path.name for path in folder.iterdir() if re.fullmatch(r"[0-9A-F]{8}\.history", path.name))
    new = max((name for name in names if not (place.wal / name).exists()), default=None)
    if new is None:
        raise SandboxError("The restored server wrote no history of the timeline that it began.")
    descriptor = os.open(folder / new, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        lines = _HISTORY.findall(file.read(1 << 20))
    if not lines:
        raise SandboxError(f"The history {new} of the restored server's own timeline can't be read.")
    return int(lines[-1][0])
