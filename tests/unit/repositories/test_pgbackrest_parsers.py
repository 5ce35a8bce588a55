"""pgBackRest's documents: recorded ones give what they say, and nothing that is cut, changed or hostile gives a catalog."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, BackupKind
from airflow_dr_provider.errors import BackupError, RepositoryError
from airflow_dr_provider.repositories.pgbackrest_archive import list_stanza
from airflow_dr_provider.repositories.pgbackrest_catalog import (
    Judged,
    archive_places,
    cluster_of,
    entries,
    judge_manifest,
)
from airflow_dr_provider.repositories.pgbackrest_info import Stanza, parse_info, usable_repositories
from airflow_dr_provider.repositories.pgbackrest_manifest import parse_manifest
from airflow_dr_provider.repositories.pgbackrest_store import Store, Stored, local_root, make_tool, options_of

RECORDED = Path(__file__).with_name("recorded")
NEWER = (RECORDED / "pgbackrest-2.55.1-info.json").read_text()
OLDER = (RECORDED / "pgbackrest-2.45-info.json").read_text()
MIB = 1 << 20
FULL, DIFF = "20261122-212101F", "20261122-212101F_20261122-212110D"
SHA1 = "a" * 40


def backups_of(stanza: Stanza) -> tuple[Backup, ...]:
    usable, _ = usable_repositories(stanza)
    keys = tuple(repository.key for repository in usable)
    judged = {(backup.database.key, backup.label): Judged() for backup in stanza.backup}
    return entries(stanza, keys, judged, 16 * MIB)


# -- info --------------------------------------------------------------------------------------------------------------
def test_the_inventory_of_two_repositories() -> None:
    stanza = parse_info(NEWER, "demo")
    backups = {backup.id: backup for backup in backups_of(stanza)}
    assert list(backups) == [
        FULL, "20261122-212103F", DIFF, "20261122-212101F_20261122-212112I", "20261122-212103F_20261122-212113I",
    ]  # fmt: skip
    incremental = backups["20261122-212101F_20261122-212112I"]
    assert (incremental.kind, incremental.chain) == (BackupKind.INCREMENTAL, (DIFF, FULL))
    assert (incremental.repository, incremental.server_version) == ("repo1", 17)
    assert incremental.system_identifier == 7711108847946057041
    assert (str(incremental.start_lsn), str(incremental.stop_lsn)) == ("0/1C000028", "0/1C000120")
    assert incremental.stop_time is not None
    assert incremental.stop_time.isoformat() == "2026-11-22T21:21:13+00:00"
    assert backups[DIFF].kind is BackupKind.DIFFERENTIAL
    assert backups["20261122-212103F"].repository == "repo2"
    cluster = cluster_of(stanza, (1, 2))
    assert cluster is not None
    assert archive_places(stanza, cluster, (1, 2)) == [(1, "archive/demo/17-1"), (2, "archive/demo/17-1")]


def test_the_inventory_of_an_older_version() -> None:
    full, incremental = backups_of(parse_info(OLDER, "demo"))
    assert (full.server_version, full.size_bytes, incremental.chain) == (15, 344553790, (full.id,))


def changed(**values: Any) -> str:
    """The recorded document with some fields of its first backup changed; None takes one out."""
    document = json.loads(NEWER)
    for name, value in values.items():
        if value is None:
            document[0]["backup"][0].pop(name)
        else:
            document[0]["backup"][0][name] = value
    return json.dumps(document)


def test_a_marked_error_is_a_flaw() -> None:
    backup = backups_of(parse_info(changed(error=True), "demo"))[0]
    assert backup.flaws == (BackupFlaw.ERROR_FLAG,)
    assert "page checksum" in backup.note


def test_a_backup_that_tells_no_positions_has_its_segments_bounds() -> None:
    backup = backups_of(parse_info(changed(lsn=None), "demo"))[0]
    assert (str(backup.start_lsn), str(backup.stop_lsn)) == ("0/12000000", "0/13000000")


@pytest.mark.parametrize(
    "values",
    [
        {"label": "../../etc/passwd"}, {"label": "--repo=2"}, {"type": "half"}, {"type": "incr"}, {"prior": FULL},
        {"label": "20261122-212103F", "database": {"id": 1, "repo-key": 2}}, {"timestamp": {"start": 1, "stop": -1}},
        {"timestamp": {"start": 1, "stop": 10**18}}, {"lsn": {"start": "0/2", "stop": "0/1"}}, {"lsn": {"start": 1, "stop": 2}},
        {"info": {"size": -1}}, {"info": {}}, {"database": {"id": 1, "repo-key": 0}}, {"archive": {"start": "x", "stop": "y"}},
        {"reference": ["nobody"]}, {"reference": ["20261122-212103F"]}, {"timestamp": None}, {"error": "no"},
    ],
)  # fmt: skip
def test_a_backup_that_can_t_be_is_refused(values: Mapping[str, Any]) -> None:
    with pytest.raises(RepositoryError, match=r"backup|listed twice"):
        parse_info(changed(**values), "demo")


def test_a_pg_upgrade_leaves_the_newest_backup_s_cluster() -> None:
    document = json.loads(OLDER)
    entry = document[0]
    entry["db"].append({"id": 2, "repo-key": 1, "system-id": 42, "version": "16"})
    entry["archive"].append({"database": {"id": 2, "repo-key": 1}, "id": "16-2", "min": None, "max": None})
    newest = copy.deepcopy(entry["backup"][0])
    newest |= {
        "label": "20261123-000000F",
        "database": {"id": 2, "repo-key": 1},
        "timestamp": {"start": 1795400000, "stop": 1795400001},
    }
    entry["backup"].append(newest)
    stanza = parse_info(json.dumps(document), "demo")
    cluster = cluster_of(stanza, (1,))
    assert cluster is not None
    assert (cluster.system_identifier, cluster.major) == (42, 16)
    assert archive_places(stanza, cluster, (1,)) == [(1, "archive/demo/16-2")]
    assert [backup.server_version for backup in backups_of(stanza)] == [15, 15, 16]


@pytest.mark.parametrize(
    ("codes", "code", "said"),
    [
        ((1,), "REPOSITORY_UNREACHABLE", "no stanza"),
        ((3,), "REPOSITORY_UNREACHABLE", "no stanza"),
        ((2,), "REPOSITORY_EMPTY", "no backup"),
        ((2, 1), "REPOSITORY_UNREACHABLE", "no stanza"),
        ((99,), "REPOSITORY_UNREACHABLE", "broken pipe"),
        ((2, 99), "REPOSITORY_UNREACHABLE", "broken pipe"),
        ((), "REPOSITORY_UNREACHABLE", "no stanza"),
    ],
)
def test_status_codes_tell_what_exit_codes_don_t(codes: tuple[int, ...], code: str, said: str) -> None:
    status = [{"key": key, "status": {"code": found, "message": "broken\n pipe"}} for key, found in enumerate(codes, start=1)]
    document = [{"name": "demo", "status": {"code": codes[0] if codes else 1, "message": "other"}, "repo": status}]
    with pytest.raises(RepositoryError, match=said) as refused:
        usable_repositories(parse_info(json.dumps(document), "demo"))
    assert refused.value.code == code


def test_one_good_repository_is_enough_and_the_other_is_noted() -> None:
    document = json.loads(NEWER)
    document[0]["repo"][1]["status"] = {"code": 99, "message": "no route to host"}
    stanza = parse_info(json.dumps(document), "demo")
    usable, notes = usable_repositories(stanza)
    assert [repository.key for repository in usable] == [1]
    assert "repo2" in notes[0]
    assert "no route to host" in notes[0]
    assert {backup.repository for backup in backups_of(stanza)} == {"repo1"}


@given(st.integers(0, len(NEWER) - 2))
def test_a_cut_inventory_is_refused(length: int) -> None:
    with pytest.raises(RepositoryError):
        parse_info(NEWER.rstrip()[:length], "demo")


@given(st.data())
def test_an_inventory_in_another_order_is_the_same(data: st.DataObject) -> None:
    document = json.loads(NEWER)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shuffled(value[key]) for key in data.draw(st.permutations(sorted(value)))}
        return value

    entry = {key: shuffled(value) for key, value in document[0].items()}
    entry["backup"] = data.draw(st.permutations(entry["backup"]))
    assert backups_of(parse_info(json.dumps([entry]), "demo")) == backups_of(parse_info(NEWER, "demo"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_another_document_is_refused(value: Any) -> None:
    with pytest.raises(RepositoryError):
        parse_info(json.dumps(value), "demo")


@given(st.data(), json_values)
def test_a_hostile_value_anywhere_is_refused_or_changes_nothing_else(data: st.DataObject, value: Any) -> None:
    """Whatever one field holds, an inventory that is taken has only backups with labels, sizes and positions that can be."""
    document = json.loads(NEWER)
    place: Any = document[0]
    for _ in range(data.draw(st.integers(0, 4))):
        inner = [
            key for key in (place if isinstance(place, dict) else range(len(place))) if isinstance(place[key], dict | list)
        ]
        if not inner or not place:
            break
        place = place[data.draw(st.sampled_from(inner))]
    if place:
        place[data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))] = value
    try:
        stanza = parse_info(json.dumps(document), "demo")
        backups = backups_of(stanza)
    except RepositoryError:
        return
    for backup in backups:
        assert backup.size_bytes >= 0
        assert backup.start_lsn is None or backup.stop_lsn is None or backup.start_lsn <= backup.stop_lsn
        assert ".." not in backup.id
        assert "/" not in backup.id


def test_a_deep_and_a_huge_inventory() -> None:
    with pytest.raises(RepositoryError):
        parse_info("[" * 200_000, "demo")
    document = json.loads(OLDER)
    full = document[0]["backup"][0]
    document[0]["backup"] = [
        {**full, "label": f"2026{month:02}{day:02}-{hour:02}{minute:02}00F"}
        for month in range(1, 13) for day in range(1, 29) for hour in range(6) for minute in range(10)
    ]  # fmt: skip
    begun = time.process_time()
    assert len(backups_of(parse_info(json.dumps(document), "demo"))) == 12 * 28 * 60
    assert time.process_time() - begun < 30


# -- manifests ---------------------------------------------------------------------------------------------------------
FILES: dict[str, dict[str, Any]] = {
    "pg_data/PG_VERSION": {"checksum": SHA1, "repo-size": 23, "reference": FULL, "rck": "b" * 40, "size": 3},
    "pg_data/base/1/1214": {"size": 0},
    "pg_data/base/1/16384": {
        "bi": 1,
        "bim": 20,
        "bni": 2,
        "bno": 40,
        "checksum": SHA1,
        "rck": "c" * 40,
        "repo-size": 99,
        "size": 16384,
    },
    'pg_data/base/a=b{"c': {"checksum": SHA1, "size": 8192},
    "pg_data/global/pg_control": {"bni": 1, "checksum": SHA1, "rck": "d" * 40, "repo-size": 200, "size": 8192},
    "pg_tblspc/16385/PG_15_202209061/5/16386": {"checksum": SHA1, "repo-size": 9, "size": 40960},
}


def sections(files: Mapping[str, Mapping[str, Any]] = FILES, **backup: Any) -> dict[str, dict[str, Any]]:
    return {
        "backrest": {"backrest-format": 5, "backrest-version": "2.55.1"},
        "backup": {
            "backup-bundle": True, "backup-bundle-raw": True, "backup-label": DIFF, "backup-lsn-start": "0/1A000028",
            "backup-lsn-stop": "0/1A000120", "backup-prior": FULL, "backup-type": "diff", **backup,
        },
        "backup:db": {"db-id": 1, "db-system-id": 7711108847946057041, "db-version": "17"},
        "backup:option": {"option-compress": True, "option-compress-type": "gz"},
        "backup:target": {"pg_data": {"path": "/pg", "type": "path"}, "pg_tblspc/16385": {"path": "/ts", "tablespace-id": "16385"}},
        "target:file": {name: {**entry, "timestamp": 1} for name, entry in files.items()},
    }  # fmt: skip


def written(document: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A manifest as pgBackRest writes it: its checksum is that of all sections as one JSON object."""
    compact = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    lines = []
    for name, values in document.items():
        lines += [f"[{name}]", *(f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in values.items()), ""]
    checksum = hashlib.sha1(compact.encode(), usedforsecurity=False).hexdigest()
    return "\n".join([*lines, "[backrest]", f'backrest-checksum="{checksum}"', ""]).encode()


