"""WAL-G's documents: read right, or refused whole; never read as something that they don't say."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, BackupKind
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.tool import parse
from airflow_dr_provider.repositories.walg_archive import sort_objects
from airflow_dr_provider.repositories.walg_catalog import entries, from_list, parse_list, unfinished
from airflow_dr_provider.repositories.walg_documents import (
    FILES_METADATA,
    METADATA,
    SENTINEL,
    parse_listing,
    parse_version,
    without_extension,
)
from airflow_dr_provider.repositories.walg_objects import expected_members
from airflow_dr_provider.repositories.walg_program import WalG
from airflow_dr_provider.repositories.walg_restore import listed_files

DATA = Path(__file__).parents[2] / "data" / "walg"
FULL, FIRST, SECOND, OTHER = (
    "base_00000002000000010000000A",
    "base_00000002000000010000002F_D_00000002000000010000000A",
    "base_000000020000000100000055_D_00000002000000010000002F",
    "base_000000030000000100000071",
)
WALG = WalG(Path("/nowhere/walg.env"))


def text(name: str) -> str:
    return (DATA / name).read_text()


def listed() -> list[dict[str, Any]]:
    document: list[dict[str, Any]] = json.loads(text("backup-list.json"))
    return document


def backups(document: Any, sentinels: dict[str, str] | None = None) -> tuple[Backup, ...]:
    """The catalog's entries of a list; deltas build on what is told, else on what their names say."""
    found, _ = from_list(parse_list(json.dumps(document)))
    told = {FIRST: FULL, SECOND: FIRST} if sentinels is None else sentinels
    for name, base in told.items():
        if name in found:
            found[name].sentinel = parse(SENTINEL, json.dumps({"DeltaFrom": base}), tool="WAL-G", what="a sentinel")
    return entries(found)


# -- backups -----------------------------------------------------------------------------------------------------------
def test_a_list_of_backups_is_read() -> None:
    full, first, second, other = backups(listed())
    assert [backup.id for backup in (full, first, second, other)] == [FULL, FIRST, SECOND, OTHER]
    assert (full.kind, full.chain, full.timeline, full.server_version) == (BackupKind.FULL, (), 2, 15)
    assert (full.start_lsn, full.stop_lsn) == (Lsn("1/A000028"), Lsn("1/A000138"))
    assert full.stop_time == datetime(2026, 11, 20, 2, 3, 44, 919002, tzinfo=UTC)
    assert full.system_identifier == 7301234567890123456
    assert (second.kind, second.chain) == (BackupKind.INCREMENTAL, (FIRST, FULL))
    assert second.size_bytes == full.size_bytes + sum(entry["uncompressed_size"] for entry in listed()[1:3])
    assert (other.timeline, other.flaws) == (3, ())
    assert not any(backup.flaws for backup in (full, first, second, other))


