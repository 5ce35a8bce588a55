from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar

import pytest

from airflow_dr_provider.checks.base import CHECKS, CheckContext, check
from airflow_dr_provider.checks.gate import run_checks
from airflow_dr_provider.domain.routing import Cost, Phase, RoutedCheck
from airflow_dr_provider.domain.signatures import SIGNATURES
from airflow_dr_provider.domain.verdicts import CheckResult, Verdict
from tests.unit.checks.contexts import context

BUILT_IN = tuple(CHECKS)
ended: list[str] = []


class Sound:
    name: ClassVar[str] = "sound"
    default_timeout: ClassVar[float] = 5.0

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        await asyncio.sleep(0.2)
        return (CheckResult(name=self.name, verdict=Verdict.PASSED),)


class Many(Sound):
    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        return tuple(CheckResult(name=f"many:{n}", verdict=Verdict.PASSED, elapsed_seconds=7) for n in range(3))


class Broken(Sound):
    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        raise RuntimeError("cannot connect: postgresql://joe:hush@host/db password=s3cret more")


class Hung(Sound):
    default_timeout: ClassVar[float] = 0.1

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hung")
        return ()


class Waiting(Hung):
    default_timeout: ClassVar[float] = 60.0


class OwnTimeout(Sound):
    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        raise TimeoutError("of its own")


class CancelsItself(Sound):
    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        raise asyncio.CancelledError


class Refused(Sound):
    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        return (CheckResult(name="refused", verdict=Verdict.FAILED, signature="NO_SUCH_CODE"),)


class Junk(Sound):
    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        return None  # type: ignore[return-value]


class Leaves(Sound):
    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        raise SystemExit(3)


class Optional(Sound):
    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        return (CheckResult(name="optional", verdict=Verdict.COULD_NOT_VERIFY, signature="NO_REFERENCE", required=False),)


class Noted(Sound):
    """Notes when it begins and ends."""

    async def run(self, context: CheckContext) -> Sequence[CheckResult]:
        task = asyncio.current_task()
        me = task.get_name() if task else ""
        ended.append(f"{me} begins")
        await asyncio.sleep(0.02)
        ended.append(f"{me} ends")
        return (CheckResult(name=self.name, verdict=Verdict.PASSED),)


def routed(*names: str) -> tuple[RoutedCheck, ...]:
    return tuple(RoutedCheck(name=name, position=position) for position, name in enumerate(dict.fromkeys(names)))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    ended.clear()
    for name, kind in {
        **{f"sound{n}": Sound for n in range(20)},
        "many": Many,
        "broken": Broken,
        "hung": Hung,
        "waiting": Waiting,
        "own_timeout": OwnTimeout,
        "cancels": CancelsItself,
        "refused": Refused,
        "junk": Junk,
        "leaves": Leaves,
        "optional": Optional,
        **{f"noted{n}": Noted for n in range(4)},
    }.items():
        monkeypatch.setitem(CHECKS, name, f"{__name__}:{kind.__name__}")
    monkeypatch.setitem(CHECKS, "absent", "airflow_dr_provider.checks.absent:Absent")


async def test_one_broken_check_spoils_no_other() -> None:
    names = ("many", "broken", "hung", "own_timeout", "cancels", "absent", "unknown", "sound1", "many")
    results = await run_checks(routed(*names), context())
    assert [(result.name, result.verdict, result.signature) for result in results] == [
        *((f"many:{n}", Verdict.PASSED, None) for n in range(3)),
        ("broken", Verdict.COULD_NOT_VERIFY, "CHECK_BROKEN"),
        ("hung", Verdict.COULD_NOT_VERIFY, "CHECK_TIMEOUT"),
        ("own_timeout", Verdict.COULD_NOT_VERIFY, "CHECK_BROKEN"),
        ("cancels", Verdict.COULD_NOT_VERIFY, "CHECK_BROKEN"),
        ("absent", Verdict.COULD_NOT_VERIFY, "CHECK_BROKEN"),
        ("unknown", Verdict.COULD_NOT_VERIFY, "CHECK_BROKEN"),
        ("sound", Verdict.PASSED, None),
    ]
    assert results[0].elapsed_seconds == 7
    assert results[-1].elapsed_seconds >= 0.2
    assert ended == ["hung"]
    broken = results[3].detail
    assert "RuntimeError" in broken
    assert "hush" not in broken
    assert "s3cret" not in broken


