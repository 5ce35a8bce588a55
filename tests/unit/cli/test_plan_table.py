"""A plan for a person: at most a hundred columns, the same in any terminal, and nothing left out without a word."""

from __future__ import annotations

import io

from rich.console import Console

from airflow_dr_provider.cli.plan_table import WIDTH, show
from airflow_dr_provider.domain.acknowledgement import Acknowledgement
from airflow_dr_provider.domain.plan import Plan
from airflow_dr_provider.domain.wal import segment_name
from tests.unit.domain.builders import SIZE, archive, backup, minutes, segments
from tests.unit.domain.test_planning import plan


def shown(found: Plan, *, everything: bool = False) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, highlight=False)
    show(found, everything=everything, console=console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= WIDTH
    return " ".join(text.split())


def test_a_plan_says_which_why_and_what_is_missing() -> None:
    wal = archive(segments(1, 1, 8), segments(1, 11, 20))
    acknowledged = (
        Acknowledgement(first=segment_name(1, 9, SIZE), last=segment_name(1, 10, SIZE), reason="the disk of March"),
    )
    tiers = {"near": {}, "far": {"runnable_versions": (17,)}}
    backups = (backup("a", 2), backup("b", 12), backup("c", 14, server_version=17))
    text = shown(plan(wal, *backups, tiers=tiers, times={"b": minutes(3)}, acknowledged=acknowledged, notes=("a word [more]",)))
    assert "near c b" in text
    assert "far c -" in text
    assert "not for far: it needs PostgreSQL 18" in text
    assert "000000010000000000000009 00000001000000000000000A on the way to the target; stops a" in text
    assert "acknowledged: the disk of March" in text
    assert "2026-06-01 11:57:00" in text
    assert "a word [more]" in text  # no markup


def test_a_very_long_name_stays_within_the_width() -> None:
    long = "20260101-000000F_" + "x" * 120
    assert long in shown(plan(archive(segments(1, 1, 20)), backup(long, 2))).replace(" ", "")


def test_very_many_backups_are_counted() -> None:
    backups = [backup(f"b{number:03}", 2 + number / 100, age=number) for number in range(60)]
    found = plan(archive(segments(1, 1, 20)), *backups, tiers={"primary": {"lookback_seconds": 1800.0}})
    text = shown(found)
    assert "… and 40 more (29 outside lookback, 11 eligible); --all shows them" in text
    assert text.count("b0") < shown(found, everything=True).count("b0")
    assert "more (" not in shown(found, everything=True)
