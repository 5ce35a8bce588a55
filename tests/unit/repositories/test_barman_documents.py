"""Barman's documents: read right, or refused in words, whatever they hold; never a wrong catalog."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.catalog import BackupFlaw, Catalog
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import RepositoryError
from airflow_dr_provider.repositories.barman_backup import BarmanBackup
from airflow_dr_provider.repositories.barman_catalog import Entry, judge_told, make_catalog
from airflow_dr_provider.repositories.barman_documents import (
    check_version,
    read_cloud_list,
    read_servers,
    read_shown,
    read_sync_info,
)
from airflow_dr_provider.repositories.wal_files import ArchiveListing

SAMPLES = Path(__file__).parents[2] / "data" / "barman"
SHOWN = (SAMPLES / "barman_show_backup.json").read_text()
# Of `diagnose`, whose entries are those of `sync-info`, times apart.
DIAGNOSED: dict[str, Any] = json.loads(json.loads((SAMPLES / "barman_diagnose.json").read_text())["_INFO"][0])["servers"][
    "demo"
]
IDENTIFIER = "20261122T213228"
INFO: dict[str, Any] = {
    **DIAGNOSED["backups"][IDENTIFIER],
    "begin_time": "Sun Nov 22 21:32:28 2026",
    "end_time": "Sun Nov 22 21:32:31 2026",
    "begin_time_iso": DIAGNOSED["backups"][IDENTIFIER]["begin_time"],
    "end_time_iso": DIAGNOSED["backups"][IDENTIFIER]["end_time"],
}


def sync_info(*infos: dict[str, Any], **more: Any) -> str:
    return json.dumps(
        {
            "backups": {info["backup_id"]: info for info in infos},
            "version": "3.19.1",
            "config": DIAGNOSED["config"],
            "wals": [],
            **more,
        }
    )


def catalog_of(*told: BarmanBackup) -> Catalog:
    return make_catalog(
        [judge_told(backup) for backup in told], ArchiveListing(Path("/wals")), identity="barman:demo", notes=()
    )


# -- read right --------------------------------------------------------------------------------------------------------
def test_both_documents_tell_the_same() -> None:
    listed = read_sync_info(sync_info(INFO)).backups[IDENTIFIER].backup()
    shown = read_shown(SHOWN, server="demo", backup_id=IDENTIFIER).backup()
    second = {"start_time": None, "stop_time": None}
    assert shown.model_copy(update=second) == listed.model_copy(update=second)
    assert (listed.start_lsn, listed.stop_lsn, listed.timeline, listed.major) == (Lsn("0/25000028"), Lsn("0/26000000"), 1, 18)
    assert listed.start_time == datetime(2026, 11, 22, 21, 32, 28, 827354, tzinfo=UTC)
    assert shown.start_time == datetime(2026, 11, 22, 21, 32, 28, tzinfo=UTC)
    assert listed.system_identifier == 7711107059773224381


def test_an_old_one_of_3_x_tells_times_only_when_asked_for_one() -> None:
    listed = read_sync_info((SAMPLES / "barman_3.0.1_sync_info.json").read_text()).backups["20261125T093637"].backup()
    text = (SAMPLES / "barman_3.0.1_show_backup.json").read_text()
    shown = read_shown(text, server="demo", backup_id="20261125T093637").backup()
    assert (listed.mode, listed.start_time, listed.status) == ("postgres", None, "WAITING_FOR_WALS")
    assert shown.start_time == datetime(2026, 11, 25, 9, 36, 37, tzinfo=UTC)
    assert (shown.start_lsn, shown.stop_lsn, shown.tablespaces) == (listed.start_lsn, listed.stop_lsn, listed.tablespaces)
    assert catalog_of(listed).backups[0].flaws == ()


def test_a_backup_that_was_not_finished_has_few_facts() -> None:
    text = json.dumps({"demo": {"backup_id": "x", "status": "FAILED", "error": "no space", "server_information": {}}})
    told = read_shown(text, server="demo", backup_id="x").backup()
    assert (told.error, told.start_lsn) == ("no space", None)
    assert catalog_of(told).backups[0].flaws == (BackupFlaw.ERROR_FLAG,)


def test_local_time_is_not_believed() -> None:
    bare = {**INFO, "begin_time_iso": "2026-11-22T21:32:28.827354"}
    with pytest.raises(RepositoryError, match="offset"):
        read_sync_info(sync_info(bare))
    without = {name: value for name, value in INFO.items() if not name.endswith("_iso")}
    assert read_sync_info(sync_info(without)).backups[IDENTIFIER].backup().start_time is None


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"mode": "snapshot-aws"}, BackupFlaw.UNREADABLE),
        ({"encryption": "gpg"}, BackupFlaw.UNREADABLE),
        ({"status": "MYSTERY"}, BackupFlaw.UNREADABLE),
        ({"status": "SYNCING"}, BackupFlaw.INCOMPLETE),
        ({"end_xlog": None}, BackupFlaw.INCOMPLETE),
        ({"version": None}, BackupFlaw.INCOMPLETE),
        ({"parent_backup_id": "20200101T000000"}, BackupFlaw.BASE_MISSING),
        ({"parent_backup_id": IDENTIFIER}, BackupFlaw.BASE_MISSING),
    ],
)
def test_what_is_no_candidate(change: dict[str, Any], flaw: BackupFlaw) -> None:
    told = read_sync_info(sync_info({**INFO, **change})).backups[IDENTIFIER].backup()
    backup = catalog_of(told).backups[0]
    assert backup.flaws == (flaw,)
    assert backup.note


@pytest.mark.parametrize("status", ["DONE", "WAITING_FOR_WALS"])
def test_what_is_a_candidate(status: str) -> None:
    told = read_sync_info(sync_info({**INFO, "status": status})).backups[IDENTIFIER].backup()
    assert catalog_of(told).backups[0].flaws == ()


def test_servers_and_clouds() -> None:
    assert read_servers('{"b": {"description": "x"}, "a": {}, "_WARNING": ["w"]}') == ("a", "b")
    assert [backup.id for backup in read_cloud_list(json.dumps({"backups_list": [INFO]}))] == [IDENTIFIER]
    with pytest.raises(RepositoryError, match="twice"):
        read_cloud_list(json.dumps({"backups_list": [INFO, INFO]}))


@pytest.mark.parametrize(("version", "expected"), [("3.19.1", ""), ("3.0", ""), ("3.4.0rc1", ""), ("4.0.0", "newer")])
def test_a_version_that_may_serve(version: str, expected: str) -> None:
    assert expected in check_version(version)
    assert bool(check_version(version)) is bool(expected)


@pytest.mark.parametrize("version", ["2.19", "", "three", "0.1", "99999.1"])
def test_a_version_that_is_refused(version: str) -> None:
    with pytest.raises(RepositoryError):
        check_version(version)


# -- refused whole -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        {"begin_xlog": "not available"},
        {"begin_xlog": 7},
        {"begin_xlog": ["0/0"]},
        {"timeline": 0},
        {"timeline": "1"},
        {"timeline": 1 << 32},
        {"version": True},
        {"systemid": "not available"},
        {"size": -1},
        {"size": 1 << 63},
        {"status": None},
        {"backup_id": "../../etc"},
        {"backup_id": ".."},
        {"parent_backup_id": "- (this is the oldest base backup)"},
        {"tablespaces": [["a", "16384", "/x"]]},
        {"tablespaces": [["a", 0, "/x"]]},
        {"tablespaces": [["a", 16384]]},
        {"begin_time_iso": "yesterday"},
    ],
)
def test_a_value_that_barman_does_not_write(change: dict[str, Any]) -> None:
    info = {**INFO, **change}
    for text, read in (
        (json.dumps({"backups": {IDENTIFIER: info}, "version": "3.19.1", "config": DIAGNOSED["config"]}), read_sync_info),
        (json.dumps({"backups_list": [info]}), read_cloud_list),
    ):
        with pytest.raises(RepositoryError):
            read(text)


def test_a_backup_under_another_name() -> None:
    with pytest.raises(RepositoryError, match="calls one backup"):
        read_sync_info(json.dumps({"backups": {"other": INFO}, "version": "3.19.1", "config": DIAGNOSED["config"]}))
    with pytest.raises(RepositoryError, match="asked for"):
        read_shown(SHOWN, server="demo", backup_id="other")


@pytest.mark.parametrize("key", ["_ERROR", "_EXCEPTION"])
def test_an_error_in_the_document_is_repeated(key: str) -> None:
    with pytest.raises(RepositoryError, match="Unknown backup 'x'"):
        read_shown(json.dumps({key: ["Unknown backup 'x' for server 'demo'"]}), server="demo", backup_id="x")


def read_all(text: str) -> list[BarmanBackup]:
    """What each reader makes of a text; a refusal is nothing, any other error is the test's."""
    found: list[BarmanBackup] = []
    readers: tuple[Callable[[], Any], ...] = (
        lambda: [info.backup() for info in read_sync_info(text).backups.values()],
        lambda: [read_shown(text, server="demo").backup()],
        lambda: list(read_cloud_list(text)),
    )
    for read in readers:
        try:
            found += read()
        except RepositoryError:
            continue
    with contextlib.suppress(RepositoryError):
        read_servers(text)
    return found


