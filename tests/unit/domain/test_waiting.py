"""Waits as values: delays that are known beforehand and spread, and what may go into a trigger's arguments."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.reports import SandboxHandle
from airflow_dr_provider.domain.signatures import SIGNATURES, Recoverability
from airflow_dr_provider.domain.verdicts import StageName
from airflow_dr_provider.domain.waiting import TRANSIENT, Waiting, WaitState, backoff, share


@given(st.text(), st.integers(1, 60), st.floats(0.1, 10), st.floats(10, 1000))
def test_a_delay_lies_between_half_and_all_of_its_step(key: str, number: int, base: float, cap: float) -> None:
    full = min(cap, base * 2.0 ** min(number - 1, 32))
    found = backoff(key, number, base=base, cap=cap)
    assert full / 2 <= found <= full
    assert found == backoff(key, number, base=base, cap=cap)


def test_keys_are_spread_over_the_whole_interval() -> None:
    shares = sorted(share(f"dr-{number}/validate/1") for number in range(1000))
    assert max(after - before for before, after in zip([0.0, *shares], [*shares, 1.0], strict=True)) < 0.02


def test_what_hinders_only_the_asking_heals_by_itself() -> None:
    assert all(SIGNATURES[code].recoverability is Recoverability.SELF_HEALING for code in TRANSIENT)
    assert SIGNATURES["REMOTE_FAILED"].recoverability is Recoverability.FATAL


@pytest.mark.parametrize("state", WaitState)
def test_only_what_the_environment_may_be_at_is_open(state: WaitState) -> None:
    assert state.open is (state in (WaitState.INTENDED, WaitState.BEGUN))


def test_a_wait_is_json_and_reads_back() -> None:
    waiting = Waiting(
        run_id="orders:manual", rung=0, stage=StageName.RESTORE, number=2, kind="acme", settings={"conn_id": "acme"},
        workdir="/w", handle=SandboxHandle(kind="acme", name="dr-a", place="p"), detail="d", poll_seconds=3,
        deadline=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert Waiting.model_validate(json.loads(json.dumps(waiting.model_dump(mode="json")))) == waiting
    assert waiting.key == "dr-a/restore/2"
