"""A real Barman: what its catalog says, held against what is there; and what is restored, byte by byte."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.domain.catalog import BackupFlaw, SegmentRange
from airflow_dr_provider.domain.continuity import holes, reach
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import FileReport
from airflow_dr_provider.domain.target import RecoveryTarget, TargetKind
from airflow_dr_provider.domain.wal import parse_segment
from airflow_dr_provider.errors import ConfigurationError, RepositoryError
from tests.integration.repositories.barman_lab import COMPRESSIONS, Barman, shown_statuses
from tests.integration.repositories.conftest import coordinate, path_of

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(shutil.which("rsync") is None, reason="Barman needs rsync"),
]

RELATION = "global/1262"
MIB = 1 << 20


async def restore(barman: Barman, server: str, backup: str, out: Path | None = None) -> FileReport:
    repository = barman.repository(server)
    catalog = await repository.catalog()
    destination = out or barman.folder / "out" / "data"
    destination.mkdir(parents=True, exist_ok=True)
    return await repository.restore(catalog, coordinate(catalog, backup, Lsn("0/0")), destination)


async def verify(barman: Barman, server: str, backup: str) -> FileReport:
    repository = barman.repository(server)
    return await repository.verify((await repository.catalog()).backup(backup))


def number(name: str) -> int:
    place = parse_segment(name, MIB)
    assert place is not None
    return place[1]


def faults(report: FileReport) -> list[tuple[str, str]]:
    return [(fault.code, fault.path) for fault in report.faults]


# -- the catalog -------------------------------------------------------------------------------------------------------
async def test_a_sound_catalog(barman: Barman) -> None:
    facts = barman.facts
    catalog = await barman.repository("main").catalog()
    sound = {backup.id: backup for backup in catalog.backups if not backup.flaws}
    assert list(sound) == [facts["first"], facts["second"], facts["step"]]
    assert [backup.chain for backup in sound.values()] == [(), (), (facts["second"],)]
    assert {backup.server_version for backup in sound.values()} == {18}
    identifier = barman.production.sql("SELECT system_identifier FROM pg_control_system()")[0][0]
    assert {backup.system_identifier for backup in sound.values()} == {identifier} == {catalog.system_identifier}
    for backup in sound.values():
        assert backup.start_time is not None
        assert backup.stop_time is not None
        assert backup.start_time <= backup.stop_time <= facts["heartbeat"]
        assert reach(catalog.archive, backup, 1).consistent
    assert catalog.archive.segment_size == MIB
    assert [part.last for part in catalog.archive.ranges] == [number(facts["last"])]
    assert (holes(catalog), catalog.archive.flawed, catalog.notes) == ((), (), ())


async def test_a_failed_backup_is_no_candidate(barman: Barman) -> None:
    failed = (await barman.repository("main").catalog()).backup(barman.facts["failed"])
    assert failed.flaws == (BackupFlaw.ERROR_FLAG,)
    assert "failed" in failed.note


@pytest.mark.parametrize("status", ["STARTED", "EMPTY", "SYNCING"])
async def test_an_unfinished_backup_is_no_candidate(barman: Barman, status: str) -> None:
    barman.tell("main", barman.facts["first"], status=status)
    assert shown_statuses(barman, "main")[barman.facts["first"]] == status
    catalog = await barman.repository("main").catalog()
    assert catalog.backup(barman.facts["first"]).flaws == (BackupFlaw.INCOMPLETE,)
    assert catalog.backup(barman.facts["second"]).flaws == ()


async def test_whether_a_backup_waits_for_wal_is_counted_not_read(barman: Barman) -> None:
    """Barman's flag is not believed either way."""
    first, second = barman.facts["first"], barman.facts["second"]
    barman.tell("main", first, status="WAITING_FOR_WALS")
    catalog = await barman.repository("main").catalog()
    assert (catalog.backup(first).flaws, catalog.backup(first).stop_lsn) == ((), catalog.backup(first).stop_lsn)
    assert reach(catalog.archive, catalog.backup(first), 1).consistent
    start = catalog.backup(second).start_lsn
    assert start is not None
    barman.segment("main", f"{1:08X}{0:08X}{start // MIB:08X}").unlink()
    assert shown_statuses(barman, "main")[second] == "DONE"
    catalog = await barman.repository("main").catalog()
    assert not reach(catalog.archive, catalog.backup(second), 1).consistent


