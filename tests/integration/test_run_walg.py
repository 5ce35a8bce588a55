"""``airflow-dr run`` on a WAL-G repository: a stand-in for the program, real backups and real WAL in its storage."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from airflow_dr_provider.demo.production import flip_byte
from tests.support import walg
from tests.support.drills import Bench, Repository, remove
from tests.support.walg_storage import Storage

pytestmark = pytest.mark.postgres


@dataclass
class WalGBench(Bench):
    """A place for one test, with a WAL-G storage instead of folders."""

    def write(self, **options: str) -> Path:
        super().write(**options)
        text = self.spec.read_text()
        self.spec.write_text(
            text.replace(
                "{kind: basebackup, backups: ./backups, archive: ./archive}",
                "{kind: walg, env_file: ./walg.env, program: ./wal-g}",
            )
        )
        return self.spec


@pytest.fixture(scope="module")
def pushed(repository: Repository) -> Iterator[tuple[Storage, dict[str, str]]]:
    """An encrypted storage with a full backup, a delta on it, and another full one."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    storage = Storage(folder, ending="lz4", key="a-secret-key-of-ours").make()
    storage.push_wal(repository.folder / "archive")
    backups = repository.folder / "backups"
    names = {"first": storage.push_backup(backups / "first")}
    names["second"] = storage.push_backup(backups / "second", delta_from=(names["first"], backups / "first"))
    names["third"] = storage.push_backup(backups / "third")
    yield storage, names
    remove(folder)


@pytest.fixture
def walg_bench(
    repository: Repository, pushed: tuple[Storage, dict[str, str]]
) -> Iterator[tuple[WalGBench, Storage, dict[str, str]]]:
    """A copy of the storage for one test; after it nothing may be left of any drill."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    storage, names = replace(pushed[0], folder=folder), pushed[1]
    storage.make()
    shutil.copytree(pushed[0].folder / "walg", folder / "walg", dirs_exist_ok=True)
    bench = WalGBench(folder=folder, disaster=repository.disaster)
    bench.write()
    yield bench, storage, names
    left = bench.left()
    remove(folder)
    assert left == []


def test_a_sound_storage_is_recovered(walg_bench: tuple[WalGBench, Storage, dict[str, str]], repository: Repository) -> None:
    bench, _, names = walg_bench
    document = bench.run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED", names["third"]), document
    lost = (bench.disaster - repository.facts["heartbeat"]).total_seconds()
    assert document["achieved"]["rpo_seconds"] == pytest.approx(lost, abs=0.01)
    assert "a-secret-key-of-ours" not in str(document)


def test_a_damaged_full_backup_is_refused_and_a_delta_reaches_the_same_point(
    walg_bench: tuple[WalGBench, Storage, dict[str, str]],
) -> None:
    bench, storage, names = walg_bench
    flip_byte(next((storage.backups / names["third"] / walg.TARS).glob("part_001*")))
    document = bench.run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED_DEGRADED", names["second"]), document
    first, second = document["attempts"]
    assert (first["candidate"], first["signature"]) == (names["third"], "BACKUP_UNREADABLE")
    targets = [attempt["stages"][0]["facts"]["coordinate"]["target"] for attempt in (first, second)]
    assert targets[0] == targets[1]


def test_a_hole_is_found_though_wal_g_would_not_say_so(
    walg_bench: tuple[WalGBench, Storage, dict[str, str]], repository: Repository
) -> None:
    bench, storage, names = walg_bench
    storage.wal_file(repository.facts["filler_after_third"]).unlink()
    document = bench.run()
    assert (document["outcome"], document["backup"]) == ("RECOVERED_DEGRADED", names["third"])
    assert any(finding["signature"] == "WAL_HOLE" for finding in document["findings"])
