"""A sandbox on this machine: PostgreSQL in namespaces of its own, in a directory of its own, under an unprivileged account."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import psycopg

from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.reports import Endpoint, IsolationReport, Probe, ProbeResult, Recovery, SandboxHandle, Vitals
from airflow_dr_provider.errors import ConfigurationError, SandboxError
from airflow_dr_provider.postgresql.account import Account, can_reach, unprivileged_account
from airflow_dr_provider.postgresql.programs import Programs, find_programs, programs_in
from airflow_dr_provider.sandboxes import client, credentials, mounts, probes, recovering, server
from airflow_dr_provider.sandboxes.host import bound, elsewhere, this_host
from airflow_dr_provider.sandboxes.installation import shown, usable
from airflow_dr_provider.sandboxes.isolation import Enclosure, Way, furnish, strongest
from airflow_dr_provider.sandboxes.place import Place, is_name
from airflow_dr_provider.sandboxes.processes import ENVIRONMENT, belonging, end_all, remove_shared_memory
from airflow_dr_provider.sandboxes.room import require_room
from airflow_dr_provider.sandboxes.settings import PORT
from airflow_dr_provider.sandboxes.settling import settled
from airflow_dr_provider.sandboxes.vitals import vitals

KIND = "process"


class ProcessSettings(Protocol):
    """What a tier's ``sandbox`` has to say."""

    @property
    def isolation(self) -> Literal["required", "preferred", "off"]:
        """Whether a server without network and mount namespaces is refused, taken, or wanted."""
        ...

    @property
    def bin(self) -> Path | None:
        """The folder of PostgreSQL's programs; None to look for them."""
        ...

    @property
    def account(self) -> str | None:
        """The account to run the server under when this process is root; None for the usual ones."""
        ...

    @property
    def libraries(self) -> Sequence[str]:
        """Libraries that the restored server may preload, if the backup's configuration does."""
        ...


