"""How WAL-G is called, on the stand-in: its settings reach it and nobody else, and what it says is looked at."""

from __future__ import annotations

import os
import tarfile
import threading
from pathlib import Path

import pytest

from airflow_dr_provider.domain.catalog import Backup
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import ArchiveError, BackupError, ConfigurationError, RepositoryError
from airflow_dr_provider.repositories.tool import parse
from airflow_dr_provider.repositories.walg import WalGRepository
from airflow_dr_provider.repositories.walg_documents import FILES_METADATA
from airflow_dr_provider.repositories.walg_objects import read_object
from airflow_dr_provider.repositories.walg_program import WalG
from airflow_dr_provider.repositories.walg_restore import listed_files, look_over, restore_spec, tidy
from airflow_dr_provider.spec.repository import WalGSpec
from tests.support.walg_storage import Member, Storage, tar_of

DATA = Path(__file__).parents[2] / "data" / "walg"
SECRET = "wJalrXUtnFEMI/K7MDENG"


def walg(storage: Storage) -> WalG:
    return WalG(storage.settings, storage.program)


def repository(storage: Storage) -> WalGRepository:
    spec = WalGSpec.model_validate({"kind": "walg", "env_file": storage.settings, "program": storage.program})
    return WalGRepository(spec, base=Path("/"))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path).make(AWS_SECRET_ACCESS_KEY=SECRET, STANDIN_CALLS=str(tmp_path / "calls"))


# -- settings ----------------------------------------------------------------------------------------------------------
async def test_secrets_are_in_no_message_and_on_no_command_line(storage: Storage, tmp_path: Path) -> None:
    # The stand-in says the folder of its prefix in its error, as WAL-G does.
    storage.configure(
        WALG_FILE_PREFIX=f"/nowhere/{SECRET}", AWS_SECRET_ACCESS_KEY=SECRET, STANDIN_CALLS=str(tmp_path / "calls")
    )
    with pytest.raises(RepositoryError) as refused:
        await walg(storage).list("wal_005")
    assert SECRET not in refused.value.message
    assert "$WALG_FILE_PREFIX" in refused.value.message
    with pytest.raises(ArchiveError) as unread, walg(storage).open("wal_005/x.lz4") as stream:
        stream.read()
    assert SECRET not in unread.value.message
    assert SECRET not in (tmp_path / "calls").read_text()


async def test_our_settings_win_and_what_would_spoil_a_restore_is_left_out(storage: Storage) -> None:
    storage.configure(
        WALG_FETCH_TARGET_USER_DATA="x",
        HTTP_LISTEN=":9000",
        TZ="Asia/Kathmandu",
        WALG_LOG_DESTINATION="stdout",
        WALG_DOWNLOAD_FILE_RETRIES="7",
    )
    environment = walg(storage).tool.environment()
    assert {"WALG_FETCH_TARGET_USER_DATA", "HTTP_LISTEN"}.isdisjoint(environment)
    assert (environment["TZ"], environment["WALG_LOG_DESTINATION"]) == ("UTC", "stderr")
    assert (environment["WALG_DOWNLOAD_FILE_RETRIES"], environment["WALG_TAR_DISABLE_FSYNC"]) == ("7", "true")
    assert "WALG_FILE_PREFIX" not in os.environ


async def test_replaced_objects_of_a_versioned_bucket_are_not_listed(storage: Storage) -> None:
    storage.put_wal("000000010000000000000001", b"content")
    storage.configure(STANDIN_VERSIONED="1")
    rows, odd = await walg(storage).list("wal_005")
    assert ([row.name for row in rows], odd) == (["000000010000000000000001.lz4"], [])


async def test_a_program_that_is_not_there_is_named(storage: Storage) -> None:
    with pytest.raises(ConfigurationError, match="walg"):
        await WalG(storage.settings, storage.folder / "nowhere").check_version()
    with pytest.raises(ConfigurationError, match="env_file"):
        await WalG(storage.folder / "nowhere.env", storage.program).check_version()


# -- versions ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", ["v3.0.0", "v3.0.9", "v3.1", "v4.0.0"])
async def test_versions_that_can_decrypt_are_taken(storage: Storage, version: str) -> None:
    storage.configure(STANDIN_VERSION=f"wal-g version {version}\tx\tx\tPostgreSQL")
    assert await walg(storage).check_version() == ""


