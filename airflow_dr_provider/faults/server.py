"""Damage to the running server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from airflow_dr_provider.faults.base import Victim, refused
from airflow_dr_provider.faults.objects import largest_table


async def kill(victim: Victim) -> str:
    """Kill the server's first process; the others notice and end."""
    with await _server(victim) as server:
        server.send(signal.SIGKILL)
        await server.ended()
    return "the server was killed"


async def freeze(victim: Victim) -> str:
    """Stop the server's first process for as long as the stage lasts; whoever connects waits."""
    server = victim.held.enter_context(await _server(victim))
    victim.held.callback(server.send, signal.SIGCONT)
    server.send(signal.SIGSTOP)
    return "the server was stopped, and answers nobody"


async def stop(victim: Victim) -> None:
    """End the server in order, if it runs."""
    if await victim.server() is not None:
        with await _server(victim) as server:
            server.send(signal.SIGINT)
            await server.ended()


async def archive(victim: Victim) -> str:
    """Turn archiving on, in the one file that outranks the sandbox's configuration, and restart the server."""
    async with await victim.connect("template1") as connection:
        await connection.execute("ALTER SYSTEM SET archive_mode = 'on'")
    await stop(victim)
    await victim.start()
    return "the server was restarted with archive_mode = on"


async def lock_table(victim: Victim) -> str:
    """Hold the largest table in the strongest lock for as long as the stage lasts."""
    database, table = await largest_table(victim)
    connection = await victim.held.enter_async_context(await victim.connect(database))
    await connection.execute("BEGIN")
    await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
    return f"{database}: {table} is locked"


class _Process:
    """One process, never a later one of the same id."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    async def ended(self) -> None:
        """Wait for its end."""
        loop = asyncio.get_running_loop()
        gone = loop.create_future()
        loop.add_reader(self._descriptor, lambda: None if gone.done() else gone.set_result(None))
        try:
            await gone
        finally:
            loop.remove_reader(self._descriptor)


async def _server(victim: Victim) -> _Process:
    """What the sandbox calls its server, asked again with the process in hand."""
    number = await victim.server()
    if number is None:
        raise refused("the restored server is no process of this machine, or it ended by itself")
    try:
        found = _Process(os.pidfd_open(number))
    except OSError:
        raise refused("the restored server ended by itself") from None
    if await victim.server() != number:
        with found:
            raise refused("the restored server ended by itself")
    return found
