"""Spread work on relations over a few connections to the restored server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg

from airflow_dr_provider.checks.base import CheckContext
from airflow_dr_provider.errors import DrillError

CONNECTIONS = 4

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def spread(
    context: CheckContext,
    items: Mapping[str, Sequence[Item]],
    work: Callable[[Connection, str, Item], Awaitable[Answer]],
    *,
    prepare: Callable[[Connection], Awaitable[None]] | None = None,
    connections: int = CONNECTIONS,
) -> list[Answer]:
    """Do *work* on every item, in order of completion; the first error ends all.

    :param items: by database, in the order in which they are to be begun.
    :param prepare: done once on each new connection.
    :param connections: how many at most.
    """
    waiting = {database: deque(listed) for database, listed in items.items() if listed}
    answers: list[Answer] = []

    async def drain(database: str) -> None:
        """Work on one database, then on whichever still has the most left."""
        while True:
            async with await context.connect(database, "admin") as connection:
                if prepare is not None:
                    await prepare(connection)
                while waiting[database]:
                    answers.append(await work(connection, database, waiting[database].popleft()))
            database = max(waiting, key=lambda name: len(waiting[name]))
            if not waiting[database]:
                return

    if waiting:
        names = list(waiting)
        total = sum(len(listed) for listed in waiting.values())
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(min(connections, total)):
                    group.create_task(drain(names[number % len(names)]))
        except BaseExceptionGroup as raised:
            # The others were cancelled because of the first; that one is the reason.
            raise _first(raised) from raised
    return answers


async def in_each(
    context: CheckContext, databases: Iterable[str], work: Callable[[Connection, str], Awaitable[Answer]]
) -> dict[str, Answer]:
    """Do *work* once in each database, a few at a time; the answers by database, in the order given."""
    names = tuple(databases)
    limit = asyncio.Semaphore(CONNECTIONS)

    async def one(name: str) -> Answer:
        async with limit, await context.connect(name, "admin") as connection:
            return await work(connection, name)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(one(name)) for name in names}
    except BaseExceptionGroup as raised:
        raise _first(raised) from raised
    return {name: task.result() for name, task in tasks.items()}


def _first(raised: BaseException) -> BaseException:
    while isinstance(raised, BaseExceptionGroup):
        raised = raised.exceptions[0]
    return raised


async def any_connection(context: CheckContext) -> Connection:
    """A connection to some database of the restored server, for what concerns the cluster as a whole.

    :raises psycopg.OperationalError: when none of the databases that must be there takes one.
    """
    for database in (*context.databases, "postgres"):
        try:
            return await context.connect(database, "admin")
        except (psycopg.OperationalError, DrillError):
            # A database that the spec names may not be there; that is for the caller to find out and to say.
            continue
    return await context.connect("template1", "admin")