async def test_a_missing_segment_is_a_hole_though_barman_lists_it(barman: Barman) -> None:
    name = barman.facts["after_first"]
    barman.segment("main", name).unlink()
    catalog = await barman.repository("main").catalog()
    assert holes(catalog) == (SegmentRange(timeline=1, first=number(name), last=number(name)),)
    assert any(name in note and "not there" in note for note in catalog.notes)
    assert reach(catalog.archive, catalog.backup(barman.facts["second"]), 1).hole is None
    path = next((barman.home / "main" / "wals").glob("*xlog.db"))
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if barman.facts["last"] not in line))
    catalog = await barman.repository("main").catalog()
    assert any(barman.facts["last"] in note and "does not know" in note for note in catalog.notes)


@pytest.mark.parametrize("loss", ["cut", "changed", "gone", "label", "folder"])
async def test_what_is_missing_from_a_backup_s_folder_shows_in_the_catalog(barman: Barman, loss: str) -> None:
    first = barman.facts["first"]
    data = barman.data("main", first)
    manifest = data / "backup_manifest"
    expected = {BackupFlaw.MANIFEST_DAMAGED}
    if loss == "cut":
        os.truncate(barman.own(manifest), 1000)
    elif loss == "changed":
        barman.damage(manifest)
    elif loss == "gone":
        manifest.unlink()
        expected = {BackupFlaw.NO_MANIFEST}
    elif loss == "label":
        (data / "backup_label").unlink()
        expected = {BackupFlaw.NO_LABEL}
    else:
        shutil.rmtree(data)
        expected = {BackupFlaw.UNREADABLE}
    catalog = await barman.repository("main").catalog()
    assert set(catalog.backup(first).flaws) == expected
    assert catalog.backup(barman.facts["second"]).flaws == ()


async def test_an_incremental_backup_without_its_base(barman: Barman) -> None:
    barman.info("main", barman.facts["second"]).unlink()
    catalog = await barman.repository("main").catalog()
    step = catalog.backup(barman.facts["step"])
    assert step.flaws == (BackupFlaw.BASE_MISSING,)
    assert barman.facts["second"] in step.note


async def test_a_server_that_barman_does_not_have(barman: Barman) -> None:
    with pytest.raises(RepositoryError, match=r"no server nosuch.*copied, main, packed"):
        await barman.repository("nosuch").catalog()
    with pytest.raises(RepositoryError, match="nowhere"):
        await barman.repository("main", config=barman.folder / "nowhere").catalog()
    with pytest.raises(ConfigurationError, match="barman"):
        await barman.repository("main", bin=barman.folder).catalog()


async def test_an_inactive_server(barman: Barman) -> None:
    barman.config.write_text(barman.config.read_text().replace("description = main", "description = main\nactive = false"))
    with pytest.raises(RepositoryError, match="inactive"):
        await barman.repository("main").catalog()


async def test_a_server_without_a_backup_and_one_without_wal(barman: Barman) -> None:
    shutil.rmtree(barman.home / "packed" / "wals")
    catalog = await barman.repository("packed").catalog()
    # Barman makes the folder anew as soon as it is asked.
    assert catalog.archive.ranges == ()
    assert not reach(catalog.archive, catalog.backup(barman.facts["packed"]), 1).consistent
    shutil.rmtree(barman.home / "copied" / "meta")
    with pytest.raises(RepositoryError) as refused:
        await barman.repository("copied").catalog()
    assert refused.value.code == "REPOSITORY_EMPTY"


async def test_nothing_is_changed(barman: Barman) -> None:
    def seen() -> dict[str, int]:
        own = (".log", ".lock")  # Barman's own
        return {
            str(path): path.stat().st_mtime_ns for path in barman.home.rglob("*") if path.is_file() and path.suffix not in own
        }

    before = seen()
    assert (await restore(barman, "main", barman.facts["step"])).faults == ()
    assert (await verify(barman, "main", barman.facts["first"])).faults == ()
    assert seen() == before


async def test_production_is_not_called_on(barman: Barman) -> None:
    text = barman.config.read_text().replace(str(barman.production.socket), str(barman.folder / "gone"))
    barman.config.write_text(text)
    catalog = await barman.repository("main").catalog()
    assert {backup.id for backup in catalog.backups} == set(barman.ids("main"))
    assert "gone" not in (barman.home / "barman.log").read_text()


# -- WAL ---------------------------------------------------------------------------------------------------------------
async def test_every_compression_is_told_from_the_content(barman: Barman) -> None:
    repository = barman.repository("packed")
    catalog = await repository.catalog()
    last = await repository.last_record(catalog, path_of(catalog))
    assert last is not None
    target = coordinate(catalog, barman.facts["packed"], last.lsn)
    out = barman.folder / "wal"
    out.mkdir()
    report = await repository.fetch_wal(catalog, target, out)
    assert (report.missing, report.damaged, report.detail) == ((), (), "")
    for compression in COMPRESSIONS:
        assert (out / barman.facts[compression]).stat().st_size == MIB
        assert barman.segment("packed", barman.facts[compression]).stat().st_size != MIB
    found = await repository.find_target(
        catalog, path_of(catalog), RecoveryTarget(kind=TargetKind.RESTORE_POINT, value="before_the_mistake")
    )
    assert found is not None


