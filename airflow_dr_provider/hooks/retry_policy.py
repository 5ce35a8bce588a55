"""What Airflow is to do with a drill's failed task, decided by the failure's signature (Airflow 3.3 and newer).

Before 3.3 there are no retry policies, and only :func:`airflow_dr_provider.hooks.drill.judged` keeps what can't heal from being
tried again; it still does, for a policy is never asked about the exceptions that end a task at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from airflow_dr_provider.domain.signatures import Recoverability, signature
from airflow_dr_provider.domain.waiting import backoff
from airflow_dr_provider.errors import DrillError
from airflow_dr_provider.hooks.interruptible import TaskInterruptedError

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError:  # Airflow 3.1 and 3.2
    RetryPolicy = object  # type: ignore[assignment,misc]
    AVAILABLE = False
else:
    AVAILABLE = True

BASE_SECONDS = 10.0
CAP_SECONDS = 300.0
HEALS = frozenset({"STATE_UNREACHABLE"})
"""Signatures that a person has to mend, and that may well be mended a minute later."""


class SignatureRetryPolicy(RetryPolicy):
    """Try again what may heal by itself, later each time; never what can't: a corrupt backup is as corrupt the second time.

    Can be given to any operator as ``retry_policy``; a drill's own have it. How often is ``retries``' to say, as always. The
    signature is the reason that Airflow keeps at the task instance.
    """

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Decide by the first failure with a signature, the exception itself before its causes."""
        if isinstance(exception, TaskInterruptedError):
            return RetryDecision.retry(timedelta(0), "its worker was told to end; the next one goes on")
        found = next((error for error in _causes(exception) if isinstance(error, DrillError)), None)
        if found is None:
            return RetryDecision.default()
        if not heals(found.code):
            return RetryDecision.fail(found.code)
        told = found.facts.get("retry_after")
        waited = backoff(_name(context), try_number, base=BASE_SECONDS, cap=CAP_SECONDS)
        return RetryDecision.retry(timedelta(seconds=max(waited, float(told or 0.0))), found.code)

    def serialize(self) -> dict[str, Any]:
        """Nothing but the class."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SignatureRetryPolicy:
        """Nothing but the class."""
        return cls()


def heals(code: str) -> bool:
    """Whether the same task again may work."""
    return code in HEALS or signature(code).recoverability is Recoverability.SELF_HEALING


def _causes(exception: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exception is not None and id(exception) not in seen:
        seen.add(id(exception))
        yield exception
        exception = exception.__cause__


def _name(context: Any) -> str:
    instance = (context or {}).get("ti")
    return f"{instance.dag_id}/{instance.run_id}/{instance.task_id}" if instance is not None else ""
