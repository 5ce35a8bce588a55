"""The trigger that waits for a sandbox's remote step, so that no worker has to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_dr_provider.domain.waiting import Waiting
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.hooks.drill import DrillHook
from airflow_dr_provider.hooks.still_wanted import task_states
from airflow_dr_provider.stages.waiting import cancel_wait, until_settled

_SETTLING_SECONDS = 120.0
# Ends that are under way: the triggerer makes its way to Airflow's API when the first trigger asks for it, which takes seconds,
# and on_kill is given up after [triggerer] on_kill_timeout.
_ENDING: set[asyncio.Task[None]] = set()
_DEFERRED = "deferred"
# Airflow 3.3 tells a trigger when a person ended its task; before that a trigger was only cancelled, and had to find out why.
_IS_TOLD = hasattr(BaseTrigger, "on_kill")


class SandboxTrigger(BaseTrigger):
    """Waits until a remote step is ready, has failed, or is too late.

    It reads and writes no database while it waits: what it waits for is in its arguments, names and connections' ids only. All
    waits of one account in a triggerer share its rate. The event says that there is something to look at; what it is, the task
    finds out itself.

    :param waiting: what is waited for (:class:`~airflow_dr_provider.domain.waiting.Waiting`, as JSON).
    :param state_conn_id: an Airflow connection to the state database, for the case that a person ends the task.
    """

    def __init__(self, *, waiting: dict[str, Any], state_conn_id: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waiting = waiting
        self.state_conn_id = state_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments, as Airflow keeps them."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"waiting": self.waiting, "state_conn_id": self.state_conn_id},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; exactly one event."""
        waiting = Waiting.model_validate(self.waiting)
        try:
            answer = await until_settled(waiting)
        except DrillError as error:
            yield _event(waiting, "error", f"{error.code}: {error.message}")
        except asyncio.CancelledError:
            if not _IS_TOLD:
                await self._ending(waiting)
            raise
        else:
            yield _event(waiting, *((answer.state.value, answer.detail) if answer is not None else ("late", "")))

    async def on_kill(self) -> None:
        """End the remote step when a person marked or cleared the task.

        Airflow also calls this where another triggerer took the wait over, because this one had been silent for too long; the
        task is still deferred then, and the step still wanted.
        """
        await self._ending(Waiting.model_validate(self.waiting))

    async def _ending(self, waiting: Waiting) -> None:
        task = asyncio.create_task(self._end_if_unwanted(waiting))
        _ENDING.add(task)
        task.add_done_callback(_ENDING.discard)
        await asyncio.shield(task)

    async def _end_if_unwanted(self, waiting: Waiting) -> None:
        try:
            async with asyncio.timeout(_SETTLING_SECONDS):
                if _DEFERRED in await asyncio.to_thread(task_states, self.task_instance):
                    self.log.info("%s: the task still waits, so the step goes on", waiting.key)
                    return
                # In a thread with a loop of its own: the store's calls block.
                ended = await asyncio.to_thread(self._end, waiting)
        except Exception as error:
            # Where Airflow can't be asked, it isn't known that nobody waits; the teardown ends what nobody wants.
            self.log.warning("%s: not ended (%s: %s)", waiting.key, type(error).__name__, error)
        else:
            self.log.info("%s: %s", waiting.key, "ended, for nobody waits for it any more" if ended else "it was over")

    def _end(self, waiting: Waiting) -> bool:
        with DrillHook(state_conn_id=self.state_conn_id).services() as services:
            return asyncio.run(cancel_wait(services, waiting))


def _event(waiting: Waiting, state: str, detail: str) -> TriggerEvent:
    return TriggerEvent({"wait": waiting.key, "state": state, "detail": detail})  # type: ignore[no-untyped-call]