class ProcessSandbox:
    """Sandboxes that are directories and processes of this machine (:class:`~airflow_dr_provider.sandboxes.base.Sandbox`).

    :param settings: the tier's ``sandbox``.
    :param workdir: where sandboxes live; made when missing, and removed with the last of them if it was made.
    """

    def __init__(self, settings: ProcessSettings, *, workdir: Path) -> None:
        self._settings = settings
        self._workdir = workdir

    def handle(self, name: str) -> SandboxHandle:
        """The handle that a sandbox of this name will have; makes nothing.

        :raises ConfigurationError: ``WORKDIR_UNUSABLE`` for a name that could lead out of the work folder.
        """
        return SandboxHandle(kind=KIND, name=name, place=str(Place.of(self._workdir, name).root), details=bound())

    def existing(self) -> tuple[str, ...]:
        """The names of the sandboxes in the work folder, by their markers."""
        try:
            names = sorted(os.listdir(self._workdir))
        except OSError:
            return ()
        return tuple(name for name in names if is_name(name) and Place.of(self._workdir, name).ours)

    def _place(self, handle: SandboxHandle) -> Place:
        # Here that directory may be missing, or be another's: to find nothing would look like having removed it.
        holder = elsewhere(handle)
        if holder is not None:
            raise SandboxError(
                f"The sandbox {handle.name} is on the host {holder}, and this is {this_host()}. Let one host's workers serve all tasks "
                "of an attempt: name their queue in the tier's sandbox.queue.",
                code="WRONG_HOST",
                facts={"holder": holder, "host": this_host()},
            )
        place = Place.of(self._workdir, handle.name)
        if handle.place != str(place.root):
            raise ConfigurationError(
                f"The sandbox {handle.name} lies at {handle.place}, not under the work folder {self._workdir}. "
                "Name the work folder that it was made in.",
                code="WORKDIR_UNUSABLE",
            )
        return place

    def _present(self, handle: SandboxHandle) -> tuple[Place, dict[str, Any]]:
        place = self._place(handle)
        notes = place.notes() if place.ours else {}
        if "way" not in notes:
            raise SandboxError(f"The sandbox {handle.name} is not there any more.", code="SANDBOX_LOST")
        return place, notes

    # -- making --------------------------------------------------------------------------------------------------------
    async def provision(self, handle: SandboxHandle, coordinate: RestoreCoordinate) -> SandboxHandle:
        """Make the directory, find programs and room, and see which isolation this machine gives.

        :raises SandboxError: ``DISK_FULL``, ``ISOLATION_UNAVAILABLE`` or ``SANDBOX_FAILED``.
        :raises ConfigurationError: ``PROGRAMS_NOT_FOUND`` or ``WORKDIR_UNUSABLE``.
        """
        place = self._place(handle)
        notes = await settled(place.notes) if place.ours else {}
        if "way" not in notes:
            account = unprivileged_account(self._settings.account)
            programs = await settled(find_programs, coordinate.server_version, told=self._settings.bin)
            await settled(require_room, place, coordinate)
            try:
                notes = await self._furnish(place, account, programs)
            except BaseException:
                await asyncio.shield(asyncio.to_thread(_withdraw, place))
                raise
        details = {
            **handle.details,
            "isolation": notes["isolation"],
            "way": notes["way"],
            "programs": notes["programs"],
            "account": notes["account"],
            "workdir_made": place.workdir_made,
            "lock": str(place.lock),
        }
        return handle.model_copy(update={"details": details})

    async def _furnish(self, place: Place, account: Account, programs: Programs) -> dict[str, Any]:
        await settled(place.make, account)
        way, missing = await self._way(place, account)
        if not way.has_mount and not can_reach(account, place.data):
            raise ConfigurationError(
                f"The account {account.name}, under which PostgreSQL runs, can't enter {place.workdir}. Name a work folder "
                "with --workdir or AIRFLOW_DR_WORKDIR that everybody may enter, say one under /var/tmp.",
                code="WORKDIR_UNUSABLE",
            )
        programs = await settled(usable, programs, place, account, way)
        report = IsolationReport(wanted=self._settings.isolation, reached=way.reached, missing=missing)
        return place.note(
            way=way.value,
            isolation=report.model_dump(mode="json"),
            programs={"bin": str(programs.bin), "version": programs.version},
            account=account.name,
            uid=account.uid,
            gid=account.gid,
        )

    async def _way(self, place: Place, account: Account) -> tuple[Way, str]:
        furnish(place, account)
        wanted = self._settings.isolation
        if wanted == "off":
            return Way.NONE, "isolation is off in the spec"
        marks = {ENVIRONMENT: str(place.root)}
        way, missing = await strongest(place, account, root=os.geteuid() == 0, environment=marks)
        if wanted == "required" and not way.has_mount:
            raise SandboxError(
                f"This machine doesn't let network and mount namespaces be made, and the tier requires them ({missing}). "
                "Run it as root or where user namespaces are allowed, or set sandbox.isolation to preferred.",
                code="ISOLATION_UNAVAILABLE",
                facts={"missing": missing},
            )
        return way, missing

    # -- looking -------------------------------------------------------------------------------------------------------
    def isolation(self, handle: SandboxHandle) -> IsolationReport:
        """What isolation this sandbox has.

        :raises SandboxError: ``SANDBOX_LOST`` when neither handle nor directory know of it.
        """
        known = handle.details.get("isolation") or self._present(handle)[1]["isolation"]
        return IsolationReport.model_validate(known)

    def data_directory(self, handle: SandboxHandle) -> Path:
        """Where the cluster's files go; empty after provisioning. Tablespaces go beside it, in ``data.tablespaces``."""
        return self._place(handle).data

    def wal_directory(self, handle: SandboxHandle) -> Path:
        """Where the fetched WAL goes."""
        return self._place(handle).wal

    async def alive(self, handle: SandboxHandle) -> bool:
        """Whether the server still runs: that very process, not another one that got its id."""
        return await settled(server.find, self._place(handle)) is not None

    async def vitals(self, handle: SandboxHandle) -> Vitals:
        """Look whether the server runs and answers, and what is left for it.

        :raises SandboxError: ``SANDBOX_LOST`` when what lies there isn't this sandbox.
        """
        return await vitals(self._present(handle)[0])

    async def log_tail(self, handle: SandboxHandle, lines: int = 40) -> str:
        """The end of the server's log, the sandbox's passwords taken out; "" when there is none."""
        place = self._place(handle)
        return credentials.redacted(place, await settled(server.log_end, place, lines))

    # -- recovering ----------------------------------------------------------------------------------------------------
    async def recover(self, handle: SandboxHandle, coordinate: RestoreCoordinate) -> tuple[SandboxHandle, Recovery]:
        """Start the server on the restored files, replay to the target, make sure that it was reached, and open it.

        A server that an earlier call started is taken over wherever it is. One that was killed on the way is started again
        and goes on from its last restartpoint, as PostgreSQL does after any crash.

        :raises BackupError: ``SERVER_START_FAILED``, ``BACKUP_WAL_MISSING`` or ``BACKUP_FILE_MISSING``.
        :raises ArchiveError: ``RECOVERY_ENDED_EARLY`` or ``TIMELINE_MISMATCH``.
        :raises SandboxError: ``SERVER_DIED``, ``SANDBOX_LOST``, ``DISK_FULL``, ``ARCHIVING_ON``, ``SANDBOX_FAILED``.
        """
        place, notes = self._present(handle)
        enclosure, programs = _enclosure(place, notes)
        running, recovery = await recovering.recover(place, enclosure, programs, coordinate, self._settings.libraries)
        details = {**handle.details, "server": place.notes()["server"], "network": probes.network_facts(running.postmaster)}
        tail = await self.log_tail(handle)
        return handle.model_copy(update={"details": details}), recovery.model_copy(update={"log_tail": tail})

    # -- using ---------------------------------------------------------------------------------------------------------
    async def connect(
        self, handle: SandboxHandle, database: str, *, role: Literal["admin", "smoke"] = "admin"
    ) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """A connection to the restored server, autocommit on.

        :param role: ``admin`` is a superuser of the sandbox's own; ``smoke`` may only read tables.
        :raises SandboxError: ``SANDBOX_LOST`` or ``SERVER_DIED`` when nobody answers; ``SANDBOX_FAILED`` when the server
            answers and refuses, say because that database isn't there.
        """
        place, _ = self._present(handle)
        known = credentials.load(place)
        if known is None:
            raise SandboxError(f"The sandbox {handle.name} has no server that was recovered.", code="SANDBOX_LOST")
        running = await settled(server.find, place)
        if running is None:
            raise SandboxError(f"The restored server of {handle.name} doesn't run any more.", code="SERVER_DIED")
        user = known[role]
        try:
            return await client.connect(place, running.postmaster, user=user.user, database=database, password=user.password)
        except psycopg.OperationalError as error:
            said = credentials.redacted(place, " ".join(str(error).split()))
            dead = not running.postmaster.alive or "Connection refused" in said or "No such file" in said
            raise SandboxError(
                f"The restored server of {handle.name} doesn't let {role} into database {database!r}: {said}",
                code="SERVER_DIED" if dead else "SANDBOX_FAILED",
            ) from error

    def endpoint(self, handle: SandboxHandle) -> Endpoint:
        """The server's socket: it listens on no port."""
        place, _ = self._present(handle)
        return Endpoint(kind="unix_socket", address=str(place.run), port=PORT, credentials=str(place.credentials))

    async def probe(self, handle: SandboxHandle, probes_: Sequence[Probe]) -> tuple[ProbeResult, ...]:
        """Try to get out, from inside: in the server's namespaces, as its account."""
        place, notes = self._present(handle)
        running = await settled(server.find, place)
        if running is None:
            detail = "the server doesn't run, so nothing can be tried from inside"
            return tuple(ProbeResult(label=probe.label, reached=None, detail=detail) for probe in probes_)
        enclosure, programs = _enclosure(place, notes)
        attempts = (probes.attempt(enclosure, programs, running.postmaster, running.wrapper, probe) for probe in probes_)
        return tuple(await asyncio.gather(*attempts))

    # -- ending --------------------------------------------------------------------------------------------------------
    async def destroy(self, handle: SandboxHandle) -> tuple[str, ...]:
        """End the server and every process of the sandbox, remove its directory, look again.

        :return: what is still there, in words; empty when all is gone, also when nothing was there.
        """
        place = self._place(handle)
        notes = await settled(place.notes) if place.ours else {}
        # Seen before the server is ended; one that is killed can't give it back. In an IPC namespace it goes by itself.
        segment = await settled(server.shared_memory, place) if notes.get("way") == Way.NONE else None
        left = [f"process {running.pid} ({running.command})" for running in await end_all(place.root)]
        if segment is not None and not left:
            await settled(remove_shared_memory, segment, int(notes["uid"]))
        if place.exists and not place.ours and not _is_empty(place.root):
            return (
                *left,
                f"{place.root}: it carries no marker of a sandbox, so it was not removed; look at it, then remove it by hand",
            )
        if not left and place.ours and not await server.released(place):
            left.append(f"a server of {place.root} that can't be seen from here, say in another container")
        if left:
            return tuple(left)
        await settled(mounts.unmount, place.root)
        try:
            await settled(place.remove)
        except OSError as error:
            left.append(f"{error.filename or place.root}: {error.strerror}")
        left += [f"process {running.pid} ({running.command})" for running in await settled(belonging, place.root)]
        left += [f"mount at {point}" for point in mounts.within(place.root)]
        if place.exists and not left:
            left.append(f"directory {place.root}")
        return tuple(left)


def _enclosure(place: Place, notes: dict[str, Any]) -> tuple[Enclosure, Programs]:
    programs = programs_in(Path(notes["programs"]["bin"]))
    if programs is None:
        raise SandboxError(f"PostgreSQL's programs are gone from {notes['programs']['bin']}.", code="SANDBOX_LOST")
    account = Account(name=notes["account"], uid=notes["uid"], gid=notes["gid"])
    return Enclosure(way=Way(notes["way"]), place=place, account=account, shown=shown(programs)), programs


def _withdraw(place: Place) -> None:
    """Take back a directory that came to nothing, if it is ours."""
    if place.ours:
        place.remove()


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and not os.listdir(folder)