SOUND = written(sections())


def test_where_each_file_of_a_manifest_is_stored() -> None:
    manifest = parse_manifest(SOUND)
    assert (manifest.label, manifest.major, manifest.tablespaces) == (DIFF, 17, ("16385",))
    files = {file.path: file for file in manifest.files}
    version = files["PG_VERSION"]
    assert (version.holder, version.place, version.stored_size) == (FULL, "pg_data/PG_VERSION.gz", 23)
    empty = files["base/1/1214"]
    assert (empty.place, empty.checksum) == ("", hashlib.sha1(b"", usedforsecurity=False).hexdigest())
    blocks = files["base/1/16384"]
    assert (blocks.place, blocks.offset, blocks.blocks, blocks.bundled) == ("bundle/2", 40, True, True)
    odd = files['base/a=b{"c']
    assert (odd.place, odd.stored_size) == ('pg_data/base/a=b{"c.gz', 8192)
    control = files["global/pg_control"]
    assert (control.holder, control.place, control.offset, control.compression) == (DIFF, "bundle/1", 0, ".zlib")
    beside = files["pg_tblspc/16385/PG_15_202209061/5/16386"]
    assert (beside.place, beside.compression) == ("pg_tblspc/16385/PG_15_202209061/5/16386.gz", ".gz")


