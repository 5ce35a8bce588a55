"""Restored files become an open server of the sandbox's own: prepare, start, replay, take the keys.

It may be cut off anywhere. What was done is noted, so that the next call goes on where the last one was killed: files are
prepared once, a running server is taken over, a dead one is started again, and an open one with its own roles is only looked
up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import Recovery
from airflow_dr_provider.errors import BackupError, DrillError, SandboxError
from airflow_dr_provider.postgresql.account import Account
from airflow_dr_provider.postgresql.programs import Programs
from airflow_dr_provider.sandboxes import catalog_files, credentials, files, server, settings, tablespaces
from airflow_dr_provider.sandboxes.diagnosis import Obstacle
from airflow_dr_provider.sandboxes.isolation import Enclosure
from airflow_dr_provider.sandboxes.place import Place, write
from airflow_dr_provider.sandboxes.processes import boot, clock, end_all
from airflow_dr_provider.sandboxes.replay import Door, ObstacleError, raise_end, to_target
from airflow_dr_provider.sandboxes.settling import settled

_STARTS = 12
"""So often may a start teach what the next one has to be given."""


async def recover(
    place: Place, enclosure: Enclosure, programs: Programs, coordinate: RestoreCoordinate, libraries: Iterable[str]
) -> tuple[server.Server, Recovery]:
    """Bring the sandbox's server to the target and open it; see :meth:`ProcessSandbox.recover`.

    :param libraries: what the server may preload.
    """
    notes = place.notes()
    if notes.get("prepared") and notes["boot"] != boot():
        raise SandboxError(
            f"The machine was restarted while {place.name} recovered; its files can't be trusted. Restore them again.",
            code="SANDBOX_LOST",
        )
    if not notes.get("prepared"):
        await _prepare(place, enclosure, programs, coordinate, libraries)
    elif notes.get("recovery") is None and await settled(_opened_and_ended, place):
        raise SandboxError(
            f"The server of {place.name} ended just after it was opened. Restore its files again.", code="SANDBOX_LOST"
        )
    try:
        running = await _replay(place, enclosure, programs, coordinate)
    except DrillError:
        await end_all(place.root)
        raise
    return running, Recovery.model_validate(place.notes()["recovery"])


def _opened_and_ended(place: Place) -> bool:
    """Whether recovery is over (PostgreSQL removes its signal file then) and no server runs."""
    return not (place.data / "recovery.signal").exists() and server.find(place) is None


async def _prepare(
    place: Place, enclosure: Enclosure, programs: Programs, coordinate: RestoreCoordinate, libraries: Iterable[str]
) -> None:
    if not enclosure.way.has_mount:
        await tablespaces.refuse_outside(programs, place, coordinate)
    preloaded = place.notes().get("libraries")
    if preloaded is None:
        # Noted before the backup's configuration is removed: a preparation that is cut off begins again.
        preloaded = list(settings.wanted_libraries(place.data, libraries))
        place.note(libraries=preloaded)
    await settled(files.prepare, place, enclosure.account, major=coordinate.server_version)
    control = await settings.control_data(programs, place.data)
    block_size = int(control["Database block size"])
    place.note(
        control=control,
        users=catalog_files.superusers(place.data, block_size=block_size),
        databases=catalog_files.databases(place.data, block_size=block_size),
        boot=boot(),
        prepared=True,
    )


async def _replay(place: Place, enclosure: Enclosure, programs: Programs, coordinate: RestoreCoordinate) -> server.Server:
    for _ in range(_STARTS):
        notes = place.notes()
        _configure(place, enclosure, coordinate, notes)
        held = tuple((f"extra/{number}", location) for number, location in enumerate(notes.get("locations", ())))
        try:
            running = await _started(place, programs, replace(enclosure, held=held), coordinate)
            door = _door(place, running, coordinate, notes)
            if notes.get("recovery") is None:
                recovery = await _to_target(place, enclosure.account, running, door, coordinate, notes)
                place.note(recovery=recovery.model_dump(mode="json"))
            else:
                # Open before, and started again: there only is to wait until it takes connections.
                await (await door.entered()).close()
        except ObstacleError as error:
            await end_all(place.root)
            _overcome(place, enclosure.account, error.obstacle)
            continue
        return running
    raise BackupError(
        f"The server of {place.name} had to be given other settings {_STARTS} times and still didn't reach the target.",
        code="SERVER_START_FAILED",
    )


def _configure(place: Place, enclosure: Enclosure, coordinate: RestoreCoordinate, notes: dict[str, Any]) -> None:
    if not credentials.door_is_closed(place):
        credentials.open_door(place, enclosure.account)
    wanted = settings.server_settings(
        coordinate,
        notes["control"],
        name=place.name,
        libraries=notes["libraries"],
        posix_memory=enclosure.way.has_mount,
        raised=notes.get("raised"),
    )
    write(place.conf / "postgresql.conf", settings.rendered(wanted), 0o640, group=enclosure.account.gid)
    write(place.conf / "pg_ident.conf", "", 0o640, group=enclosure.account.gid)


def _overcome(place: Place, account: Account, obstacle: Obstacle) -> None:
    notes = place.notes()
    if obstacle.location is None:
        place.note(raised={**notes.get("raised", {}), **obstacle.raised})
        return
    locations = [*notes.get("locations", ()), os.path.normpath(obstacle.location)]
    folder = place.root / "extra" / str(len(locations) - 1)
    folder.mkdir(mode=0o700, exist_ok=True)
    account.own(folder)
    place.note(locations=locations)


def _door(place: Place, running: server.Server, coordinate: RestoreCoordinate, notes: dict[str, Any]) -> Door:
    users = tuple(dict.fromkeys((*notes["users"], "postgres")))
    databases = tuple(dict.fromkeys(("postgres", "template1", *notes["databases"])))
    return Door(place, running, major=coordinate.server_version, users=users, databases=databases)


async def _started(place: Place, programs: Programs, enclosure: Enclosure, coordinate: RestoreCoordinate) -> server.Server:
    try:
        return await server.start(place, programs, enclosure)
    except ProcessLookupError:
        await raise_end(place, str(coordinate.target.lsn))


async def _to_target(
    place: Place,
    account: Account,
    running: server.Server,
    door: Door,
    coordinate: RestoreCoordinate,
    notes: dict[str, Any],
) -> Recovery:
    first = notes.get("first_start")
    if first is None:
        first = place.note(first_start=place.notes().get("started", clock()))["first_start"]
    replayed = await to_target(place, running, door, coordinate, started=float(first))
    await _take_keys(place, account, door, coordinate.server_version)
    return Recovery(
        reached=True,
        replayed_lsn=replayed.replayed,
        last_commit=replayed.last_commit,
        timeline=replayed.timeline,
        next_transaction=replayed.next_transaction,
        seconds=replayed.seconds,
        ready_seconds=clock() - float(first),
        settings={**replayed.settings, "recovery_stopped_at": str(replayed.stopped_at)},
    )


async def _take_keys(place: Place, account: Account, door: Door, major: int) -> None:
    """Make the sandbox's roles, then refuse everybody else's login, and see that it is refused."""
    made = credentials.make(place)
    async with await door.entered() as connection:
        if not credentials.door_is_closed(place):
            await credentials.create_roles(connection, made, major=major)
            credentials.close_door(place, account, made)
        await connection.execute("SELECT pg_catalog.pg_reload_conf()")
    await door.wait_until_closed()