async def test_checks_run_side_by_side() -> None:
    started = time.monotonic()
    results = await run_checks(routed(*(f"sound{n}" for n in range(20))), context(), limits={Cost.MEDIUM: 20})
    elapsed = time.monotonic() - started
    assert len(results) == 20
    assert elapsed < 1.2 * max(result.elapsed_seconds for result in results) + 0.5


async def test_concurrency_is_bounded_and_waiting_costs_no_check_its_time() -> None:
    results = await run_checks(routed("sound1", "sound2", "sound3"), context(), limits={Cost.MEDIUM: 1})
    assert [result.verdict for result in results] == [Verdict.PASSED] * 3
    assert all(result.elapsed_seconds < 0.35 for result in results)


async def test_cancellation_ends_every_check() -> None:
    task = asyncio.create_task(run_checks(routed("waiting", "sound1"), context()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["hung"]


def after(name: str, *needs: str, position: int = 9, phase: Phase = Phase.SIDE_BY_SIDE) -> RoutedCheck:
    return RoutedCheck(name=name, position=position, needs=needs, phase=phase)


@pytest.mark.parametrize(
    ("needed", "why"),
    [("refused", "failed"), ("broken", "could not be verified"), ("hung", "could not be verified")],
)
async def test_a_check_is_not_run_after_one_that_it_needs_and_that_did_not_pass(needed: str, why: str) -> None:
    results = await run_checks((*routed(needed), after("noted0", needed), after("noted1", "noted0")), context())
    assert [(result.verdict, result.signature) for result in results[1:]] == [(Verdict.COULD_NOT_VERIFY, "CHECK_NOT_RUN")] * 2
    assert results[1].detail == f"Not run: it needs {needed}, which {why}."
    assert "noted" not in str(ended)


@pytest.mark.parametrize("needed", ["sound1", "many", "optional"])
async def test_a_check_is_run_after_one_that_it_needs_and_that_hinders_nothing(needed: str) -> None:
    results = await run_checks((*routed(needed), after("noted0", needed)), context())
    assert results[-1].verdict is Verdict.PASSED
    assert ended == ["check noted0 begins", "check noted0 ends"]


async def test_what_writes_begins_when_all_else_is_over_and_what_measures_time_is_alone() -> None:
    route = (
        after("noted0", position=3),
        after("noted1", position=1, phase=Phase.ALONE),
        after("noted2", position=0, phase=Phase.WRITING),
        after("noted3", position=2, phase=Phase.WRITING),
    )
    await run_checks(route, context())
    assert ended == [f"check noted{n} {what}" for n in range(4) for what in ("begins", "ends")]


async def test_results_have_the_order_of_their_positions() -> None:
    results = await run_checks((after("refused", position=2), after("optional", position=1)), context())
    assert [result.name for result in results] == ["optional", "refused"]


async def test_a_check_cannot_answer_what_the_chain_would_not_understand() -> None:
    results = await run_checks(routed("refused", "junk", "leaves"), context())
    assert [(result.verdict, result.signature) for result in results] == [
        (Verdict.FAILED, "CUSTOM_CHECK_FAILED"),
        (Verdict.COULD_NOT_VERIFY, "CHECK_BROKEN"),
        (Verdict.COULD_NOT_VERIFY, "CHECK_BROKEN"),
    ]
    assert results[0].facts["own_code"] == "NO_SUCH_CODE"


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_check_keeps_the_contract(name: str) -> None:
    made = check(name)
    assert made.name == name
    assert made.default_timeout > 0
    documentation = type(made).__doc__ or ""
    assert "Proves" in documentation
    assert "Can't prove" in documentation


def test_signatures_of_checks_are_registered() -> None:
    from pathlib import Path

    import airflow_dr_provider.checks as room

    for file in Path(room.__path__[0]).glob("*.py"):
        for code in (word for line in file.read_text().splitlines() for word in line.split('"')[1::2]):
            if (
                code.isupper()
                and "_" in code
                and " " not in code
                and code.split("_")[0] in {"DATA", "INDEX", "SMOKE", "CHECK", "WAL", "QUERY", "WRITE", "SERVER", "DATABASE"}
            ):
                assert code in SIGNATURES, (file, code)
