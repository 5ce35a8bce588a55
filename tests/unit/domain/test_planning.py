"""A plan: what tiers choose, in one table that agrees with itself."""

from __future__ import annotations

import random
from typing import Any

from airflow_dr_provider.domain.acknowledgement import Acknowledgement
from airflow_dr_provider.domain.catalog import Backup, WalArchive
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.plan import Plan
from airflow_dr_provider.domain.planning import Unreachable, choose, put_together, stand_in
from airflow_dr_provider.domain.selection import select
from airflow_dr_provider.domain.soundness import sound_backups
from airflow_dr_provider.domain.target import RecoveryTarget, Resolution, ResolvedTarget, TargetKind
from airflow_dr_provider.domain.wal import segment_name
from tests.unit.domain.builders import NOON, SIZE, archive, at, backup, catalog, fork, inputs, minutes, point, segments, target
from tests.unit.domain.test_selection_laws import make_inputs
from tests.unit.domain.worlds import make_world

WAL = archive(segments(1, 1, 20))
TO = target(15.5)


def plan(
    wal: WalArchive,
    *backups: Backup,
    to: ResolvedTarget = TO,
    tiers: dict[str, dict[str, Any]] | None = None,
    **fields: Any,
) -> Plan:
    choices = [choose(name, inputs(wal, *backups, to=to, **more)) for name, more in (tiers or {"primary": {}}).items()]
    values: dict[str, Any] = {"resolution": Resolution(target=to), "choices": choices}
    return put_together(drill="orders", as_of=NOON, catalog=catalog(wal, *backups), **{**values, **fields})


def name(number: int, timeline: int = 1) -> str:
    return segment_name(timeline, number, SIZE)


def test_each_tier_takes_its_own_and_falls_back() -> None:
    tiers = {"near": {"runnable_versions": (18,)}, "far": {"runnable_versions": (17,)}, "none": {"runnable_versions": (9,)}}
    found = plan(WAL, backup("a", 2), backup("b", 8), backup("c", 10, server_version=17), tiers=tiers)
    assert [(tier.name, tier.candidate, tier.falls_back_to) for tier in found.tiers] == [
        ("near", "b", "a"),
        ("far", "c", None),
        ("none", None, None),
    ]
    assert [tier.reason for tier in found.tiers] == ["reaches_target", "reaches_target", "NO_CANDIDATE"]
    assert found.possible
    assert [(row.id, row.eligible, row.reasons) for row in found.candidates] == [
        ("c", True, ()),
        ("b", True, ()),
        ("a", True, ()),
    ]
    assert found.candidates[0].tiers == {
        "near": ("version_not_runnable",),
        "far": (),
        "none": ("version_not_runnable",),
    }


def test_what_no_tier_takes_shows_every_tiers_reasons() -> None:
    found = plan(WAL, backup("a", 2), tiers={"x": {"runnable_versions": (9,)}, "y": {"lookback_seconds": 1.0}})
    assert not found.possible
    assert found.candidates[0].reasons == ("version_not_runnable", "outside_lookback")
    assert set(found.candidates[0].details) == set(found.candidates[0].reasons)


def test_a_backup_whose_base_is_refused_is_no_fall_back() -> None:
    found = plan(WAL, backup("full", 4), backup("incr", 6, chain=("full",)), backup("old", 2))
    assert (found.tiers[0].candidate, found.tiers[0].falls_back_to) == ("incr", "full")
    found = plan(WAL, backup("full", 6), backup("incr", 4, chain=("full",)), backup("old", 2))
    assert (found.tiers[0].candidate, found.tiers[0].falls_back_to) == ("full", "old")


def test_what_is_reachable_ends_with_the_last_contiguous_segment() -> None:
    wal = archive(segments(1, 1, 8), segments(1, 11, 20))
    found = {row.id: row.reachable for row in plan(wal, backup("a", 2), backup("b", 12), backup("c", 9)).candidates}
    assert (found["a"].lsn, found["a"].consistent) == (at(9), True)
    assert found["a"].hole is not None
    assert (found["a"].hole.first, found["a"].hole.last) == (name(9), name(10))
    assert (found["b"].lsn, found["b"].hole) == (at(21), None)
    assert (found["c"].lsn, found["c"].consistent) == (None, False)


def test_off_the_way_it_is_told_how_far_its_own_timeline_carries() -> None:
    wal = archive(segments(1, 1, 12), segments(2, 5, 20), forks=(fork(2, 1, 5.5),))
    found = plan(wal, backup("a", 2), backup("b", 8), to=target(15.5, timeline=2), times={"a": minutes(3), "b": minutes(3)})
    rows = {row.id: row for row in found.candidates}
    assert (rows["b"].reasons, rows["b"].reachable.timeline) == (("wrong_timeline",), 1)
    assert (rows["b"].reachable.lsn, rows["b"].reachable.time) == (at(13), None)
    assert (rows["a"].reachable.timeline, rows["a"].reachable.lsn, rows["a"].reachable.time) == (2, at(21), minutes(3))


def test_short_candidates_say_so() -> None:
    wal = archive(segments(1, 1, 8), segments(1, 11, 20))
    found = plan(wal, backup("a", 2), tiers={"primary": {"stopping_points": {"a": point(8.5)}}})
    assert (found.tiers[0].candidate, found.tiers[0].reason) == ("a", "short_of_target")
    assert found.candidates[0].short
    assert "0/9000000" in found.candidates[0].details["short_of_target"]