@given(st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_a_list_and_of_its_keys_changes_nothing(chance: random.Random) -> None:
    document = [dict(chance.sample(list(entry.items()), len(entry))) for entry in chance.sample(listed(), 4)]
    assert backups(document) == backups(listed())


def test_a_delta_without_its_base_is_no_candidate() -> None:
    first, second, _ = backups(listed()[1:])
    assert (first.flaws, second.flaws) == ((BackupFlaw.BASE_MISSING,), (BackupFlaw.BASE_MISSING,))
    assert FULL in second.note


def test_a_delta_whose_sentinel_names_no_base_is_no_candidate() -> None:
    assert backups(listed(), {})[1].flaws == (BackupFlaw.BASE_MISSING,)


def test_deltas_that_build_on_each_other_end() -> None:
    found = backups(listed(), {FIRST: SECOND, SECOND: FIRST})
    assert [backup.flaws for backup in found[1:3]] == [(BackupFlaw.BASE_MISSING,)] * 2


def test_a_name_that_walg_never_gives_is_passed_over() -> None:
    for name in ("--help", "../../etc/passwd", "base_1", f"{FULL}/x", "", "base_00000002000000010000000a"):
        document = listed()
        document[3]["backup_name"] = name
        found, notes = from_list(parse_list(json.dumps(document)))
        assert len(found) == 3
        assert repr(name) in notes[0]


def test_a_backup_listed_twice_is_refused_and_one_in_a_failover_storage_is_no_candidate() -> None:
    with pytest.raises(RepositoryError, match="twice"):
        backups([*listed(), listed()[0]])
    elsewhere = {**listed()[3], "storage_name": "frankfurt"}
    assert backups([*listed(), elsewhere]) == backups(listed())
    other = backups([*listed()[:3], elsewhere])[0]
    assert (other.id, other.flaws) == (OTHER, (BackupFlaw.UNREADABLE,))
    assert "frankfurt" in other.note


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"finish_lsn": 1}, BackupFlaw.MANIFEST_DAMAGED),
        ({"start_lsn": 0}, None),
        ({"start_time": "0001-01-01T00:00:00Z", "finish_time": "0001-01-01T00:00:00Z"}, None),
        ({"system_identifier": None}, None),
        ({"pg_version": 0}, None),
    ],
)
def test_what_an_entry_does_not_tell_is_unknown(change: dict[str, Any], flaw: BackupFlaw | None) -> None:
    document = listed()
    document[3].update(change)
    other = next(backup for backup in backups(document) if backup.id == OTHER)
    assert other.flaws == ((flaw,) if flaw is not None else ())
    assert (other.start_lsn is None) == ("start_lsn" in change)
    assert (other.stop_time is None) == ("finish_time" in change)
    assert (other.server_version is None) == ("pg_version" in change)


def test_an_unfinished_backup_is_one_without_a_sentinel() -> None:
    rows, _ = parse_listing(text("ls-basebackups.txt"), "")
    assert unfinished(rows) == ["base_000000030000000100000090"]


@pytest.mark.parametrize(
    "change",
    [
        {"start_lsn": "1/A000028"},
        {"start_lsn": -1},
        {"start_lsn": 1 << 64},
        {"start_lsn": 4466933800.5},
        {"start_lsn": True},
        {"start_lsn": None},
        {"finish_time": 1763604224},
        {"finish_time": "2026-11-20 02:03"},
        {"finish_time": "yesterday"},
        {"pg_version": "150004"},
        {"pg_version": -1},
        {"system_identifier": "7301234567890123456"},
        {"uncompressed_size": -1},
        {"backup_name": None},
        {"backup_name": "x" * 300},
        {"storage_name": 1},
    ],
)
def test_an_entry_of_another_form_is_refused_whole(change: dict[str, Any]) -> None:
    document = listed()
    document[0].update(change)
    with pytest.raises(RepositoryError, match=f"WAL-G printed a list of backups.*{next(iter(change))}"):
        parse_list(json.dumps(document))


@given(st.integers(0, len(text("backup-list.json")) - 2))
@settings(max_examples=60)
def test_a_list_that_was_cut_off_is_refused(length: int) -> None:
    cut = text("backup-list.json")[:length]
    if not cut:
        assert parse_list(cut) == []  # how older versions say that there is none
        return
    with pytest.raises(RepositoryError):
        parse_list(cut)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TYPES: list[tuple[TypeAdapter[Any], str]] = [
    (METADATA, "metadata.json"),
    (SENTINEL, "sentinel-full.json"),
    (SENTINEL, "sentinel-delta.json"),
    (FILES_METADATA, "files-metadata-delta.json"),
]


@given(data=st.data())
@settings(max_examples=200)
def test_a_list_with_anything_in_it_is_read_or_refused(data: st.DataObject) -> None:
    document = listed()
    entry = data.draw(st.sampled_from(document))
    entry[data.draw(st.sampled_from(sorted(entry)))] = data.draw(JSON)
    try:
        found = backups(document)
    except RepositoryError:
        return
    # What was read besides the changed entry is as it was, or says what it lacks.
    for backup in found:
        assert backup.start_lsn is None or 0 < backup.start_lsn < 1 << 64
        assert backup.id in (FULL, FIRST, SECOND, OTHER)


