"""What the barman-cloud programs wrote to a real S3 server: listed, compared, restored."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_dr_provider.domain.catalog import BackupFlaw, SegmentRange
from airflow_dr_provider.domain.continuity import holes, reach
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import FileReport
from airflow_dr_provider.domain.wal import parse_segment
from airflow_dr_provider.errors import ConfigurationError, RepositoryError
from tests.integration.repositories.barman_bucket import BIN, FilledBucket, filled_bucket
from tests.integration.repositories.conftest import coordinate, path_of
from tests.integration.repositories.s3_server import PROGRAM
from tests.support.drills import Bench, spec_text

pytest.importorskip("boto3")
pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not PROGRAM.exists(), reason="there is no S3 server for this platform"),
]


@pytest.fixture(scope="module")
def filled() -> Iterator[FilledBucket]:
    with filled_bucket() as made:
        yield made


@pytest.fixture(autouse=True)
def credentials(filled: FilledBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in filled.server.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(filled: FilledBucket) -> FilledBucket:
    """A copy for one test."""
    return filled.copy(f"copy-{secrets.token_hex(4)}")


async def restore(bucket: FilledBucket, backup: str, out: Path) -> FileReport:
    repository = bucket.repository()
    out.mkdir(parents=True)
    catalog = await repository.catalog()
    return await repository.restore(catalog, coordinate(catalog, bucket.facts[backup], Lsn("0/0")), out)


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder, links followed."""
    found = {}
    for path in root.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


async def test_a_sound_bucket(filled: FilledBucket) -> None:
    catalog = await filled.repository().catalog()
    assert [backup.id for backup in catalog.backups] == [filled.facts["split"], filled.facts["packed"]]
    for backup in catalog.backups:
        assert backup.flaws == ()
        assert backup.server_version == 18
        assert reach(catalog.archive, backup, 1).consistent
    last = parse_segment(filled.facts["last"], 1 << 20)
    assert last is not None
    assert catalog.archive.ranges[-1].last == last[1]
    assert (holes(catalog), catalog.archive.flawed, catalog.notes) == ((), (), ())


@pytest.mark.parametrize("backup", ["split", "packed"])
async def test_a_restore_is_what_barman_s_own_is(filled: FilledBucket, backup: str, place: Path) -> None:
    report = await restore(filled, backup, place / "data")
    assert (report.faults, report.verified) == ((), True)
    theirs = place / "theirs"
    filled.run(
        "barman-cloud-restore", "--tablespace", f"beside:{place}/space", filled.url, "cloudy", filled.facts[backup], str(theirs)
    )
    expected = {name: content for name, content in files(theirs).items() if name != "postgresql.auto.conf"}
    found = {name: content for name, content in files(place / "data").items() if not name.startswith("pg_tblspc/")}
    assert found == {name: content for name, content in expected.items() if not name.startswith("pg_tblspc/")}
    links = list((place / "data" / "pg_tblspc").iterdir())
    assert len(links) == 1
    assert files(links[0].resolve()) == files(place / "space")
    assert report.files == len(found) + len(files(place / "space"))


async def test_every_compression_of_wal_is_read(filled: FilledBucket, place: Path) -> None:
    repository = filled.repository()
    catalog = await repository.catalog()
    last = await repository.last_record(catalog, path_of(catalog))
    assert last is not None
    assert last.time is not None
    (place / "wal").mkdir()
    report = await repository.fetch_wal(catalog, coordinate(catalog, filled.facts["split"], last.lsn), place / "wal")
    assert (report.missing, report.damaged, report.detail) == ((), (), "")
    endings = {key.rpartition(".")[2] for key in filled.keys("wals/") if "backup" not in key}
    assert {"gz", "zst", "lz4", "xz"} <= endings


async def test_a_deleted_segment_is_a_hole(bucket: FilledBucket) -> None:
    name = bucket.facts["between"]
    bucket.delete(next(key for key in bucket.keys("wals/") if name in key and "backup" not in key))
    place = parse_segment(name, 1 << 20)
    assert place is not None
    catalog = await bucket.repository().catalog()
    assert holes(catalog) == (SegmentRange(timeline=1, first=place[1], last=place[1]),)


