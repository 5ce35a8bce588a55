from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar

import pytest

from airflow_dr_provider.checks.base import CHECKS, CheckContext, check
from airflow_dr_provider.checks.gate import run_checks
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
    }.items():
        monkeypatch.setitem(CHECKS, name, f"{__name__}:{kind.__name__}")
    monkeypatch.setitem(CHECKS, "absent", "airflow_dr_provider.checks.absent:Absent")


async def test_one_broken_check_spoils_no_other() -> None:
    names = ("many", "broken", "hung", "own_timeout", "cancels", "absent", "unknown", "sound1", "many")
    results = await run_checks(names, context())
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
    results = await run_checks(tuple(f"sound{n}" for n in range(20)), context(), concurrency=20)
    elapsed = time.monotonic() - started
    assert len(results) == 20
    assert elapsed < 1.2 * max(result.elapsed_seconds for result in results) + 0.5


async def test_concurrency_is_bounded_and_waiting_costs_no_check_its_time() -> None:
    results = await run_checks(("sound1", "sound2", "sound3"), context(), concurrency=1)
    assert [result.verdict for result in results] == [Verdict.PASSED] * 3
    assert all(result.elapsed_seconds < 0.35 for result in results)


async def test_cancellation_ends_every_check() -> None:
    task = asyncio.create_task(run_checks(("waiting", "sound1"), context()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["hung"]


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
                and code.split("_")[0] in {"DATA", "INDEX", "SMOKE", "CHECK", "WAL"}
            ):
                assert code in SIGNATURES, (file, code)