@pytest.mark.parametrize(("adapter", "name"), TYPES)
def test_a_document_is_read_and_whatever_else_is_refused(adapter: TypeAdapter[Any], name: str) -> None:
    parse(adapter, text(name), tool="WAL-G", what="it")
    for broken in (text(name)[:-1], "", "[]", "null", "7", text(name) + "}", "\udcff", "[" * 100_000, '{"LSN": 1e999}'):
        if broken == '{"LSN": 1e999}' and adapter is FILES_METADATA:
            continue  # it has no such key
        with pytest.raises(RepositoryError, match="can't be understood"):
            parse(adapter, broken, tool="WAL-G", what="it")


@given(data=st.data())
@settings(max_examples=150)
def test_any_value_in_a_document_is_read_or_refused(data: st.DataObject) -> None:
    adapter, name = data.draw(st.sampled_from(TYPES))
    document = json.loads(text(name))
    place: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    with contextlib.suppress(RepositoryError):
        assert isinstance(parse(adapter, json.dumps(document), tool="WAL-G", what="it"), BaseModel)


def test_sentinels_tell_tablespaces_and_bases() -> None:
    full = parse(SENTINEL, text("sentinel-full.json"), tool="WAL-G", what="it")
    assert (full.delta_from, full.start_lsn, full.version) == (None, Lsn("1/A000028"), 2)
    assert full.tablespaces is not None
    assert full.tablespaces.names == ("16390",)
    assert parse(SENTINEL, text("sentinel-delta.json"), tool="WAL-G", what="it").delta_from == FIRST
    old = json.loads(text("sentinel-full.json"))
    old["spec"] = old.pop("Spec")
    of_wal_e = parse(SENTINEL, json.dumps(old), tool="WAL-G", what="it")
    assert of_wal_e.tablespaces is not None
    assert of_wal_e.tablespaces.names == ("16390",)


@pytest.mark.parametrize("oid", ["../x", "16390/..", "", "x", "-1", 16390])
def test_a_tablespace_with_a_name_that_is_none_is_refused(oid: Any) -> None:
    document = json.loads(text("sentinel-full.json"))
    document["Spec"]["tablespaces"] = [oid]
    with pytest.raises(RepositoryError):
        parse(SENTINEL, json.dumps(document), tool="WAL-G", what="it")


def test_what_a_delta_s_tar_files_have_to_hold() -> None:
    metadata = parse(FILES_METADATA, text("files-metadata-delta.json"), tool="WAL-G", what="it")
    expected = expected_members(metadata)
    assert "base/16384/16391" in expected["part_001.tar.br"]
    assert "base/16384/16999" not in expected["part_001.tar.br"]  # it went away before it was packed
    assert listed_files(metadata)[0] == "PG_VERSION"
    assert "base/16384/PG_VERSION" in listed_files(metadata)


# -- listings ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["ls-wal-3.0.0.txt", "ls-wal-3.0.9.txt"])
def test_a_listing_is_an_archive(name: str) -> None:
    rows, odd = parse_listing(text(name), "wal_005")
    listing = sort_objects(WALG, rows, odd)
    assert sorted(listing.segments) == [f"0000000200000001{number:08X}" for number in (0xA, 0xB, 0xD, 0x10)]
    assert listing.segments["000000020000000100000010"].size == 16 << 20
    assert listing.partial == {"00000002000000010000000E"}
    assert list(listing.histories) == [2]
    assert [file.path.name for file in listing.labels] == ["00000002000000010000000A.00000028.backup.br"]
    assert any("archive_status/, notes.txt" in note for note in listing.notes)
    assert any("00000002000000010000000F.br" in note and "empty" in note for note in listing.notes)