async def test_an_older_version_is_refused_clearly(storage: Storage) -> None:
    storage.configure(STANDIN_VERSION=(DATA / "version-2.0.1.txt").read_text().strip())
    with pytest.raises(ConfigurationError, match=r"is WAL-G 2\.0\.1; 3\.0\.0 or newer"):
        await repository(storage).catalog()


async def test_a_version_that_is_not_told_is_noted(storage: Storage) -> None:
    storage.configure(STANDIN_VERSION=(DATA / "version-untold.txt").read_text().strip())
    assert "doesn't tell its version" in await walg(storage).check_version()


# -- storage -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("gone", "code"), [("basebackups_005", "REPOSITORY_EMPTY"), ("wal_005", "ARCHIVE_MISSING")])
async def test_a_storage_without_its_folders_is_refused_and_gets_none(storage: Storage, gone: str, code: str) -> None:
    (storage.folder / "walg" / gone).rmdir()
    with pytest.raises(RepositoryError, match=gone) as refused:
        await repository(storage).catalog()
    assert refused.value.code == code
    assert not (storage.folder / "walg" / gone).exists()


async def test_a_storage_without_backups_is_empty(storage: Storage) -> None:
    with pytest.raises(RepositoryError) as refused:
        await repository(storage).catalog()
    assert refused.value.code == "REPOSITORY_EMPTY"


async def test_recorded_answers_make_a_catalog(storage: Storage) -> None:
    answers = storage.folder / "answers"
    answers.mkdir()
    for name, source in {
        "backup-list-detail-json": "backup-list.json",
        "st-ls-basebackups_005": "ls-basebackups.txt",
        "st-ls-wal_005": "ls-wal-3.0.9.txt",
        "st-cat-basebackups_005_base_000000020000000100000055_D_00000002000000010000002F_backup_stop_sentinel.json": "sentinel-delta.json",
    }.items():
        (answers / name).write_bytes((DATA / source).read_bytes())
    storage.configure(STANDIN_ANSWERS=str(answers))
    catalog = await repository(storage).catalog()
    notes = {backup.id: [flaw.value for flaw in backup.flaws] for backup in catalog.backups}
    assert notes == {
        "base_00000002000000010000000A": [],
        "base_00000002000000010000002F_D_00000002000000010000000A": ["unreadable"],  # its sentinel isn't among the answers
        "base_000000020000000100000055_D_00000002000000010000002F": ["base_missing"],
        "base_000000030000000100000071": [],
        "base_000000030000000100000090": ["incomplete"],
    }
    assert catalog.system_identifier == 7301234567890123456


# -- objects -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ending", ["", "gz", "lz4", "zst", "lzma"])
@pytest.mark.parametrize("key", ["", "a key of ours"])
def test_an_object_is_read_whatever_it_was_compressed_with(tmp_path: Path, ending: str, key: str) -> None:
    storage = Storage(tmp_path, ending=ending, key=key).make()
    tar = tar_of([Member("", None), Member("PG_VERSION", b"18\n"), Member("base/1/1259", bytes(8192))], "/")
    storage.put_wal("part.tar", tar)
    content = read_object(walg(storage), f"wal_005/{storage.wal_file('part.tar').name}")
    assert (content.fault, content.bytes_read) == ("", len(tar))
    assert content.members >= {"PG_VERSION", "base/1/1259"}


