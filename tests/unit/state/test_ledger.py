"""The verification ledger, on either database."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from airflow_dr_provider.domain.catalog import SegmentRange
from airflow_dr_provider.domain.reports import BackupFault
from airflow_dr_provider.domain.verification import RepositoryItem, Verified
from airflow_dr_provider.errors import StateError
from airflow_dr_provider.stages.damage import known_damage
from airflow_dr_provider.state.store import Store

NOW = datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
HERE, THERE = "basebackup:/srv/backups", "basebackup:/srv/other"


def entry(name: str, *, minutes: int = 0, fault: str = "", number: int | None = None, backup_id: str = "a") -> Verified:
    return Verified(
        item=RepositoryItem(
            name=name,
            size=1 << 40,
            stamp="1795598185293985128+",
            backup_id=backup_id,
            segment=None if number is None else SegmentRange(timeline=4_000_000_000, first=number, last=number),
        ),
        checksum="sha256:a",
        compared=True,
        verified_at=NOW - timedelta(minutes=minutes),
        verified_by="host",
        fault=BackupFault(code=fault, path=name, detail="why") if fault else None,
    )


def test_what_is_kept_is_what_is_known(store: Store) -> None:
    kept = [entry("a/1"), entry("a/2", fault="BACKUP_FILE_SIZE"), entry("wal", number=1 << 40, backup_id="")]
    store.ledger.keep(HERE, kept)
    store.ledger.keep(THERE, [entry("a/1", minutes=5)])
    store.ledger.keep(HERE, [])
    assert store.ledger.known(HERE, ["a/1", "a/2", "wal", "never read"]) == {each.item.name: each for each in kept}
    assert store.ledger.marks(HERE, ["a/1", "a/2", "wal", "never read"]) == {each.item.name: each.mark for each in kept}
    assert store.ledger.known(HERE, []) == {}
    assert (store.ledger.count(HERE), store.ledger.count(THERE), store.ledger.count("nowhere")) == (3, 1, 0)
    store.ledger.keep(HERE, [entry("a/2")])
    assert store.ledger.known(HERE, ["a/2"]) == {"a/2": entry("a/2")}
    assert store.ledger.known(THERE, ["a/1"]) == {"a/1": entry("a/1", minutes=5)}


def test_many_rows_come_one_at_a_time_and_in_order(store: Store) -> None:
    names = [f"backups/b/base/5/{number:05}" for number in range(2600)]
    store.ledger.keep(HERE, [entry(name, minutes=number % 1300) for number, name in enumerate(names)])
    assert set(store.ledger.known(HERE, iter(names))) == set(names)
    assert sorted(store.ledger.names(HERE)) == names
    found = list(store.ledger.longest_unread(HERE, before=NOW))
    assert len(found) == 2598
    assert found == sorted(found, key=lambda each: (each.verified_at, each.item.name))
    with closing(store.ledger.longest_unread(HERE, before=NOW)) as oldest:
        assert next(oldest).item.name == names[1299]
    assert store.ledger.forget(HERE, names[:1700]) == 1700
    assert len(list(store.ledger.names(HERE))) == 900


def test_the_share_leaves_out_what_is_faulty_and_other_backups(store: Store) -> None:
    store.ledger.keep(
        HERE,
        [entry("a/1", minutes=1, fault="BACKUP_FILE_SIZE"), entry("b/1", minutes=2, backup_id="b"), entry("a/2", minutes=3)],
    )
    assert [each.item.name for each in store.ledger.longest_unread(HERE, before=NOW)] == ["a/2", "b/1"]
    assert [each.item.name for each in store.ledger.longest_unread(HERE, before=NOW, backups={"b"})] == ["b/1"]
    assert [each.item.name for each in store.ledger.faulty(HERE)] == ["a/1"]


def test_a_batch_is_kept_whole_or_not_at_all(store: Store) -> None:
    bad = entry("a/2").model_copy(update={"checksum": None})
    with pytest.raises(StateError):
        store.ledger.keep(HERE, [entry("a/1"), bad])
    assert list(store.ledger.names(HERE)) == []


def test_known_damage_is_the_archives_alone(store: Store) -> None:
    damaged = "WAL_SEGMENT_DAMAGED"
    store.ledger.keep(
        HERE,
        [
            entry("archive/7", number=7, backup_id="", fault=damaged),
            entry("archive/8", number=8, backup_id="", fault=damaged),
            entry("archive/9", number=9, backup_id=""),
            entry("backups/a/pg_wal/11", number=11, fault=damaged),
            entry("backups/a/base/1", fault="BACKUP_FILE_SIZE"),
        ],
    )
    store.ledger.keep(THERE, [entry("archive/20", number=20, backup_id="", fault=damaged)])
    assert known_damage(store, HERE) == (SegmentRange(timeline=4_000_000_000, first=7, last=8),)