@pytest.mark.parametrize("compression", COMPRESSIONS)
async def test_a_damaged_compressed_segment(barman: Barman, compression: str) -> None:
    name = barman.facts[compression]
    path = barman.own(barman.segment("packed", name))
    os.truncate(path, path.stat().st_size - 40)
    repository = barman.repository("packed")
    catalog = await repository.catalog()
    target = coordinate(catalog, barman.facts["packed"], Lsn((number(barman.facts["last"]) + 1) * MIB - 1))
    out = barman.folder / "wal"
    out.mkdir()
    report = await repository.fetch_wal(catalog, target, out)
    assert SegmentRange(timeline=1, first=number(name), last=number(name)) in (*report.damaged, *catalog.archive.flawed)


async def test_what_is_still_being_received(barman: Barman) -> None:
    following = f"{barman.facts['last'][:16]}{number(barman.facts['last']) + 1:08X}.partial"
    shutil.copy(barman.segment("main", barman.facts["last"]), barman.home / "main" / "streaming" / following)
    archive = (await barman.repository("main").catalog()).archive
    assert archive.partial == (
        SegmentRange(timeline=1, first=number(barman.facts["last"]) + 1, last=number(barman.facts["last"]) + 1),
    )
    assert archive.ranges[-1].last == number(barman.facts["last"])


# -- files -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("server", "backup"), [("main", "first"), ("main", "step"), ("packed", "packed"), ("copied", "copied")]
)
async def test_a_sound_backup_is_restored(barman: Barman, server: str, backup: str) -> None:
    out = barman.folder / "out" / "data"
    report = await restore(barman, server, barman.facts[backup])
    assert report.faults == ()
    # rsync's copies have nothing to be compared with.
    assert report.verified is (server != "copied")
    assert report.files > 900
    links = list((out / "pg_tblspc").iterdir())
    assert [os.readlink(link) for link in links] == [f"../../data.tablespaces/{link.name}" for link in links]
    assert len(links) == 1
    assert any(path.is_file() and path.stat().st_size for path in links[0].rglob("*"))
    assert not {"postgresql.auto.conf", "tablespace_map", "recovery.signal"} & {path.name for path in out.iterdir()}


@pytest.mark.parametrize("backup", ["second", "step"])
async def test_trap_7_barman_restores_a_corrupt_backup_and_calls_it_good(barman: Barman, backup: str) -> None:
    """We refuse it, and what builds on it."""
    second = barman.facts["second"]
    barman.damage(barman.data("main", second) / RELATION)
    if backup == "second":
        out = barman.folder / "by-barman"
        done = barman.run("restore", "main", second, str(out), "--tablespace", f"beside:{barman.folder}/space", check=False)
        assert done.returncode == 0
        assert (out / RELATION).read_bytes() == (barman.data("main", second) / RELATION).read_bytes()
    name = f"{second}/{RELATION}" if backup == "step" else RELATION
    for report in (await restore(barman, "main", barman.facts[backup]), await verify(barman, "main", barman.facts[backup])):
        assert faults(report) == [("BACKUP_CHECKSUM_MISMATCH", name)]
        assert not report.verified
    assert (await verify(barman, "main", barman.facts["first"])).faults == ()


@pytest.mark.parametrize("damage", ["byte", "cut", "missing", "extra"])
async def test_each_damage_is_named(barman: Barman, damage: str) -> None:
    first = barman.facts["first"]
    file = barman.data("main", first) / RELATION
    expected = ("BACKUP_FILE_MISSING", RELATION)
    if damage == "byte":
        barman.damage(file)
        expected = ("BACKUP_CHECKSUM_MISMATCH", RELATION)
    elif damage == "cut":
        os.truncate(barman.own(file), 100)
        expected = ("BACKUP_FILE_SIZE", RELATION)
    elif damage == "missing":
        file.unlink()
    else:
        (file.parent / "stray").touch()
        expected = ("BACKUP_FILE_EXTRA", "global/stray")
    assert faults(await restore(barman, "main", first)) == [expected]


async def test_damage_inside_a_tar_file(barman: Barman) -> None:
    archive = barman.data("packed", barman.facts["packed"]) / "base.tar.gz"
    barman.damage(archive)
    for report in (
        await restore(barman, "packed", barman.facts["packed"]),
        await verify(barman, "packed", barman.facts["packed"]),
    ):
        assert report.faults
        assert not report.verified