def test_names_with_blanks_are_nobody_s_segments() -> None:
    lines = text("ls-wal-3.0.0.txt").rstrip("\n") + " copy\n"
    lines = lines.replace("00000002000000010000000B.br", "00000002000000010000000B.br (1)")
    rows, odd = parse_listing(lines, "wal_005")
    assert "00000002000000010000000B" not in sort_objects(WALG, rows, odd).segments
    assert odd == ["00000002000000010000000B.br (1)", "notes.txt copy"]


@given(st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_a_listing_changes_nothing(chance: random.Random) -> None:
    head, *rows = text("ls-wal-3.0.0.txt").splitlines()
    shuffled, odd = parse_listing("\n".join([head, *chance.sample(rows, len(rows))]) + "\n", "wal_005")
    whole = sort_objects(WALG, *parse_listing(text("ls-wal-3.0.0.txt"), "wal_005"))
    found = sort_objects(WALG, shuffled, odd)
    assert {name: file[:3] for name, file in found.segments.items()} == {
        name: file[:3] for name, file in whole.segments.items()
    }
    assert (found.partial, found.notes) == (whole.partial, whole.notes)


@given(st.integers(0, len(text("ls-wal-3.0.0.txt")) - 1))
@settings(max_examples=100)
def test_a_listing_that_was_cut_off_is_refused_or_ends_with_a_row(length: int) -> None:
    cut = text("ls-wal-3.0.0.txt")[:length]
    if cut.endswith("\n"):
        parse_listing(cut, "wal_005")
        return
    with pytest.raises(RepositoryError, match="listing of wal_005"):
        parse_listing(cut, "wal_005")


@pytest.mark.parametrize(
    "row",
    [
        "obj  12 yesterday name",
        "obj  -1 2026-11-20 04:14:00 +0000 UTC name",
        "lnk  12 2026-11-20 04:14:00 +0000 UTC name",
        "obj  12 2026-11-20 04:14:00 +0000 UTC",
        "obj  12 2026-11-20 04:14:00 +0000 UTC notes.txt",  # once more
        "",
        "ERROR: something",
    ],
)
def test_a_row_of_another_form_refuses_the_listing(row: str) -> None:
    with pytest.raises(RepositoryError, match="line 14"):
        parse_listing(text("ls-wal-3.0.0.txt") + row + "\n", "wal_005")


@given(st.text() | st.lists(st.sampled_from(text("ls-wal-3.0.0.txt").splitlines()) | st.text(max_size=40)).map("\n".join))
@settings(max_examples=200)
def test_any_text_is_a_listing_or_refused(content: str) -> None:
    try:
        rows, _ = parse_listing(content, "wal_005")
    except RepositoryError:
        return
    assert all(row.name and row.size >= 0 for row in rows)


def test_a_hundred_thousand_objects_are_listed() -> None:
    head = "type size     last modified                 name\n"
    rows = "".join(
        f"obj  1        2026-11-20 04:14:00 +0000 UTC 00000001{number >> 8:08X}{number & 255:08X}.lz4\n"
        for number in range(1, 100_001)
    )
    listing = sort_objects(WALG, *parse_listing(head + rows, "wal_005"))
    assert len(listing.segments) == 100_000


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("000000010000000000000001.lz4", "000000010000000000000001"),
        ("x.history", "x.history"),
        ("a.b.zst", "a.b"),
        ("lz4", "lz4"),
    ],
)
def test_the_ending_of_a_compression_is_left_out(name: str, stem: str) -> None:
    assert without_extension(name) == stem


# -- versions ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "version"), [("version-3.0.7.txt", (3, 0, 7)), ("version-2.0.1.txt", (2, 0, 1)), ("version-untold.txt", None)]
)
def test_a_version_is_read(name: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text(name)) == version


def test_a_walg_of_another_database_is_refused() -> None:
    with pytest.raises(RepositoryError, match="not the one for PostgreSQL"):
        parse_version(text("version-mysql.txt"))


@given(st.text())
def test_any_text_is_a_version_or_none(content: str) -> None:
    try:
        version = parse_version(content)
    except RepositoryError:
        return
    assert version is None or len(version) == 3