@pytest.mark.parametrize("damage", ["cut", "cut in a block", "flipped", "no tar", "empty", "gone", "other key"])
def test_a_damaged_object_is_a_fault(tmp_path: Path, damage: str) -> None:
    storage = Storage(tmp_path, ending="" if damage == "cut in a block" else "gz", key="a key of ours").make()
    tar = tar_of([Member("base/1/1259", os.urandom(8192)), Member("base/1/1260", os.urandom(100))], "/")
    stored = storage.put_wal("part.tar", {"no tar": b"x" * 10_240, "empty": b""}.get(damage, tar))
    data = bytearray(stored.read_bytes())
    if damage.startswith("cut"):
        del data[-700:]
    elif damage == "flipped":
        data[len(data) // 2] ^= 255
    stored.write_bytes(data)
    if damage == "gone":
        stored.unlink()
    if damage == "other key":
        storage.key = "another key"
        storage.configure()
    content = read_object(walg(storage), f"wal_005/{stored.name}")
    assert content.fault.startswith(("it can't be read", "it is cut off"))


def test_a_stream_left_early_ends_the_program(storage: Storage) -> None:
    storage.put_wal("000000010000000000000001", os.urandom(16 << 20))
    before = threading.active_count()
    for _ in range(3):
        with walg(storage).open("wal_005/000000010000000000000001.lz4") as stream:
            assert len(stream.read(40)) == 40
    assert threading.active_count() == before


# -- restore -----------------------------------------------------------------------------------------------------------
def test_tablespaces_are_sent_beside_the_data_directory(tmp_path: Path) -> None:
    spec = restore_spec(["16390"], tmp_path / "data")
    assert spec == {
        "base_prefix": str(tmp_path / "data"),
        "tablespaces": ["16390"],
        "16390": {"loc": str(tmp_path / "data.tablespaces" / "16390"), "link": "pg_tblspc/16390"},
    }


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/base/../../x", "/base//x", "/./x", "base/\0"])
def test_a_path_that_leads_out_of_the_directory_is_refused(path: str) -> None:
    metadata = parse(FILES_METADATA, f'{{"Files": {{"{path}": {{}}}}}}'.replace("\0", "\\u0000"), tool="WAL-G", what="it")
    with pytest.raises(BackupError) as refused:
        listed_files(metadata)
    assert refused.value.code == "BACKUP_MANIFEST_DAMAGED"


LABEL = "START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\nSTART TIMELINE: 1\n"


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "global").mkdir(parents=True)
    (data / "global" / "pg_control").write_bytes((77).to_bytes(8, "little") + bytes(100))
    (data / "backup_label").write_text(LABEL)
    (data / "PG_VERSION").write_text("18\n")
    return data


def report_codes(
    data: Path, *, files: str = '{"/": {}, "/PG_VERSION": {}}', cluster: int = 77, start: str = "0/5000028"
) -> list[str]:
    backup = Backup(id="b", repository="walg", system_identifier=cluster, timeline=1, start_lsn=Lsn(start))
    metadata = parse(FILES_METADATA, f'{{"Files": {files}}}', tool="WAL-G", what="it")
    report = look_over(backup, metadata, data)
    assert report.verified is False
    return [fault.code for fault in report.faults]


def test_what_was_restored_is_the_backup_that_was_chosen(restored: Path) -> None:
    assert report_codes(restored) == []
    assert report_codes(restored, files='{"/base/1/1259": {}}') == ["BACKUP_FILE_MISSING"]
    assert report_codes(restored, cluster=78) == ["BACKUP_CHECKSUM_MISMATCH"]
    assert report_codes(restored, start="0/6000028") == ["BACKUP_CHECKSUM_MISMATCH"]
    (restored / "backup_label").write_text("nonsense")
    assert report_codes(restored) == ["BACKUP_CHECKSUM_MISMATCH"]
    (restored / "backup_label").unlink()
    (restored / "global" / "pg_control").unlink()
    assert report_codes(restored) == ["BACKUP_FILE_MISSING"] * 2


def test_links_to_elsewhere_and_orders_of_production_s_are_not_kept(restored: Path) -> None:
    (restored / "postgresql.auto.conf").write_text("archive_command = 'rm'")
    (restored / "tablespace_map").write_text("16390 /srv/fast/pg\n")
    (restored / "log").symlink_to("/log")
    (restored / "base").mkdir()
    (restored / "base" / "link").symlink_to("/etc")
    (restored / "pg_wal").symlink_to("/pg_wal")
    (restored / "pg_tblspc").mkdir()
    place = restored.with_name("data.tablespaces") / "16390"
    (place / "PG_18").mkdir(parents=True)
    (restored / "pg_tblspc" / "16390").symlink_to(place)
    tidy(restored)
    assert sorted(path.name for path in restored.iterdir()) == [
        "PG_VERSION",
        "backup_label",
        "base",
        "global",
        "pg_tblspc",
        "pg_wal",
    ]
    assert not (restored / "pg_wal").is_symlink()
    assert list((restored / "base").iterdir()) == []
    assert (restored / "pg_tblspc" / "16390").readlink() == Path("../../data.tablespaces/16390")
    assert (restored / "pg_tblspc" / "16390" / "PG_18").is_dir()


def test_the_stand_in_writes_tar_files_that_others_read(tmp_path: Path) -> None:
    (tmp_path / "part.tar").write_bytes(tar_of([Member("", None), Member("a/b", b"x"), Member("gone", b"", packed=False)], "/"))
    with tarfile.open(tmp_path / "part.tar") as archive:
        assert [member.name for member in archive if member.isfile()] == ["/a/b"]
