"""The catalog of a real stanza, sound and spoilt; what is restored is what was backed up."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_dr_provider.domain.catalog import BackupFlaw, BackupKind, SegmentRange
from airflow_dr_provider.domain.continuity import holes, latest_timeline, reach
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import FileReport
from airflow_dr_provider.domain.target import RecoveryTarget, TargetKind
from airflow_dr_provider.domain.wal import parse_segment, segment_name
from airflow_dr_provider.errors import ConfigurationError, RepositoryError
from airflow_dr_provider.repositories.pgbackrest import PgBackRestRepository
from airflow_dr_provider.spec.repository import PgBackRestSpec
from tests.integration.repositories.conftest import MIB, path_of
from tests.integration.repositories.pgbackrest_lab import (
    STANZA,
    Stanza,
    StanzaCopy,
    backrest,
    coordinate,
    copy_stanza,
    posix,
    write_config,
)
from tests.integration.repositories.test_wal import recovering

pytestmark = pytest.mark.postgres


def range_of(name: str) -> SegmentRange:
    place = parse_segment(name, MIB)
    assert place is not None
    return SegmentRange(timeline=place[0], first=place[1], last=place[1])


async def restore(copy: StanzaCopy, name: str, *, repo: int | None = 1) -> FileReport:
    repository = copy.repository(repo)
    catalog = await repository.catalog()
    return await repository.restore(catalog, coordinate(catalog, catalog.backup(copy.label(name))), copy.out)


# -- the catalog -------------------------------------------------------------------------------------------------------
async def test_a_sound_stanza(stanza_copy: StanzaCopy) -> None:
    catalog = await stanza_copy.repository(None).catalog()
    labels = stanza_copy.source.labels
    control = stanza_copy.source.production.run("pg_controldata", str(stanza_copy.source.production.data)).stdout
    assert f"{catalog.system_identifier}" in control
    assert catalog.notes == ()
    assert (catalog.archive.segment_size, catalog.archive.flawed) == (MIB, ())
    assert holes(catalog) == ()
    assert [backup.id for backup in catalog.backups] == [
        labels[name] for name in ("full", "elsewhere", "diff", "incr", "elsewhere_incr", "newest")
    ]
    kinds = {name: catalog.backup(label).kind for name, label in labels.items()}
    assert (kinds["full"], kinds["diff"], kinds["incr"]) == (
        BackupKind.FULL, BackupKind.DIFFERENTIAL, BackupKind.INCREMENTAL,
    )  # fmt: skip
    assert catalog.backup(labels["incr"]).chain == (labels["diff"], labels["full"])
    assert catalog.backup(labels["elsewhere_incr"]).chain == (labels["elsewhere"],)
    assert {backup.repository for backup in catalog.backups} == {"repo1", "repo2"}
    last = segment_name(1, catalog.archive.ranges[-1].last, MIB)
    assert last == stanza_copy.source.facts["last"]
    for backup in catalog.backups:
        assert backup.flaws == ()
        assert (backup.server_version, backup.timeline) == (15, 1)
        assert backup.start_lsn is not None
        assert backup.stop_lsn is not None
        assert backup.start_lsn < backup.stop_lsn
        assert backup.start_time is not None
        assert backup.stop_time is not None
        assert timedelta(0) <= backup.stop_time - backup.start_time < timedelta(minutes=5)
        assert backup.size_bytes > 20 * MIB
        assert reach(catalog.archive, backup, 1).end_lsn == (catalog.archive.ranges[-1].last + 1) * MIB


async def test_a_fork(posix_stanza: Stanza, place: Path) -> None:
    catalog = await copy_stanza(posix_stanza, place, "forked").repository(None).catalog()
    assert latest_timeline(catalog) == 2
    assert [(fork.timeline, fork.parent) for fork in catalog.archive.forks] == [(2, 1)]
    assert range_of(posix_stanza.facts["forked"]) in [
        SegmentRange(timeline=part.timeline, first=part.last, last=part.last) for part in catalog.archive.ranges
    ]
    for backup in catalog.backups:
        reached = reach(catalog.archive, backup, 2)
        assert reached.on_timeline
        assert reached.hole is None
        assert reached.path[-1].timeline == 2


async def test_a_missing_and_an_empty_segment(stanza_copy: StanzaCopy) -> None:
    facts = stanza_copy.source.facts
    stanza_copy.segment(facts["between"]).unlink()
    stanza_copy.own(stanza_copy.segment(facts["after"])).write_bytes(b"")
    catalog = await stanza_copy.repository(1).catalog()
    assert catalog.archive.flawed == (range_of(facts["after"]),)
    assert set(holes(catalog)) == {range_of(facts["between"]), range_of(facts["after"])}
    # The other repository has them.
    assert holes(await stanza_copy.repository(2).catalog()) == ()


async def test_a_segment_that_one_repository_lost(stanza_copy: StanzaCopy) -> None:
    stanza_copy.segment(stanza_copy.source.facts["between"]).unlink()
    catalog = await stanza_copy.repository(None).catalog()
    assert holes(catalog) == ()


async def test_the_same_segment_with_different_contents(stanza_copy: StanzaCopy) -> None:
    facts = stanza_copy.source.facts
    path = stanza_copy.segment(facts["after"])
    name, _, suffix = path.name.partition("-")
    path.with_name(f"{name}-{'0' * 40}{suffix[40:]}").write_bytes(path.read_bytes())
    alone = await stanza_copy.repository(1).catalog()
    assert alone.archive.flawed == (range_of(facts["after"]),)
    assert any("twice" in note and name in note for note in alone.notes)
    assert holes(await stanza_copy.repository(None).catalog()) == ()
    path.unlink()
    other = await stanza_copy.repository(None).catalog()
    assert any("different repositories" in note and name in note for note in other.notes)


@pytest.mark.parametrize("repo", [1, 2])
async def test_a_manifest_that_is_gone_or_cut(stanza_copy: StanzaCopy, repo: int) -> None:
    names = {1: ("newest", "incr"), 2: ("elsewhere", "elsewhere_incr")}[repo]
    stanza_copy.manifest(names[0], repo=repo).unlink()
    path = stanza_copy.own(stanza_copy.manifest(names[1], repo=repo))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    catalog = await stanza_copy.repository(repo).catalog()
    flaws = {backup.id: backup.flaws for backup in catalog.backups if backup.flaws}
    assert flaws == {
        stanza_copy.label(names[0]): (BackupFlaw.NO_MANIFEST,),
        stanza_copy.label(names[1]): (BackupFlaw.MANIFEST_DAMAGED if repo == 1 else BackupFlaw.UNREADABLE,),
    }
    assert all(backup.note for backup in catalog.backups if backup.flaws)


async def test_a_manifest_of_another_backup(stanza_copy: StanzaCopy) -> None:
    path = stanza_copy.own(stanza_copy.manifest("newest"))
    path.write_bytes(stanza_copy.manifest("full").read_bytes())
    backup = (await stanza_copy.repository().catalog()).backup(stanza_copy.label("newest"))
    assert backup.flaws == (BackupFlaw.MANIFEST_DAMAGED,)
    assert stanza_copy.label("full") in backup.note


async def test_one_label_in_two_repositories(stanza_copy: StanzaCopy) -> None:
    """A repository that was copied."""
    shutil.copytree(stanza_copy.folder / "repo1", stanza_copy.folder / "copied")
    roots = f"repo1-path={stanza_copy.folder}/repo1\nrepo2-path={stanza_copy.folder}/copied"
    copy = replace(stanza_copy, config=write_config(stanza_copy.folder / "two.conf", roots))
    catalog = await copy.repository(None).catalog()
    label = copy.label("incr")
    for repo in (1, 2):
        backup = catalog.backup(f"{label}@repo{repo}")
        assert backup.repository == f"repo{repo}"
        assert backup.chain == tuple(f"{copy.label(name)}@repo{repo}" for name in ("diff", "full"))
    path = copy.folder / "copied" / "backup" / STANZA / label / "backup.manifest"
    path.unlink()
    spoilt = await copy.repository(None).catalog()
    assert [backup.id for backup in spoilt.backups if backup.flaws] == [f"{label}@repo2"]
    repository = copy.repository(None)
    report = await repository.restore(spoilt, coordinate(spoilt, spoilt.backup(f"{label}@repo1")), copy.out)
    assert report.faults == ()


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("stanza", "REPOSITORY_UNREACHABLE", "no stanza other"),
        ("config", "REPOSITORY_UNREACHABLE", "nowhere.conf"),
        ("folder", "REPOSITORY_UNREACHABLE", "no stanza main"),
        ("empty", "REPOSITORY_EMPTY", "holds no backup"),
        ("archive", "ARCHIVE_MISSING", "archive"),
    ],
)
async def test_what_is_no_repository_is_said(stanza_copy: StanzaCopy, what: str, code: str, said: str) -> None:
    name, config = STANZA, stanza_copy.config
    if what == "stanza":
        name = "other"
    elif what == "config":
        config = stanza_copy.folder / "nowhere.conf"
    elif what == "folder":
        config = write_config(stanza_copy.folder / "other.conf", posix(stanza_copy.folder / "nowhere"))
    elif what == "empty":
        for kind in ("backup", "archive"):
            shutil.rmtree(stanza_copy.folder / "repo1" / kind / STANZA)
        make = stanza_copy.folder / "make.conf"
        backrest(write_config(make, posix(stanza_copy.folder / "repo1"), stanza_copy.source.production), "stanza-create")
    else:
        for entry in (stanza_copy.folder / "repo1" / "archive" / STANZA).glob("15-*"):
            shutil.rmtree(entry)
    settings = PgBackRestSpec(kind="pgbackrest", stanza=name, config=config, repo=1)
    with pytest.raises(RepositoryError) as refused:
        await PgBackRestRepository(settings, base=Path("/")).catalog()
    assert refused.value.code == code, refused.value.message
    assert said in refused.value.message


async def test_an_old_program_is_refused_and_a_new_one_noted(stanza_copy: StanzaCopy) -> None:
    program = stanza_copy.folder / "pgbackrest"
    for version, refused in (("2.44", True), ("2.61.1", False), ("3", True)):
        program.write_text(
            f'#!/bin/sh\n[ "$1" = version ] && echo "pgBackRest {version}" || exec {shutil.which("pgbackrest")} "$@"\n'
        )
        program.chmod(0o755)
        settings = PgBackRestSpec(kind="pgbackrest", stanza=STANZA, config=stanza_copy.config, repo=1, program=program)
        repository = PgBackRestRepository(settings, base=Path("/"))
        if refused:
            with pytest.raises(ConfigurationError, match=r"2\.45 or newer"):
                await repository.catalog()
        else:
            assert any("2.61" in note for note in (await repository.catalog()).notes)


# -- files -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "repo"), [("incr", 1), ("newest", 1), ("elsewhere_incr", 2)])
async def test_a_sound_backup(stanza_copy: StanzaCopy, name: str, repo: int) -> None:
    (stanza_copy.out / "left_by_an_earlier_try").touch()
    report = await restore(stanza_copy, name, repo=repo)
    assert report.faults == ()
    assert report.verified
    assert report.bytes_read > 20 * MIB
    names = {entry.name for entry in stanza_copy.out.iterdir()}
    assert not names & {"recovery.signal", "standby.signal", "postgresql.auto.conf", "tablespace_map", "left_by_an_earlier_try"}
    assert {"PG_VERSION", "backup_label", "pg_wal", "pg_tblspc", "base", "global"} <= names
    (link,) = (stanza_copy.out / "pg_tblspc").iterdir()
    assert str(link.readlink()) == f"../../data.tablespaces/{link.name}"
    assert list(link.rglob("PG_*"))
    repository = stanza_copy.repository(repo)
    backup = (await repository.catalog()).backup(stanza_copy.label(name))
    verified = await repository.verify(backup)
    assert (verified.faults, verified.verified) == ((), True)


async def test_a_configuration_s_orders_for_production_are_not_obeyed(stanza_copy: StanzaCopy) -> None:
    elsewhere = stanza_copy.folder / "elsewhere"
    with stanza_copy.config.open("a") as config:
        config.write(
            f"pg1-path={elsewhere}\npg1-host=production.invalid\ntablespace-map-all={elsewhere}\nlink-all=y\n"
            f"link-map=pg_wal={elsewhere}\ndb-include=postgres\nrecovery-option=primary_conninfo=host=production\ndelta=y\n"
        )
    report = await restore(stanza_copy, "incr")
    assert report.faults == ()
    assert not elsewhere.exists()
    assert not (stanza_copy.out / "pg_wal").is_symlink()


@pytest.mark.parametrize(
    ("name", "damaged", "pattern", "damage", "code"),
    [
        ("full", "full", "pg_data/base/*/*.gz", "flip", "BACKUP_UNREADABLE"),
        ("full", "full", "pg_data/base/*/*.gz", "gone", "BACKUP_FILE_MISSING"),
        ("full", "full", "pg_data/base/*/*.gz", "swap", "BACKUP_FILE_SIZE"),
        ("diff", "full", "pg_data/base/*/*.gz", "flip", "BACKUP_UNREADABLE"),
        ("newest", "newest", "bundle/*", "flip", "BACKUP_"),
    ],
)
async def test_each_damage_is_named(
    stanza_copy: StanzaCopy, name: str, damaged: str, pattern: str, damage: str, code: str
) -> None:
    files = [path for path in stanza_copy.files(damaged, "*") if path.match(pattern)]
    path = stanza_copy.own(files[0])
    if damage == "flip":
        stanza_copy.damage(path)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(files[-1].read_bytes())
    repository = stanza_copy.repository()
    backup = (await repository.catalog()).backup(stanza_copy.label(name))
    verified = await repository.verify(backup)
    restored = await restore(stanza_copy, name)
    for report in (verified, restored):
        assert not report.verified
        assert report.faults
        assert report.faults[0].code.startswith(code), report.faults[0]
        assert report.faults[0].path, report.faults[0]


async def test_a_tool_that_writes_something_else_is_not_believed(stanza_copy: StanzaCopy) -> None:
    """It ends with 0; only the comparison tells."""
    program = stanza_copy.folder / "pgbackrest"
    program.write_text(
        f"""#!/bin/sh
{shutil.which("pgbackrest")} "$@" || exit $?
for word in "$@"; do case $word in --pg1-path=*) data=${{word#--pg1-path=}};; esac; done
[ -z "$data" ] || {{ printf x >> $data/PG_VERSION; : > $data/base/stray; rm $data/global/pg_filenode.map; }}
"""
    )
    program.chmod(0o755)
    settings = PgBackRestSpec(kind="pgbackrest", stanza=STANZA, config=stanza_copy.config, repo=1, program=program)
    repository = PgBackRestRepository(settings, base=Path("/"))
    catalog = await repository.catalog()
    report = await repository.restore(catalog, coordinate(catalog, catalog.backup(stanza_copy.label("full"))), stanza_copy.out)
    assert {(fault.code, fault.path) for fault in report.faults} == {
        ("BACKUP_FILE_SIZE", "PG_VERSION"),
        ("BACKUP_FILE_EXTRA", "base/stray"),
        ("BACKUP_FILE_MISSING", "global/pg_filenode.map"),
    }


@pytest.mark.parametrize(("name", "repo"), [("full", 1), ("newest", 1), ("elsewhere_incr", 2)])
async def test_the_control_file_is_put_back_as_it_was_backed_up(stanza_copy: StanzaCopy, name: str, repo: int) -> None:
    """From 2.51 on pgBackRest overwrites the checkpoint's position in it; here a program around 2.45 does."""
    program = stanza_copy.folder / "pgbackrest"
    program.write_text(
        f"""#!/bin/sh
{shutil.which("pgbackrest")} "$@" || exit $?
for word in "$@"; do case $word in --pg1-path=*) data=${{word#--pg1-path=}};; esac; done
[ -z "$data" ] || printf DEADBEEF | dd of=$data/global/pg_control bs=1 seek=32 conv=notrunc status=none
"""
    )
    program.chmod(0o755)
    settings = PgBackRestSpec(kind="pgbackrest", stanza=STANZA, config=stanza_copy.config, repo=repo, program=program)
    repository = PgBackRestRepository(settings, base=Path("/"))
    catalog = await repository.catalog()
    report = await repository.restore(catalog, coordinate(catalog, catalog.backup(stanza_copy.label(name))), stanza_copy.out)
    assert (report.faults, report.verified) == ((), True)
    assert b"DEADBEEF" not in (stanza_copy.out / "global" / "pg_control").read_bytes()


# -- WAL ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "repo"), [("incr", 1), ("elsewhere_incr", 2)])
async def test_a_server_stops_at_the_last_record(stanza_copy: StanzaCopy, name: str, repo: int) -> None:
    repository = stanza_copy.repository(repo)
    catalog = await repository.catalog()
    backup = catalog.backup(stanza_copy.label(name))
    point = await repository.last_record(catalog, path_of(catalog, backup))
    assert point is not None
    assert segment_name(1, point.lsn // MIB, MIB) == stanza_copy.source.facts["last"]
    agreed = await repository.find_target(
        catalog, path_of(catalog, backup), RecoveryTarget(kind=TargetKind.RESTORE_POINT, value="agreed")
    )
    assert agreed is not None
    assert agreed[0].lsn < point.lsn
    made = coordinate(catalog, backup, point.lsn)
    assert (await repository.restore(catalog, made, stanza_copy.out)).faults == ()
    report = await repository.fetch_wal(catalog, made, stanza_copy.out.parent / "wal")
    assert (report.missing, report.damaged) == ((), ()), report.detail
    with recovering(stanza_copy.source, stanza_copy, point.lsn) as server:  # type: ignore[arg-type]
        server.wait("SELECT pg_get_wal_replay_pause_state() = 'paused'")
        assert Lsn(server.sql("SELECT pg_last_wal_replay_lsn()")[0][0]) == point.end_lsn
        assert server.sql("SELECT count(*) FROM placed")[0][0] == 500


@pytest.mark.parametrize("repo", [1, 2])
async def test_a_damaged_segment_is_found_by_its_header_or_when_it_is_fetched(stanza_copy: StanzaCopy, repo: int) -> None:
    wanted = range_of(stanza_copy.source.facts["after"])
    # In the beginning of the file, or in its middle; what lies in the other repository is encrypted, and its headers unread.
    stanza_copy.damage(stanza_copy.segment(stanza_copy.source.facts["after"], repo=repo), 0 if repo == 1 else -1)
    repository = stanza_copy.repository(repo)
    catalog = await repository.catalog()
    if repo == 1:
        assert catalog.archive.flawed == (wanted,)
        return
    backup = catalog.backup(stanza_copy.label("elsewhere_incr"))
    report = await repository.fetch_wal(catalog, coordinate(catalog, backup), stanza_copy.out.parent / "wal")
    assert report.damaged == (wanted,)


async def test_a_segment_that_is_damaged_in_one_repository_is_taken_from_the_other(stanza_copy: StanzaCopy) -> None:
    facts = stanza_copy.source.facts
    stanza_copy.damage(stanza_copy.segment(facts["after"]), 0)
    stanza_copy.damage(stanza_copy.segment(facts["filler"]))
    stanza_copy.own(stanza_copy.segment(facts["between"])).write_bytes(b"")
    repository = stanza_copy.repository(None)
    catalog = await repository.catalog()
    assert (catalog.archive.flawed, holes(catalog)) == ((), ())
    backup = catalog.backup(stanza_copy.label("incr"))
    report = await repository.fetch_wal(catalog, coordinate(catalog, backup), stanza_copy.out.parent / "wal")
    assert (report.missing, report.damaged) == ((), ()), report.detail


# -- items -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("repo", [1, 2])
async def test_items_are_read_each_by_itself(stanza_copy: StanzaCopy, repo: int) -> None:
    repository = stanza_copy.repository(repo)
    catalog = await repository.catalog()
    items = [item async for item in repository.inventory(catalog)]
    assert len({item.name for item in items}) == len(items)
    assert {item.backup_id for item in items if item.segment is None} == {backup.id for backup in catalog.backups}
    assert all(item.stamp for item in items)
    reports = [report async for report in repository.read_items(catalog, items)]
    assert {report.name for report in reports} == {item.name for item in items}
    assert [report for report in reports if report.fault is not None or not report.compared] == []
    assert [item async for item in repository.inventory(catalog)] == items

    facts = stanza_copy.source.facts
    names = {1: ("full", "newest"), 2: ("elsewhere", "elsewhere_incr")}[repo]
    spoilt = {
        stanza_copy.damage(stanza_copy.segment(facts["after"], repo=repo)),
        stanza_copy.damage(stanza_copy.files(names[0], "*.gz" if repo == 1 else "*", repo=repo)[0]),
        stanza_copy.damage(stanza_copy.manifest(names[1], repo=repo)),
    }
    expired = stanza_copy.segment(facts["early"], repo=repo)
    expired.unlink()
    again = {report.name: report async for report in repository.read_items(catalog, items)}
    faulty = {name: report.fault.code for name, report in again.items() if report.fault is not None}
    root = stanza_copy.folder
    expected = {str(path.relative_to(root)) for path in spoilt}
    others = {name for name in faulty if stanza_copy.label(names[1]) in name}
    assert set(faulty) - others == expected - others
    assert expected <= set(faulty)
    gone = again[str(expired.relative_to(root))]
    assert (gone.fault, gone.compared) == (None, False)
    assert all(fault.path == name for name, report in again.items() if (fault := report.fault) is not None)