@given(st.data())
@settings(max_examples=150)
def test_a_cut_document_is_refused(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([SHOWN, sync_info(INFO), json.dumps({"backups_list": [INFO]})]))
    assert read_all(whole[: data.draw(st.integers(0, len(whole.rstrip()) - 1))]) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(changes=st.dictionaries(st.sampled_from(sorted(INFO)), JSON, max_size=3))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_is_read_or_refused(changes: dict[str, Any]) -> None:
    info = {**INFO, **changes}
    key = info["backup_id"] if isinstance(info["backup_id"], str) else IDENTIFIER
    text = json.dumps({"backups": {key: info}, "version": "3.19.1", "config": DIAGNOSED["config"]})
    for told in read_all(text):
        for backup in catalog_of(told).backups:
            untouched = {"begin_xlog", "end_xlog", "timeline", "status"}.isdisjoint(changes)
            assert backup.flaws or not untouched or backup.start_lsn == Lsn("0/25000028")


@given(st.permutations(sorted(INFO)), st.permutations(["a", "b", "c"]))
def test_order_does_not_matter(keys: list[str], order: list[str]) -> None:
    reordered = {key: INFO[key] for key in keys}
    told = [read_sync_info(sync_info({**reordered, "backup_id": name})).backups[name].backup() for name in order]
    catalog = catalog_of(*told)
    assert [backup.id for backup in catalog.backups] == ["a", "b", "c"]
    assert len({backup.model_copy(update={"id": ""}) for backup in catalog.backups}) == 1