async def test_tablespaces_are_found_where_barman_s_home_is_now(barman: Barman) -> None:
    """Links in a backup lead to where its home was when it was made; a copy of the home brings tablespaces of its own."""
    second = barman.facts["second"]
    link = next((barman.data("main", second) / "pg_tblspc").iterdir())
    assert link.resolve() != barman.data("main", second).parent / link.name
    own = barman.data("main", second).parent / link.name
    file = max((path for path in own.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    barman.damage(file)
    inside = f"pg_tblspc/{link.name}/{file.relative_to(own)}"
    assert faults(await restore(barman, "main", second)) == [("BACKUP_CHECKSUM_MISMATCH", inside)]
    assert faults(await restore(barman, "main", barman.facts["step"])) == [("BACKUP_CHECKSUM_MISMATCH", f"{second}/{inside}")]


# -- rsync -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss", ["file", "end", "tablespace", "control"])
async def test_what_is_missing_from_a_copy_shows_without_a_manifest(barman: Barman, loss: str) -> None:
    copied = barman.facts["copied"]
    data = barman.data("copied", copied)
    if loss == "file":
        (data / RELATION).unlink()
    elif loss == "end":
        os.truncate(barman.own(data / RELATION), 8000)
    elif loss == "control":
        (data / "global" / "pg_control").unlink()
        flaws = (await barman.repository("copied").catalog()).backup(copied).flaws
        assert flaws == (BackupFlaw.INCOMPLETE,)
        return
    else:
        shutil.rmtree(next(path for path in data.parent.iterdir() if path.name.isdigit()))
    for report in (await restore(barman, "copied", copied), await verify(barman, "copied", copied)):
        assert [fault.code for fault in report.faults] == [
            "BACKUP_FILE_MISSING" if loss == "tablespace" else "BACKUP_FILE_SIZE"
        ]


async def test_a_copy_is_verified_as_far_as_its_manifest_goes(barman: Barman) -> None:
    copied = barman.facts["copied"]
    barman.run("generate-manifest", "copied", copied)
    report = await restore(barman, "copied", copied)
    # Barman's own manifest leaves the tablespaces out.
    assert (report.faults, report.verified) == ((), False)
    barman.damage(barman.data("copied", copied) / RELATION)
    for report in (await restore(barman, "copied", copied), await verify(barman, "copied", copied)):
        assert faults(report) == [("BACKUP_CHECKSUM_MISMATCH", RELATION)]


# -- timelines ---------------------------------------------------------------------------------------------------------
async def test_a_fork(barman: Barman) -> None:
    """A server is restored from Barman's own files, promoted, and archives its timeline into the same place."""
    lab_folder = barman.folder / "forked"
    lab_folder.mkdir()
    catalog = await barman.repository("main").catalog()
    point = await barman.repository("main").last_record(catalog, path_of(catalog))
    assert point is not None
    data = lab_folder / "production"
    data.mkdir()
    assert (await restore(barman, "main", barman.facts["second"], data)).faults == ()
    wals, incoming = barman.home / "main" / "wals", barman.home / "main" / "incoming"
    with DemoProduction(lab_folder) as forked:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(forked.socket),
            "restore_command": f"cp {wals}/$(echo %f | cut -c1-16)/%f %p",
            "recovery_target_lsn": str(point.lsn),
            "recovery_target_action": "promote",
            "archive_command": f"cp %p {incoming}/%f",
            "hot_standby": "off",
        }
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        (data / "recovery.signal").touch()
        data.chmod(0o700)
        forked.account.own_tree(lab_folder)
        forked.account.own(incoming)
        forked.start()
        forked.sql("INSERT INTO placed VALUES (77)")
        name = str(forked.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
        forked.sql("CHECKPOINT")
        forked.stop()  # a clean stop waits for the archiver
    assert (incoming / name).exists()
    assert (incoming / "00000002.history").exists()
    barman.run("archive-wal", "main")
    catalog = await barman.repository("main").catalog()
    assert [(fork.timeline, fork.parent) for fork in catalog.archive.forks] == [(2, 1)]
    assert catalog.archive.forks[0].switch_lsn > point.lsn
    assert {part.timeline for part in catalog.archive.ranges} == {1, 2}
    reached = reach(catalog.archive, catalog.backup(barman.facts["second"]), 2)
    assert (reached.consistent, reached.on_timeline, reached.hole) == (True, True, None)
    found = await barman.repository("main").last_record(catalog, reached.path)
    assert found is not None
    assert found.timeline == 2