def test_holes_on_the_way_and_off_it() -> None:
    wal = archive(segments(1, 1, 3), segments(1, 5, 9), segments(1, 11, 12), segments(2, 6, 20), forks=(fork(2, 1, 6.5),))
    found = plan(wal, backup("a", 2), backup("b", 7), to=target(15.5, timeline=2))
    assert [(hole.first, hole.last, hole.on_path) for hole in found.holes] == [
        (name(4), name(4), True),
        (name(10), name(10), False),
    ]


def test_for_other_targets_than_latest_the_way_ends_at_the_target() -> None:
    wal = archive(segments(1, 1, 8), segments(1, 11, 20))
    latest = plan(wal, backup("a", 2), to=target(6))
    position = plan(wal, backup("a", 2), to=target(6, kind=TargetKind.LSN))
    assert [hole.on_path for hole in latest.holes + position.holes] == [True, False]


def test_acknowledged_holes() -> None:
    wal = archive(segments(1, 1, 8), segments(1, 11, 20))
    part = Acknowledgement(first=name(9), last=name(9), reason="the disk")
    whole = Acknowledgement(first=name(9), last=name(10), reason="the disk")
    (grown,) = plan(wal, backup("a", 2), acknowledged=(part,)).holes
    (known,) = plan(wal, backup("a", 2), acknowledged=(whole,)).holes
    assert (grown.acknowledged, [(left.first, left.last) for left in grown.open]) == (None, [(name(10), name(10))])
    assert (known.acknowledged, known.open) == ("the disk", ())
    assert not plan(wal, backup("a", 2), acknowledged=(whole,)).possible  # it makes no backup eligible


def test_segments_found_damaged_are_holes() -> None:
    found = plan(WAL, backup("a", 2), tiers={"primary": {"bad": (segments(1, 7),)}}, bad=(segments(1, 7),))
    assert [(hole.first, hole.last) for hole in found.holes] == [(name(7), name(7))]
    assert found.candidates[0].reasons == ("wal_hole_before_target",)


def test_a_target_that_leads_nowhere() -> None:
    asked = RecoveryTarget(kind=TargetKind.RESTORE_POINT, value="never")
    nowhere = Unreachable(code="TARGET_UNREACHABLE", detail="there is none")
    resolution = stand_in(catalog(WAL, backup("a", 2)), asked, 1)
    assert resolution.target.lsn == at(21) - 1
    found = plan(WAL, backup("a", 2), backup("b", 4, chain=("x",)), to=resolution.target, nowhere=nowhere)
    assert not found.possible
    assert [(tier.candidate, tier.reason) for tier in found.tiers] == [(None, "TARGET_UNREACHABLE")]
    assert {row.id: row.reasons for row in found.candidates} == {"a": ("target_unreachable",), "b": ("base_missing",)}
    assert (found.target.lsn, found.target.note) == (None, "there is none")


def test_a_stand_in_without_any_wal() -> None:
    asked = RecoveryTarget()
    assert stand_in(catalog(archive(), backup("a", 2)), asked, 1).target.lsn == Lsn((1 << 64) - 1)
    position = RecoveryTarget(kind=TargetKind.LSN, value="5/0")
    assert stand_in(catalog(WAL, backup("a", 2)), position, 1).target.lsn == Lsn("5/0")


def test_an_estimate_shows_no_time() -> None:
    found = plan(WAL, backup("a", 2), resolution=Resolution(target=TO, exact=False))
    assert (found.target.time, found.target.exact) == (None, False)
    assert plan(WAL, backup("a", 2)).target.time == TO.time


def test_plans_of_generated_worlds_agree_with_the_selection() -> None:
    possible = 0
    for seed in range(3_000):
        world = make_world(random.Random(seed).randint)
        made = make_inputs(world, random.Random(seed).randint)
        choice = choose("primary", made)
        found = put_together(
            drill="d",
            as_of=NOON,
            catalog=made.catalog,
            resolution=Resolution(target=made.target),
            choices=[choice],
            bad=made.bad,
        )
        table = select(made)
        chosen = table.chosen.backup_id if table.chosen is not None else None
        assert found.tiers[0].candidate == chosen, seed
        assert [row.id for row in found.candidates if row.eligible] == [row.backup_id for row in table.rows if row.eligible]
        for row in found.candidates:
            assert row.eligible == (row.reasons == ()) == (row.score is not None)
            assert sum(row.terms.values()) == (row.score or 0)
            assert set(row.reasons) <= set(row.details)
        if choice.following is not None and choice.following.chosen is not None:
            assert chosen not in {choice.following.chosen.backup_id, *choice.following.chosen.chain}
        if made.target.requested.kind is TargetKind.LATEST:
            check_ways(found, {backup.id for backup in sound_backups(made.catalog)})
        possible += found.possible
    assert possible > 150


def check_ways(found: Plan, sound: set[str]) -> None:
    """Every hole that ends a sound backup's way to the target is in the list, and is said to be on the way."""
    for row in found.candidates:
        hole = row.reachable.hole
        if row.id in sound and hole is not None and row.reachable.timeline == found.target.timeline:
            assert any(
                listed.on_path and listed.timeline == hole.timeline and listed.first <= hole.first <= listed.last
                for listed in found.holes
            )


def test_the_document_reads_back() -> None:
    found = plan(WAL, backup("a", 2), notes=("a note",))
    assert Plan.model_validate_json(found.model_dump_json()) == found
    document = found.model_dump(mode="json")
    assert set(document) >= {"drill", "target", "as_of", "candidates", "holes", "tiers"}
    assert set(document["candidates"][0]) >= {
        "id", "repository", "type", "stop_time", "timeline", "eligible", "reasons", "score", "terms", "reachable",
    }  # fmt: skip