@given(st.text() | st.binary().map(lambda content: content.decode("utf-8", "surrogateescape")))
def test_any_text_is_refused(text: str) -> None:
    assert read_all(text) == []


def test_nesting_without_end_is_refused() -> None:
    assert read_all("[" * 100_000) == []
    assert read_all('{"demo":' * 50_000) == []


def test_a_huge_catalog_is_read() -> None:
    infos = [{**INFO, "backup_id": f"{number:08d}T000000"} for number in range(5_000)]
    assert len(read_sync_info(sync_info(*infos)).backups) == 5_000


@given(st.integers(2, 30), st.data())
def test_a_chain_leads_to_a_full_backup_or_the_flaw_says_so(length: int, data: st.DataObject) -> None:
    parents = [data.draw(st.sampled_from(["", *(f"b{number}" for number in range(length + 1))])) for _ in range(length)]
    told = read_sync_info(sync_info(INFO)).backups[IDENTIFIER].backup()
    catalog = make_catalog(
        [Entry(told.model_copy(update={"id": f"b{number}", "parent": parent})) for number, parent in enumerate(parents)],
        ArchiveListing(Path("/wals")),
        identity="barman:demo",
        notes=(),
    )
    by_id = {backup.id: backup for backup in catalog.backups}
    for number, parent in enumerate(parents):
        backup = by_id[f"b{number}"]
        walked, here = [], parent
        while here and here in by_id and here not in walked and here != backup.id:
            walked.append(here)
            here = parents[int(here[1:])]
        assert backup.chain == tuple(walked)
        assert (BackupFlaw.BASE_MISSING in backup.flaws) is bool(here)
