"""Whether Airflow still wants what a task or a trigger is doing: told apart by the task's state, for signals don't say why."""

from __future__ import annotations

from typing import Any

from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance


def task_states(task_instance: Any) -> tuple[str, ...]:
    """The task instance's state as Airflow has it now; nothing when it is gone or was cleared.

    Asks over the Execution API, and so blocks for a moment.
    """
    index = getattr(task_instance, "map_index", None)
    found = RuntimeTaskInstance.get_task_states(
        dag_id=task_instance.dag_id,
        task_ids=[task_instance.task_id],
        run_ids=[task_instance.run_id],
        map_index=index if index is not None and index >= 0 else None,
    )
    return tuple(str(getattr(state, "value", state)) for states in found.values() for state in states.values() if state)