@pytest.mark.parametrize("loss", ["info", "data", "tablespace", "part"])
async def test_a_missing_object(bucket: FilledBucket, loss: str) -> None:
    split = bucket.facts["split"]
    keys = bucket.keys(f"base/{split}/")
    wanted = {"info": "backup.info", "data": "/data.tar", "part": "/data_0001.tar"}
    bucket.delete(
        next(key for key in keys if (key.endswith(wanted[loss]) if loss in wanted else key.split("/")[-1][0].isdigit()))
    )
    catalog = await bucket.repository().catalog()
    flaw = BackupFlaw.UNREADABLE if loss == "info" else BackupFlaw.INCOMPLETE
    if loss == "part" and not any("data_0002" in key for key in keys):
        pytest.fail("the backup has too few parts for this test")
    assert catalog.backup(split).flaws == (flaw,)
    assert catalog.backup(bucket.facts["packed"]).flaws == ()


@pytest.mark.parametrize("backup", ["split", "packed"])
async def test_a_cut_tar_file(bucket: FilledBucket, backup: str, place: Path) -> None:
    key = next(key for key in bucket.keys(f"base/{bucket.facts[backup]}/") if "/data" in key)
    content = bucket.content(key)
    bucket.put(key, content[: len(content) // 2])
    for report in (
        await restore(bucket, backup, place / "data"),
        await bucket.repository().verify((await bucket.repository().catalog()).backup(bucket.facts[backup])),
    ):
        assert [fault.code for fault in report.faults] == ["BACKUP_UNREADABLE"]
        assert not report.verified


async def test_another_server_and_another_bucket(filled: FilledBucket) -> None:
    with pytest.raises(RepositoryError, match="cloudy") as refused:
        await filled.repository(server="nosuch").catalog()
    assert refused.value.code == "REPOSITORY_EMPTY"
    cloud = SimpleNamespace(url="s3://nowhere/at", provider="aws-s3", endpoint_url=filled.server.endpoint)
    with pytest.raises(RepositoryError, match=r"NoSuchBucket|does not exist"):
        await filled.repository(cloud=cloud).catalog()
    azure = SimpleNamespace(url="https://account.blob.core.windows.net/c", provider="azure-blob-storage", endpoint_url=None)
    with pytest.raises(ConfigurationError, match="S3"):
        filled.repository(cloud=azure)


async def test_wrong_credentials(filled: FilledBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(RepositoryError) as refused:
        await filled.repository().catalog()
    assert "wrong" not in refused.value.message


def test_a_drill_of_a_bucket(filled: FilledBucket, place: Path) -> None:
    bench = Bench(folder=place, disaster=datetime.now(UTC), environment=filled.server.environment)
    plain = "{kind: basebackup, backups: ./backups, archive: ./archive}"
    cloud = f"{{url: {filled.url}, endpoint_url: {filled.server.endpoint}}}"
    bench.spec.write_text(spec_text().replace(plain, f"{{kind: barman, server: cloudy, bin: {BIN}, cloud: {cloud}}}"))
    document = bench.run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED", filled.facts["packed"])
    assert document["achieved"]["rpo_seconds"] == pytest.approx(
        (bench.disaster - filled.facts["heartbeat"]).total_seconds(), abs=0.01
    )
    assert filled.server.environment["AWS_SECRET_ACCESS_KEY"] not in str(document)
    assert bench.left() == []


async def test_objects_as_items_of_the_ledger(bucket: FilledBucket) -> None:
    repository = bucket.repository()
    catalog = await repository.catalog()
    items = [item async for item in repository.inventory(catalog)]
    reports = {report.name: report async for report in repository.read_items(catalog, items)}
    assert set(reports) == {item.name for item in items}
    assert [report for report in reports.values() if report.fault is not None or not report.compared] == []
    # A cut tar file that was put in the place of the right one: its own checksum is right, too.
    split = bucket.facts["split"]
    key = next(key for key in bucket.keys(f"base/{split}/") if key.endswith("/data.tar"))
    bucket.put(key, bucket.content(key)[:700_000])
    segment = next(item for item in items if item.segment is not None and item.name.endswith(".gz"))
    assert segment.name.startswith("wals/0000")
    bucket.put(f"{bucket.folder}/cloudy/{segment.name}", b"no gzip")
    again = [item async for item in repository.inventory(catalog)]
    changed = {item.name for item, before in zip(again, items, strict=True) if item.stamp != before.stamp}
    assert changed == {f"base/{split}/data.tar", segment.name}
    found = {report.name: report.fault.code async for report in repository.read_items(catalog, again) if report.fault}
    assert found == {f"base/{split}/data.tar": "BACKUP_UNREADABLE", segment.name: "WAL_SEGMENT_DAMAGED"}
