"""Which workers serve a drill's tasks: a sandbox that is bound to a host needs all tasks of its attempt there.

``[core] executor`` says how tasks reach workers. The section ``[dr]`` adds ``queue`` (of the tasks that no tier names one for),
and ``single_worker`` (True when one host's workers serve every queue, so that no queue need be named).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow.providers.common.compat.sdk import conf

from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.sandbox import SandboxSpec

SECTION = "dr"
_ONE_HOST = ("LocalExecutor", "SequentialExecutor", "DebugExecutor")
_NO_HOST = ("KubernetesExecutor", "AwsEcsExecutor", "AwsBatchExecutor", "AwsLambdaExecutor")
_BOUND = ("process",)
"""Kinds of sandbox that are on the host of the worker that made them."""


@dataclass(frozen=True)
class Placement:
    """How tasks reach workers.

    :param executor: the name of Airflow's default executor.
    :param queue: the queue of tasks that no tier names one for; None for Airflow's own default.
    :param single_worker: whether there is one worker host, whatever the executor may do.
    """

    executor: str = "LocalExecutor"
    queue: str | None = None
    single_worker: bool = False

    @property
    def one_host(self) -> bool:
        """Whether every task runs on the same host."""
        return self.executor in _ONE_HOST or self.single_worker

    def queue_of(self, sandbox: SandboxSpec) -> str | None:
        """The queue of the tasks of a tier with this sandbox; a kind of another package may have none to name."""
        return getattr(sandbox, "queue", None) or self.queue

    def refusals(self, spec: DrillSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """What is wrong with a spec here: places in it, and why."""
        if self.one_host:
            return
        for index, tier in enumerate(spec.tiers):
            if tier.sandbox.kind not in _BOUND:
                continue
            where = ("tiers", index, "sandbox")
            if self.executor in _NO_HOST:
                yield (
                    (*where, "kind"),
                    f"a {tier.sandbox.kind} sandbox lives on its worker's host, and {self.executor} runs each task in a "
                    "container of its own; choose another kind of sandbox, or let a LocalExecutor or Celery workers run this",
                )
            elif self.queue_of(tier.sandbox) is None:
                yield (
                    where,
                    f"{self.executor} may send the tasks of an attempt to several hosts, and a {tier.sandbox.kind} sandbox is "
                    "on one: name the queue that only that host's workers serve in queue, or set [dr] single_worker = True "
                    "if there is one worker host",
                )


def placement() -> Placement:
    """As Airflow is configured."""
    first = str(conf.get("core", "executor", fallback="LocalExecutor")).split(";")[0].split(",")[0].strip()
    # "team=Executor", "alias:module.path.Executor" or a path: what counts is the class's name.
    name = first.rpartition("=")[2].rpartition(":")[2].rpartition(".")[2]
    return Placement(
        executor=name,
        queue=conf.get(SECTION, "queue", fallback=None) or None,
        single_worker=conf.getboolean(SECTION, "single_worker", fallback=False),
    )
