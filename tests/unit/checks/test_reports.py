"""The checks that judge reports: nothing here needs a server."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_dr_provider.checks.checksum import ChecksumCheck
from airflow_dr_provider.checks.isolation import IsolationCheck
from airflow_dr_provider.checks.wal_replay import _judge
from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import BackupFault, FileReport, IsolationReport, Probe, ProbeResult, WalReport
from airflow_dr_provider.domain.verdicts import Verdict
from tests.unit.checks.contexts import RECOVERY, TARGET, context, coordinate, outcome

PASSED, FAILED, UNKNOWN = Verdict.PASSED, Verdict.FAILED, Verdict.COULD_NOT_VERIFY
FAULT = BackupFault(code="BACKUP_CHECKSUM_MISMATCH", path="base/5/1", detail="another checksum")


@pytest.mark.parametrize(
    ("files", "expected", "required"),
    [
        (FileReport(files=3, verified=True), (PASSED, None), True),
        (FileReport(files=3, verified=True, faults=(FAULT,)), (FAILED, "BACKUP_CHECKSUM_MISMATCH"), True),
        (FileReport(files=3, verified=False), (UNKNOWN, "NO_REFERENCE"), False),
        (FileReport(files=0, verified=True), (UNKNOWN, "NO_REFERENCE"), True),
    ],
)
async def test_checksum(files: FileReport, expected: tuple[Verdict, str | None], required: bool) -> None:
    results = await ChecksumCheck().run(context(files=files))
    assert outcome(results) == expected
    assert results[0].required is required
    assert not results[0].proves_data


HOLE = WalReport(missing=(SegmentRange(timeline=1, first=4, last=5),))
DAMAGE = WalReport(damaged=(SegmentRange(timeline=1, first=4, last=4),))
EXCLUSIVE = TARGET.model_copy(update={"inclusive": False})


def fork(**changes: Any) -> dict[str, Any]:
    return {"parent": 1, "lsn": "0/5000160", "reason": "after LSN 0/5000100", **changes}


@pytest.mark.parametrize(
    ("changes", "live", "code"),
    [
        ({}, None, None),
        ({}, fork(), None),
        ({"recovery": RECOVERY.model_copy(update={"reached": False})}, None, "RECOVERY_ENDED_EARLY"),
        ({"recovery": RECOVERY.model_copy(update={"replayed_lsn": TARGET.lsn})}, None, "RECOVERY_ENDED_EARLY"),
        ({"recovery": RECOVERY.model_copy(update={"replayed_lsn": None})}, None, "RECOVERY_ENDED_EARLY"),
        ({"recovery": RECOVERY.model_copy(update={"timeline": 2})}, None, "TIMELINE_MISMATCH"),
        ({"wal": HOLE}, None, "WAL_HOLE"),
        ({"wal": DAMAGE}, None, "WAL_SEGMENT_DAMAGED"),
        ({}, fork(reason="no recovery target specified"), "RECOVERY_ENDED_EARLY"),
        ({}, fork(lsn="0/4000000"), "RECOVERY_ENDED_EARLY"),
        ({}, fork(parent=3), "TIMELINE_MISMATCH"),
        ({"coordinate": coordinate(target=EXCLUSIVE)}, None, "TARGET_UNREACHABLE"),
    ],
)
def test_wal_replay(changes: dict[str, Any], live: dict[str, Any] | None, code: str | None) -> None:
    assert _judge(context(**changes), live)[0] == code


@pytest.mark.parametrize(
    ("replayed", "code"),
    [
        ("0/5000100", None),
        ("0/50000D8", None),  # a page's header lies between
        ("0/5000080", "RECOVERY_ENDED_EARLY"),
        ("0/5000108", "TARGET_UNREACHABLE"),
    ],
)
def test_an_exclusive_target_is_met_from_below(replayed: str, code: str | None) -> None:
    recovery = RECOVERY.model_copy(update={"replayed_lsn": Lsn(replayed)})
    assert _judge(context(coordinate=coordinate(target=EXCLUSIVE), recovery=recovery), None)[0] == code


TCP = Probe(label="production", address="10.0.0.1", port=5432)
SOCKET = Probe(label="socket", address="/var/run/postgresql", port=5432)
ALONE: tuple[str, ...] = ("network", "mount")


@pytest.mark.parametrize(
    ("wanted", "reached", "probes", "answers", "routes", "expected", "required"),
    [
        ("required", ALONE, (TCP, SOCKET), (False, False), [], (PASSED, None), True),
        ("required", ALONE, (TCP,), (True,), [], (FAILED, "ISOLATION_BREACHED"), True),
        ("preferred", ALONE, (TCP, SOCKET), (False, True), [], (FAILED, "ISOLATION_BREACHED"), True),
        ("preferred", (), (TCP,), (True,), ["eth0"], (UNKNOWN, "ISOLATION_UNAVAILABLE"), False),
        ("preferred", ("network",), (TCP, SOCKET), (False, True), [], (UNKNOWN, "ISOLATION_UNAVAILABLE"), False),
        ("required", (), (TCP,), (True,), ["eth0"], (FAILED, "ISOLATION_BREACHED"), True),
        ("required", (), (TCP,), (False,), ["eth0"], (UNKNOWN, "ISOLATION_UNAVAILABLE"), True),
        ("required", ALONE, (TCP,), (None,), [], (UNKNOWN, "ISOLATION_UNAVAILABLE"), True),
        ("required", ALONE, (TCP, SOCKET), (False,), [], (UNKNOWN, "ISOLATION_UNAVAILABLE"), True),
        ("off", (), (TCP,), (True,), ["eth0"], (UNKNOWN, "ISOLATION_UNAVAILABLE"), False),
        ("required", ALONE, (), (), [], (PASSED, None), True),
        ("required", ALONE, (), (), ["eth0"], (UNKNOWN, "ISOLATION_UNAVAILABLE"), True),
        ("required", ALONE, (), (), None, (UNKNOWN, "ISOLATION_UNAVAILABLE"), True),
    ],
)
async def test_isolation(
    monkeypatch: pytest.MonkeyPatch,
    wanted: Any,
    reached: tuple[str, ...],
    probes: tuple[Probe, ...],
    answers: tuple[bool | None, ...],
    routes: list[str] | None,
    expected: tuple[Verdict, str | None],
    required: bool,
) -> None:
    async def probe(asked: Any) -> tuple[ProbeResult, ...]:
        return tuple(
            ProbeResult(label=item.label, reached=answer, detail="tried") for item, answer in zip(asked, answers, strict=False)
        )

    async def seen(_: Any) -> list[str] | None:
        return routes

    monkeypatch.setattr("airflow_dr_provider.checks.isolation._routes", seen)
    results = await IsolationCheck().run(
        context(isolation=IsolationReport(wanted=wanted, reached=reached), probes=probes, probe=probe)
    )
    assert outcome(results) == expected
    assert results[0].required is required
