"""What may be injected, and whether a drill made of it what was expected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.chain import AttemptHistory, unroll
from airflow_dr_provider.domain.fault_list import FAULTS
from airflow_dr_provider.domain.injection import Found, Injection, InjectionReport, parse_injections, report
from airflow_dr_provider.domain.verdicts import StageName, StageResult, Verdict
from airflow_dr_provider.errors import SpecError

TIERS = ("primary", "cold")
RUNGS = unroll([("primary", "staging", 0), ("cold", "cold_storage", 0)], 3)


def attempt(
    rung: int, backup: str, code: str | None = None, *, stage: StageName = StageName.VALIDATE, **more: str
) -> AttemptHistory:
    verdict = Verdict.PASSED if code is None else Verdict.FAILED
    left = more.get("teardown")
    torn = StageResult(stage=StageName.TEARDOWN, verdict=Verdict.FAILED if left else Verdict.PASSED, signature=left)
    return AttemptHistory(
        rung=rung, candidate=backup, results=(StageResult(stage=stage, verdict=verdict, signature=code), torn)
    )


def judged(text: str, *history: AttemptHistory, done: bool = True) -> InjectionReport:
    (injection,) = parse_injections([text], TIERS)
    (found,) = report([injection], RUNGS, history, {injection.text} if done else set())
    return found


def test_the_first_tier_is_meant_when_none_is_named() -> None:
    assert parse_injections(["heap_bytes", "disk_full@cold"], TIERS) == (
        Injection(fault="heap_bytes", tier="primary"),
        Injection(fault="disk_full", tier="cold"),
    )


@given(st.lists(st.tuples(st.sampled_from(sorted(FAULTS)), st.sampled_from(TIERS)), unique=True, max_size=6))
def test_what_is_kept_reads_back(pairs: list[tuple[str, str]]) -> None:
    found = parse_injections([f"{fault}@{tier}" for fault, tier in pairs], TIERS)
    assert parse_injections([injection.text for injection in found], TIERS) == found


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["heap_byte"], "--list"),
        ([""], "--list"),
        (["heap_bytes@tertiary"], "its tiers are primary, cold"),
        (["heap_bytes@"], "no tier ''"),
        (["heap_bytes", "heap_bytes@primary"], "twice"),
    ],
)
def test_what_is_not_known_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(SpecError, match=said) as raised:
        parse_injections(texts, TIERS)
    assert raised.value.code == "INJECTION_REFUSED"


def test_a_fault_that_was_noticed_is_as_expected() -> None:
    found = judged("heap_bytes", attempt(0, "b", "DATA_CORRUPT"), attempt(1, "a"))
    assert (found.as_expected, found.signature, found.move) == (True, "DATA_CORRUPT", Found.ANOTHER_BACKUP)
    assert judged("server_killed", attempt(0, "b", "SERVER_DIED"), attempt(1, "b")).as_expected
    assert judged("heap_bytes@cold", attempt(0, "b", "DISK_FULL"), attempt(1, "b", "DATA_CORRUPT")).move is Found.ENDED


@pytest.mark.parametrize(
    ("text", "history", "words"),
    [
        ("heap_bytes", (attempt(0, "b"),), "amcheck finds it"),
        ("heap_bytes", (attempt(0, "b", "SMOKE_FAILED"), attempt(1, "a")), "expected PAGE_CHECKSUM_MISMATCH or DATA_CORRUPT"),
        ("heap_bytes", (attempt(0, "b", "DATA_CORRUPT"), attempt(1, "b")), "with the same backup"),
        ("heap_bytes@cold", (attempt(0, "b"),), "did not come to an end"),
        ("server_killed", (attempt(0, "b", "SERVER_DIED"), attempt(1, "a")), "with another backup"),
        ("teardown_fails", (attempt(0, "b"),), "nothing was found"),
    ],
)
def test_what_differs_is_said(text: str, history: tuple[AttemptHistory, ...], words: str) -> None:
    found = judged(text, *history)
    assert not found.as_expected
    assert found.detail.startswith("NOT as expected")
    assert words in found.detail


def test_damage_that_was_not_done_proves_nothing() -> None:
    found = judged("heap_bytes", attempt(0, "b", "DATA_CORRUPT"), attempt(1, "a"), done=False)
    assert (found.as_expected, found.struck) == (False, False)


def test_a_teardown_that_failed_is_looked_for_where_it_is() -> None:
    assert judged("teardown_fails", attempt(0, "b", teardown="CLEANUP_FAILED")).as_expected
    assert not judged("teardown_fails", attempt(0, "b", "DISK_FULL", teardown="CLEANUP_FAILED"), attempt(1, "b")).as_expected
