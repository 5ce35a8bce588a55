"""Selection by hand: each reason both ways, the score, the coordinate, and why nothing was chosen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, BackupKind, WalArchive
from airflow_dr_provider.domain.selection import Ineligibility, Row, SelectionTable, select
from airflow_dr_provider.domain.signatures import SIGNATURES
from airflow_dr_provider.domain.target import ResolvedTarget, TargetKind
from tests.unit.domain.builders import NOON, archive, at, backup, fork, inputs, minutes, point, segments, target

WAL = archive(segments(1, 1, 20))
TO = target(15.5)
OLD = backup("old", 2)


def row(table: SelectionTable, name: str) -> Row:
    return next(row for row in table.rows if row.backup_id == name)


def codes(found: Row) -> list[Ineligibility]:
    return [code for code, _ in found.reasons]


def judge(subject: Backup, *, wal: WalArchive = WAL, to: ResolvedTarget = TO, **fields: Any) -> list[Ineligibility]:
    return codes(row(select(inputs(wal, OLD, subject, to=to, **fields)), subject.id))


def test_a_sound_backup_is_eligible() -> None:
    assert judge(backup("b", 10)) == []


@pytest.mark.parametrize("flaw", list(BackupFlaw))
def test_every_flaw_is_a_reason_of_its_name(flaw: BackupFlaw) -> None:
    subject = backup("b", 10, flaws=(flaw,), note="its tar ends early")
    table = select(inputs(WAL, OLD, subject, to=TO))
    assert codes(row(table, "b")) == [Ineligibility(flaw.value)]
    assert "its tar ends early" in row(table, "b").reasons[0][1]
    assert table.chosen is not None
    assert table.chosen.backup_id == "old"


INCREMENT = backup("b", 10, kind=BackupKind.INCREMENTAL, chain=("old",))


@pytest.mark.parametrize(
    ("subject", "fields", "expected"),
    [
        (backup("b", 10, chain=("gone",)), {}, Ineligibility.BASE_MISSING),
        (backup("b", 10, timeline=None), {}, Ineligibility.POSITION_UNKNOWN),
        (backup("b", 10, start_lsn=None), {}, Ineligibility.POSITION_UNKNOWN),
        (backup("b", 10, stop_lsn=None), {}, Ineligibility.POSITION_UNKNOWN),
        (backup("b", 10), {"quarantined": {"b": "BACKUP_FILE_MISSING"}}, Ineligibility.QUARANTINED),
        (INCREMENT, {"quarantined": {"old": "BACKUP_FILE_MISSING"}}, Ineligibility.QUARANTINED),
        (backup("b", 10), {"refused": {"b": "ROW_COUNT_DROPPED"}}, Ineligibility.REFUSED),
        (INCREMENT, {"refused": {"old": "ROW_COUNT_DROPPED"}}, Ineligibility.REFUSED),
        (backup("b", 10, server_version=17), {"runnable_versions": (18, 15)}, Ineligibility.VERSION_NOT_RUNNABLE),
        (backup("b", 10, server_version=None), {}, Ineligibility.VERSION_NOT_RUNNABLE),
        (backup("b", 10, timeline=2), {}, Ineligibility.WRONG_TIMELINE),
        (backup("b", 15, 15.6), {}, Ineligibility.AFTER_TARGET),
        (backup("b", 10, stop_time=NOON + timedelta(seconds=1)), {}, Ineligibility.AFTER_MOMENT),
        (backup("b", 10, stop_time=NOON - timedelta(hours=2)), {"lookback_seconds": 7199}, Ineligibility.OUTSIDE_LOOKBACK),
        (backup("b", 10, 12.5), {"bad": (segments(1, 11),)}, Ineligibility.WAL_HOLE_BEFORE_CONSISTENCY),
        (backup("b", 10), {"bad": (segments(1, 12),)}, Ineligibility.WAL_HOLE_BEFORE_TARGET),
        (backup("b", 10, 12.5), {"bad": (segments(1, 11, 20),)}, Ineligibility.WAL_ENDS_BEFORE_CONSISTENCY),
        (backup("b", 10), {"bad": (segments(1, 12, 20),)}, Ineligibility.WAL_ENDS_BEFORE_TARGET),
        (backup("b", 10), {"rpo_seconds": 59}, Ineligibility.RPO_EXCEEDED),
    ],
)
def test_each_reason_alone(subject: Backup, fields: dict[str, Any], expected: Ineligibility) -> None:
    assert judge(subject, **fields) == [expected]


@pytest.mark.parametrize(
    ("subject", "fields"),
    [
        (INCREMENT, {}),
        (INCREMENT, {"quarantined": {"another": "X"}, "refused": {"another": "X"}}),
        (backup("b", 10, system_identifier=None), {}),
        (backup("b", 10, server_version=17), {"runnable_versions": (17,)}),
        (backup("b", 15, 15.5), {}),
        (backup("b", 10, stop_time=NOON), {}),
        (backup("b", 10, stop_time=None), {"lookback_seconds": 1}),
        (backup("b", 10, stop_time=NOON - timedelta(hours=2)), {"lookback_seconds": 7200}),
        (backup("b", 10), {"bad": (segments(1, 1, 9), segments(1, 16, 20))}),
        (backup("b", 10), {"rpo_seconds": 60}),
        (backup("b", 10), {"to": target(15.5, age=None), "rpo_seconds": 1}),
        # For a target other than latest positions decide, not the second in which some clock saw the backup end.
        (backup("b", 10, stop_time=NOON + timedelta(seconds=1)), {"to": target(15.5, kind=TargetKind.TIME)}),
    ],
)
def test_the_other_side_of_each_reason(subject: Backup, fields: dict[str, Any]) -> None:
    assert judge(subject, **fields) == []


def test_a_base_that_cannot_be_used_bars_what_builds_on_it_and_no_more() -> None:
    damaged = backup("full", 4, flaws=(BackupFlaw.MANIFEST_DAMAGED,))
    table = select(inputs(WAL, OLD, damaged, backup("i1", 6, chain=("full",)), backup("i2", 8, chain=("i1", "full")), to=TO))
    assert codes(row(table, "i1")) == codes(row(table, "i2")) == [Ineligibility.BASE_FLAWED]
    assert row(table, "old").eligible


def test_quarantine_spreads_down_the_chain_and_no_further() -> None:
    chain = (backup("full", 4), backup("i1", 6, chain=("full",)), backup("i2", 8, chain=("i1", "full")))
    table = select(inputs(WAL, OLD, *chain, to=TO, quarantined={"i1": "BACKUP_CHECKSUM_MISMATCH"}))
    assert [row(table, name).eligible for name in ("full", "i1", "i2", "old")] == [True, False, False, True]
    assert table.chosen is not None
    assert table.chosen.backup_id == "full"
    assert row(table, "i2").reasons == (
        (Ineligibility.QUARANTINED, "it builds on i1, which is in quarantine: BACKUP_CHECKSUM_MISMATCH"),
    )


def test_all_reasons_of_a_row_are_told_in_a_fixed_order() -> None:
    subject = backup("b", 10, flaws=(BackupFlaw.ERROR_FLAG, BackupFlaw.INCOMPLETE), server_version=9)
    fields: dict[str, Any] = {"runnable_versions": (18,), "refused": {"b": "X"}, "rpo_seconds": 1, "lookback_seconds": 1}
    found = judge(subject, **fields, bad=(segments(1, 12),))
    assert found == [
        Ineligibility.INCOMPLETE,
        Ineligibility.ERROR_FLAG,
        Ineligibility.REFUSED,
        Ineligibility.VERSION_NOT_RUNNABLE,
        Ineligibility.OUTSIDE_LOOKBACK,
        Ineligibility.WAL_HOLE_BEFORE_TARGET,
        Ineligibility.RPO_EXCEEDED,
    ]


def test_whose_cluster_it_is_when_the_repository_does_not_know() -> None:
    foreign = backup("z", 12, system_identifier=1)
    assert judge(foreign) == []  # one against one: the newest decides
    table = select(inputs(WAL, OLD, backup("b", 8), foreign, to=TO))
    assert codes(row(table, "z")) == [Ineligibility.OTHER_SYSTEM]
    knowing = inputs(WAL, OLD, backup("b", 8), foreign, to=TO)
    knowing = knowing.model_copy(update={"catalog": knowing.catalog.model_copy(update={"system_identifier": 1})})
    assert [found.backup_id for found in select(knowing).rows if found.eligible] == ["z"]


# -- score ---------------------------------------------------------------------------------------------------------------
def test_the_newest_sound_backup_wins_also_over_a_full_one() -> None:
    table = select(inputs(WAL, OLD, backup("full", 8), backup("incr", 9, chain=("full",)), to=TO))
    assert [found.backup_id for found in table.rows] == ["incr", "full", "old"]
    for found in table.rows:
        assert found.score == sum(term.value * term.weight for term in found.terms)
    assert [term.name for term in table.rows[0].terms] == [
        "reaches_target",
        "segments_short",
        "segments_to_replay",
        "chain_links",
        "carries_own_wal",
    ]


def test_integrity_decides_within_a_segment_then_the_newer_stop_then_the_id() -> None:
    full, increment = backup("a", 9.1, 9.2), backup("b", 9.3, 9.4, chain=("old",))
    assert select(inputs(WAL, OLD, full, increment, to=TO)).rows[0].backup_id == "a"
    carrying = backup("c", 9.05, 9.1, own_wal=(segments(1, 9),))
    assert select(inputs(WAL, OLD, full, carrying, to=TO)).rows[0].backup_id == "c"
    newer = backup("d", 9.3, 9.4)
    assert select(inputs(WAL, OLD, full, newer, to=TO)).rows[0].backup_id == "d"
    assert select(inputs(WAL, full.model_copy(update={"id": "e"}), full, to=TO)).rows[0].backup_id == "a"


def test_a_backup_that_was_tried_in_vain_may_be_chosen_again() -> None:
    table = select(inputs(WAL, OLD, backup("b", 10), to=TO, tried=("b",)))
    assert table.rows[0].backup_id == "b"
    assert table.rows[0].tried
    assert not table.rows[1].tried


# -- the coordinate --------------------------------------------------------------------------------------------------------
def test_the_way_is_cut_after_the_targets_segment_and_one_more() -> None:
    chosen = select(inputs(WAL, backup("b", 10, chain=("old",), size_bytes=7), OLD, to=TO)).chosen
    assert chosen is not None
    assert chosen.wal == (segments(1, 10, 16),)
    assert (chosen.chain, chosen.size_bytes, chosen.server_version, chosen.short) == (("old",), 7, 18, False)
    assert chosen.target == TO
    assert chosen.histories == ()
    ending = select(inputs(archive(segments(1, 1, 15)), OLD, to=TO)).chosen
    assert ending is not None
    assert ending.wal == (segments(1, 2, 15),)


def test_a_way_over_timelines_names_every_history() -> None:
    wal = archive(segments(1, 1, 7), segments(2, 5, 9), segments(3, 8, 20), forks=(fork(2, 1, 5.5), fork(3, 2, 8.5)))
    chosen = select(inputs(wal, OLD, to=target(15.5, timeline=3))).chosen
    assert chosen is not None
    assert chosen.wal == (segments(1, 2, 4), segments(2, 5, 7), segments(3, 8, 16))
    assert chosen.histories == (2, 3)


def test_segments_that_only_the_backup_holds_are_not_asked_of_the_archive() -> None:
    wal = archive(segments(1, 1, 9), segments(1, 11, 20))
    chosen = select(inputs(wal, backup("b", 9.2, 10.5, own_wal=(segments(1, 9, 10),)), to=TO)).chosen
    assert chosen is not None
    assert chosen.wal == (segments(1, 9), segments(1, 11, 16))


# -- short of the target -----------------------------------------------------------------------------------------------------
HOLED = archive(segments(1, 1, 8), segments(1, 11, 20))


def test_latest_may_end_before_a_hole_within_the_rpo() -> None:
    table = select(inputs(HOLED, OLD, to=TO, stopping_points={"old": point(8.5, age=30)}))
    chosen = table.chosen
    assert chosen is not None
    assert chosen.short
    assert table.rows[0].short
    assert (chosen.target.lsn, chosen.target.inclusive, chosen.target.time) == (at(8.5), True, minutes(30))
    assert chosen.target.requested == TO.requested
    assert "000000010000000000000009" in chosen.target.note
    assert chosen.wal == (segments(1, 2, 8),)


def test_reaching_the_target_beats_any_short_one() -> None:
    wal = archive(segments(1, 1, 9), segments(1, 11, 20))
    table = select(inputs(wal, OLD, backup("deep", 11, chain=("old",)), to=target(18), stopping_points={"old": point(9.9)}))
    assert [(found.backup_id, found.eligible, found.short) for found in table.rows] == [
        ("deep", True, False),
        ("old", True, True),
    ]
    assert table.chosen is not None
    assert not table.chosen.short


def test_among_short_ones_less_lost_wal_wins() -> None:
    wal = archive(segments(1, 1, 4), segments(1, 6, 8), segments(1, 11, 20))
    points = {"old": point(4.9, age=50), "b": point(8.5, age=30)}
    table = select(inputs(wal, OLD, backup("b", 6, chain=("old",)), to=TO, stopping_points=points))
    assert [found.backup_id for found in table.rows] == ["b", "old"]


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        (2.4, {}),  # before the backup is consistent
        (9.5, {}),  # in the hole
        (16.0, {}),  # beyond the target
        (8.5, {"to": target(15.5, kind=TargetKind.TIME)}),  # only for latest
        (8.5, {"to": target(15.5, kind=TargetKind.LSN)}),
    ],
)
def test_stopping_points_that_cannot_serve(where: float, fields: dict[str, Any]) -> None:
    table = select(inputs(HOLED, OLD, **{"to": TO, **fields}, stopping_points={"old": point(where)}))
    assert table.chosen is None
    assert table.reason == "WAL_HOLE"


# -- nothing chosen -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wal", "backups", "fields", "reason"),
    [
        (WAL, (), {}, "NO_CANDIDATE"),
        (WAL, (OLD,), {"rpo_seconds": 1}, "RPO_EXCEEDED"),
        (HOLED, (OLD,), {"stopping_points": {"old": point(8.5, age=61)}}, "RPO_EXCEEDED"),
        (HOLED, (OLD,), {}, "WAL_HOLE"),
        (HOLED, (OLD,), {"rpo_seconds": 1}, "WAL_HOLE"),
        (HOLED, (OLD, backup("b", 12)), {"refused": {"b": "DATA_STALE"}}, "WAL_HOLE"),
        (WAL, (OLD,), {"to": target(25)}, "TARGET_UNREACHABLE"),
        (WAL, (OLD,), {"to": target(2.25)}, "TARGET_UNREACHABLE"),
        (WAL, (OLD,), {"to": target(3, timeline=2)}, "TARGET_UNREACHABLE"),
        (WAL, (OLD, backup("b", 12, 16)), {"refused": {"old": "X"}}, "NO_CANDIDATE"),
        (WAL, (OLD,), {"refused": {"old": "X"}}, "NO_CANDIDATE"),
        (WAL, (OLD,), {"lookback_seconds": 1}, "NO_CANDIDATE"),
        (WAL, (backup("b", 2, flaws=(BackupFlaw.INCOMPLETE,)),), {}, "NO_CANDIDATE"),
    ],
)
def test_why_nothing_was_chosen(wal: WalArchive, backups: tuple[Backup, ...], fields: dict[str, Any], reason: str) -> None:
    table = select(inputs(wal, *backups, **{"to": TO, **fields}))
    assert table.chosen is None
    assert table.reason == reason
    assert reason in SIGNATURES
    assert table.detail.endswith(".")
    assert all(found.score is None and found.terms == () and not found.short for found in table.rows)
