"""A WAL-G storage made of a real production's backups and WAL, read and restored through the stand-in for its program."""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from airflow_dr_provider.demo.production import flip_byte
from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, Catalog
from airflow_dr_provider.domain.reports import FileReport
from airflow_dr_provider.domain.target import RecoveryTarget, TargetKind
from airflow_dr_provider.domain.verification import ItemReport, RepositoryItem
from airflow_dr_provider.errors import BackupError, RepositoryError
from airflow_dr_provider.repositories.walg import WalGRepository
from airflow_dr_provider.spec.repository import WalGSpec
from tests.integration.repositories.conftest import MIB, Copy, Lab, coordinate, path_of
from tests.integration.repositories.test_wal import recovering
from tests.support import walg
from tests.support.walg_storage import Storage

pytestmark = pytest.mark.postgres


@dataclass(frozen=True)
class Scene:
    """A storage of one test's own, and the plain backups and archive that it was made of."""

    storage: Storage
    copy: Copy
    full: str
    """A full backup's name."""
    elsewhere: Path
    """Where its sentinel says that production's tablespace lies."""

    @property
    def repository(self) -> WalGRepository:
        spec = WalGSpec.model_validate({"kind": "walg", "env_file": self.storage.settings, "program": self.storage.program})
        return WalGRepository(spec, base=Path("/"))

    def tar(self, part: str) -> Path:
        return next((self.storage.backups / self.full / walg.TARS).glob(f"{part}.tar*"))

    async def backup(self) -> Backup:
        return (await self.repository.catalog()).backup(self.full)

    async def items(self) -> tuple[Catalog, list[RepositoryItem]]:
        catalog = await self.repository.catalog()
        return catalog, [item async for item in self.repository.inventory(catalog)]

    async def read(self) -> dict[str, ItemReport]:
        """Every item's report, by what it is called."""
        catalog, items = await self.items()
        reports = [report async for report in self.repository.read_items(catalog, items)]
        assert sorted(report.name for report in reports) == sorted(item.name for item in items)
        return {report.name.split("/")[-1].removesuffix(".lz4"): report for report in reports}