@given(st.integers(0, len(SOUND) - 1))
def test_a_cut_manifest_is_damaged(length: int) -> None:
    with pytest.raises(BackupError) as refused:
        parse_manifest(SOUND[:length])
    assert refused.value.code == "BACKUP_MANIFEST_DAMAGED"


@given(st.integers(0, len(SOUND) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_damage(index: int, change: int) -> None:
    """Wherever it lies: even where it only spoils a line's end."""
    content = bytearray(SOUND)
    content[index] ^= change
    with pytest.raises(BackupError):
        parse_manifest(bytes(content))


@given(st.permutations(list(sections())))
def test_a_manifest_in_another_order_is_damaged(order: list[str]) -> None:
    document = sections()
    lines = SOUND.decode().splitlines()
    checksum = lines[-1]
    body = "\n".join(
        "\n".join(
            [f"[{name}]", *(f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in document[name].items()), ""]
        )
        for name in order
    )
    content = f"{body}\n[backrest]\n{checksum}\n".encode()
    if order == list(document):
        parse_manifest(content)
    else:
        with pytest.raises(BackupError):
            parse_manifest(content)


@given(st.binary(max_size=300))
def test_anything_else_is_damaged(content: bytes) -> None:
    with pytest.raises(BackupError):
        parse_manifest(content)


@pytest.mark.parametrize(
    "files",
    [
        {"pg_data/../../etc/passwd": {"size": 1}}, {"pg_data/": {"size": 1}}, {"/etc/passwd": {"size": 1}},
        {"pg_data/a//b": {"size": 1}}, {"elsewhere/a": {"size": 1}}, {"pg_data/a": {"size": -1}}, {"pg_data/a": {}},
        {"pg_data/a": {"size": True}}, {"pg_data/a": {"size": 1 << 64}}, {"pg_data/a": {"size": 1, "checksum": "x"}},
        {"pg_data/a": {"size": 1, "rck": 7}}, {"pg_data/a": {"size": 1, "reference": "../x"}},
        {"pg_data/a": {"size": 1, "bni": "../1"}}, {"pg_data/a": {"size": 1, "bno": -1}},
    ],
)  # fmt: skip
def test_a_hostile_entry_is_damage_even_with_the_right_checksum(files: dict[str, dict[str, Any]]) -> None:
    manifest = parse_manifest(written(sections(files)))
    with pytest.raises(BackupError) as refused:
        _ = manifest.files
    assert refused.value.code == "BACKUP_MANIFEST_DAMAGED"


def test_a_manifest_of_another_backup_is_damage() -> None:
    stanza = parse_info(NEWER, "demo")
    full, diff = stanza.backup[0], next(backup for backup in stanza.backup if backup.label == DIFF)
    database = stanza.database(diff.database)
    assert judge_manifest(diff, database, SOUND) == Judged()
    assert judge_manifest(full, database, SOUND).flaw is BackupFlaw.MANIFEST_DAMAGED
    assert judge_manifest(diff, database, None).flaw is BackupFlaw.NO_MANIFEST
    moved = written(sections(**{"backup-lsn-stop": "0/1B000120"}))
    assert "0/1B000120" in judge_manifest(diff, database, moved).note


# -- the archive -------------------------------------------------------------------------------------------------------
class Listed(Store):
    """A repository with chosen names."""

    names: Mapping[str, int]

    async def files(self, folder: str) -> dict[str, Stored]:
        return {name: Stored(size, "1") for name, size in self.names.items()}


def listed(key: int, names: Mapping[str, int], cipher: str = "none") -> Listed:
    store = Listed(tool=make_tool("demo", None, Path("/bin/sh")), key=key, root=Path("/nowhere"), cipher=cipher)
    object.__setattr__(store, "names", names)
    return store


def named(number: int, content: str = SHA1, ending: str = "") -> str:
    name = f"0000000100000000{number:08X}"
    return f"{name[:16]}/{name}-{content}{ending}"


def test_what_each_name_of_the_archive_is() -> None:
    names = {
        named(1): 16 * MIB, named(2, ending=".zst"): 5, "0000000100000000/000000010000000000000003.partial-" + SHA1 + ".gz": 5,
        "00000002.history": 40, "0000000100000000/000000010000000000000001.00000028.backup": 300,
        "0000000100000000/000000010000000000000004": 16 * MIB, "0000000200000000/" + named(5).partition("/")[2]: 1,
        named(6, "A" * 40): 1, "archive.info": 1,
    }  # fmt: skip
    archive = asyncio.run(list_stanza([(listed(1, names), "archive/demo/15-1")]))
    assert set(archive.listing.segments) == {f"0000000100000000{number:08X}" for number in (1, 2)}
    assert archive.listing.partial == {"000000010000000000000003"}
    assert set(archive.listing.histories) == {2}
    assert len(archive.listing.labels) == 1
    assert "4 things" in archive.listing.notes[0]
    assert archive.listing.segments["000000010000000000000002"].sha1 == SHA1


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_repositories_together_have_what_either_has(first: set[int], second: set[int], other: set[int]) -> None:
    """And the first one's is taken; *other* is what the second one holds with another content."""
    one = {named(number): MIB for number in first}
    two = {named(number, "b" * 40 if number in other else SHA1): MIB for number in second}
    archive = asyncio.run(list_stanza([(listed(1, one), "x"), (listed(2, two), "x")]))
    assert set(archive.listing.segments) == {f"0000000100000000{number:08X}" for number in first | second}
    for number in first & second:
        file = archive.listing.segments[f"0000000100000000{number:08X}"]
        assert (file.sha1, file.spare is None) == (SHA1, number in other)
    assert bool(archive.listing.notes) == bool(first & second & other)
    assert archive.ambiguous == set()


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_two_contents_in_one_repository_are_neither(twice: set[int], saved: set[int]) -> None:
    names = {named(number, content * 40): MIB for number in twice for content in "ab"}
    archive = asyncio.run(list_stanza([(listed(1, names), "x"), (listed(2, {named(number): MIB for number in saved}), "x")]))
    assert archive.ambiguous == {f"0000000100000000{number:08X}" for number in twice - saved}


def test_an_encrypted_plain_segment_has_its_content_s_size() -> None:
    archive = asyncio.run(list_stanza([(listed(1, {named(1): 16 * MIB + 32}, "aes-256-cbc"), "x")]))
    assert archive.listing.segments["000000010000000000000001"].size == 16 * MIB


# -- where a repository lies -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "here"),
    [
        ("--repo=1 --repo1-path={place}", True),
        ('--repo1-path="{place}" --stanza=demo', True),
        ("--repo1-path={place} --repo1-type=cifs", True),
        ("--repo1-path={place} --repo1-host=backup.example", False),
        ("--repo1-path={place} --repo1-type=s3", False),
        ("--repo1-path={place}/nowhere", False),
        ("--repo2-path={place} --repo1-path=relative", False),
    ],
)
def test_only_a_folder_of_this_machine_is_read_in_place(tmp_path: Path, options: str, here: bool) -> None:
    log = f"DEBUG: command/command::cmdBegin: repo-ls command begin 2.45: [backup/demo] {options.format(place=tmp_path)}\n"
    assert local_root(1, options_of(log)) == (tmp_path if here else None)
    assert local_root(1, options_of("nothing of the kind")) is None