@pytest.fixture(scope="module")
def pushed(lab18: Lab) -> Iterator[tuple[Storage, str]]:
    """A storage with a full backup that has a tablespace, and all WAL; the backup's name."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    storage = Storage(folder, ending="lz4").make()
    storage.push_wal(lab18.folder / "archive")
    oid = str(lab18.production.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'beside'")[0][0])
    yield storage, storage.push_backup(lab18.folder / "backups" / "full", spaces={oid: folder / "production-space"})
    assert sorted(path.name for path in folder.iterdir()) == ["wal-g", "walg", "walg.env"]
    shutil.rmtree(folder)


@pytest.fixture
def scene(pushed: tuple[Storage, str], copy: Copy, place: Path) -> Scene:
    """A copy of the storage."""
    copy.take("full")
    storage = replace(pushed[0], folder=place / "walg")
    storage.folder.mkdir()
    storage.make()
    shutil.copytree(pushed[0].folder / "walg", storage.folder / "walg", dirs_exist_ok=True)
    return Scene(storage, copy, pushed[1], pushed[0].folder / "production-space")


# -- catalog and WAL ---------------------------------------------------------------------------------------------------
async def test_the_catalog_is_that_of_the_folders_it_was_made_of(scene: Scene) -> None:
    found, known = await scene.repository.catalog(), await scene.copy.repository.catalog()
    assert found.archive == known.archive
    assert found.archive.segment_size == MIB
    assert found.system_identifier == known.system_identifier
    backup, plain = found.backup(scene.full), known.backup("full")
    for name in ("start_lsn", "stop_lsn", "timeline", "server_version", "system_identifier", "chain", "flaws"):
        assert getattr(backup, name) == getattr(plain, name), name


async def test_stopping_points_are_those_of_the_folders_it_was_made_of(scene: Scene, lab18: Lab) -> None:
    found, known = scene.repository, scene.copy.repository
    catalog, plain = await found.catalog(), await known.catalog()
    path = path_of(catalog, catalog.backup(scene.full))
    assert await found.last_record(catalog, path) == await known.last_record(plain, path)
    for kind, value in ((TargetKind.XID, lab18.facts["xid"]), (TargetKind.RESTORE_POINT, "twice")):
        target = RecoveryTarget(kind=kind, value=value)
        point = await found.find_target(catalog, path, target)
        assert point is not None
        assert point == await known.find_target(plain, path, target)


async def test_holes_flawed_segments_and_forks_are_found_by_us(scene: Scene, lab18: Lab) -> None:
    names = sorted(path.name.removesuffix(".lz4") for path in scene.storage.wal.glob("00000001*[0-9A-F].lz4"))
    scene.storage.wal_file(names[-6]).unlink()
    scene.storage.wal_file(names[-4]).write_bytes(b"")
    scene.storage.put_wal(names[-2], bytes(MIB))
    scene.storage.put_wal("00000002.history", b"1\t0/300000\tno recovery target specified\n")
    catalog = await scene.repository.catalog()
    numbers = {number for part in catalog.archive.ranges for number in range(part.first, part.last + 1)}
    assert int(names[-6][16:], 16) not in numbers
    assert int(names[-4][16:], 16) not in numbers
    assert [part.first for part in catalog.archive.flawed] == [int(names[-2][16:], 16)]
    assert [(fork.timeline, fork.parent) for fork in catalog.archive.forks] == [(2, 1)]
    assert any("zeros" in note for note in catalog.notes)


@pytest.mark.parametrize("cut", ["metadata.json", "gone"])
async def test_one_backup_s_damaged_metadata_spoils_no_other(scene: Scene, cut: str) -> None:
    other = "base_000000010000000000000001"
    shutil.copytree(scene.storage.backups / scene.full, scene.storage.backups / other)
    shutil.copy(scene.storage.backups / f"{scene.full}{walg.SENTINEL}", scene.storage.backups / f"{other}{walg.SENTINEL}")
    metadata = scene.storage.backups / other / "metadata.json"
    if cut == "gone":
        metadata.unlink()
    else:
        metadata.write_text(metadata.read_text()[:-20])
    catalog = await scene.repository.catalog()
    assert catalog.backup(scene.full).flaws == ()
    flaw = BackupFlaw.UNREADABLE if cut == "gone" else BackupFlaw.MANIFEST_DAMAGED
    assert catalog.backup(other).flaws == (flaw,)
    assert any("read by itself" in note for note in catalog.notes)


async def test_a_storage_out_of_reach_is_no_damage(scene: Scene) -> None:
    catalog, items = await scene.items()
    os.rename(scene.storage.folder / "walg", scene.storage.folder / "away")
    with pytest.raises(RepositoryError) as refused:
        [report async for report in scene.repository.read_items(catalog, items)]
    assert refused.value.code == "REPOSITORY_UNREACHABLE"
    with pytest.raises(RepositoryError):
        await scene.repository.restore(catalog, coordinate(catalog, scene.full, catalog.backups[0].stop_lsn), scene.copy.out)
    with pytest.raises(RepositoryError):
        await scene.repository.catalog()


# -- restore -----------------------------------------------------------------------------------------------------------
async def restore(scene: Scene) -> FileReport:
    catalog = await scene.repository.catalog()
    point = await scene.repository.last_record(catalog, path_of(catalog, catalog.backup(scene.full)))
    assert point is not None
    return await scene.repository.restore(catalog, coordinate(catalog, scene.full, point.lsn), scene.copy.out)


async def test_a_restored_backup_is_the_one_that_was_pushed_and_production_s_places_stay_untouched(scene: Scene) -> None:
    report = await restore(scene)
    assert (report.faults, report.verified) == ((), False)
    assert report.bytes_read > 20 * MIB
    assert not scene.elsewhere.exists()
    plain = scene.copy.backups / "full"
    for name in ("base", "global", "pg_xact"):
        _assert_same(plain / name, scene.copy.out / name)
    spaces = [path for path in (scene.copy.out / "pg_tblspc").iterdir() if path.is_symlink()]
    assert len(spaces) == 1
    assert spaces[0].resolve().parent == scene.copy.out.with_name("data.tablespaces").resolve()
    _assert_same(plain / "pg_tblspc" / spaces[0].name, spaces[0])
    assert not (scene.copy.out / "tablespace_map").exists()
    assert not (scene.copy.out / "postgresql.auto.conf").exists()


def _assert_same(one: Path, other: Path) -> None:
    files = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert files == {path.relative_to(other) for path in other.rglob("*") if path.is_file()}
    assert [name for name in files if not filecmp.cmp(one / name, other / name, shallow=False)] == []


async def test_a_server_replays_what_was_restored_and_fetched(scene: Scene, lab18: Lab) -> None:
    repository = scene.repository
    catalog = await repository.catalog()
    point = await repository.last_record(catalog, path_of(catalog, catalog.backup(scene.full)))
    assert point is not None
    assert (await restore(scene)).faults == ()
    target = coordinate(catalog, scene.full, point.lsn)
    report = await repository.fetch_wal(catalog, target, scene.copy.out.parent / "wal")
    assert (report.missing, report.damaged) == ((), ())
    with recovering(lab18, scene.copy, point.lsn) as server:
        server.wait("SELECT pg_is_in_recovery() AND pg_get_wal_replay_pause_state() = 'paused'")
        assert server.sql("SELECT count(*) FROM placed")[0][0] == lab18.facts["rows"]


async def test_a_try_that_was_interrupted_is_begun_anew(scene: Scene) -> None:
    (scene.copy.out / "base").mkdir()
    (scene.copy.out / "base" / "rubbish").write_text("left by an earlier try")
    assert (await restore(scene)).faults == ()
    assert not (scene.copy.out / "base" / "rubbish").exists()


async def test_a_full_disk_is_no_damage(scene: Scene) -> None:
    scene.storage.configure(STANDIN_FULL="1")
    with pytest.raises(OSError, match="no room") as refused:
        await restore(scene)
    assert refused.value.errno == errno.ENOSPC


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("damage", "part"), [(flip_byte, "part_001"), (_cut, "part_002"), (Path.unlink, "part_001"), (Path.unlink, "backup_label")]
)
async def test_a_backup_that_walg_can_not_restore_names_what_is_damaged(
    scene: Scene, damage: Callable[[Path], None], part: str
) -> None:
    tar = scene.tar(part)
    damage(tar)
    report = await restore(scene)
    assert report.faults
    assert any(
        tar.name in fault.path or "backup_label" in fault.path or "metadata lists" in fault.detail for fault in report.faults
    )


async def test_a_file_that_a_tar_file_lacks_is_missed(scene: Scene) -> None:
    path = scene.storage.backups / scene.full / "files_metadata.json"
    document = json.loads(path.read_text())
    tar = scene.tar("part_001").name
    document["Files"]["/base/1/77777"] = document["Files"]["/base"]
    document["TarFileSets"][tar].append("/base/1/77777")
    path.write_text(json.dumps(document))
    for report in (await restore(scene), await scene.repository.verify(await scene.backup())):
        assert [(fault.code, fault.path) for fault in report.faults] == [("BACKUP_FILE_MISSING", "base/1/77777")]


@pytest.mark.parametrize("loss", ["cut", "gone"])
async def test_a_backup_whose_own_list_is_damaged_is_refused(scene: Scene, loss: str) -> None:
    path = scene.storage.backups / scene.full / "files_metadata.json"
    if loss == "gone":
        path.unlink()
    else:
        _cut(path)
    with pytest.raises(BackupError) as refused:
        await restore(scene)
    assert refused.value.code == "BACKUP_MANIFEST_DAMAGED"
    report = await scene.repository.verify(await scene.backup())
    assert [fault.code for fault in report.faults] == ["BACKUP_MANIFEST_DAMAGED"]


# -- verification ------------------------------------------------------------------------------------------------------
async def test_a_sound_backup_has_no_fault_and_is_never_called_verified(scene: Scene) -> None:
    report = await scene.repository.verify(await scene.backup())
    assert (report.faults, report.verified) == ((), False)
    assert report.files > 900
    assert report.bytes_read > 20 * MIB


async def test_a_sound_storage_s_items_are_all_sound(scene: Scene) -> None:
    reports = await scene.read()
    assert [report for report in reports.values() if report.fault is not None] == []
    assert all(report.checksum.startswith("sha256:") for report in reports.values())
    assert not reports["part_001.tar"].compared
    segments = [report for name, report in reports.items() if len(name) == 24]
    assert len(segments) > 10
    assert all(report.compared for report in segments)
    assert not {"metadata.json", f"{scene.full}{walg.SENTINEL}"} & set(reports)


async def test_what_is_damaged_is_found_and_nothing_else(scene: Scene) -> None:
    names = sorted(path.name.removesuffix(".lz4") for path in scene.storage.wal.glob("00000001*[0-9A-F].lz4"))
    data = bytearray((scene.copy.archive / names[-9]).read_bytes())
    data[120] ^= 255  # in its first record, whatever follows it
    scene.storage.put_wal(names[-9], bytes(data))
    flip_byte(scene.storage.wal_file(names[-6]))
    flip_byte(scene.tar("part_002"))
    faulty = {name: report.fault for name, report in (await scene.read()).items() if report.fault is not None}
    damaged = {names[-9]: "WAL_SEGMENT_DAMAGED", names[-6]: "WAL_SEGMENT_DAMAGED", "part_002.tar": "BACKUP_UNREADABLE"}
    assert {name: fault.code for name, fault in faulty.items() if name in damaged} == damaged
    # A record may run from one segment into the next: the neighbour of a damaged one may be named with it.
    neighbours = {names[-10], names[-8], names[-7], names[-5]}
    assert set(faulty) - set(damaged) <= neighbours


async def test_every_item_is_named_once_and_a_push_changes_its_stamp(scene: Scene) -> None:
    _, items = await scene.items()
    assert len({item.name for item in items}) == len(items)
    scene.tar("part_001").touch()
    _, again = await scene.items()
    changed = [item.name for item, later in zip(items, again, strict=True) if item != later]
    assert [Path(name).name for name in changed] == ["part_001.tar.lz4"]
    assert [replace_stamp(item) for item in items] == [replace_stamp(item) for item in again]


def replace_stamp(item: RepositoryItem) -> RepositoryItem:
    return item.model_copy(update={"stamp": ""})


async def test_an_encrypted_storage_needs_its_key(scene: Scene, place: Path) -> None:
    storage = replace(scene.storage, folder=place / "encrypted", key="a key of ours", ending="gz")
    storage.folder.mkdir()
    storage.make()
    for name in sorted(path.name for path in scene.copy.archive.iterdir())[-3:]:
        storage.put_wal(name, (scene.copy.archive / name).read_bytes())
    shutil.copytree(scene.storage.backups, storage.backups, dirs_exist_ok=True)
    encrypted = replace(scene, storage=storage)
    assert (await encrypted.repository.catalog()).archive.flawed == ()
    storage.key = ""
    storage.configure()
    without = await encrypted.repository.catalog()
    assert (without.archive.ranges, len(without.archive.flawed)) == ((), 1)
