"""Real productions with small segments, made once a session; each test gets a copy made of hard links."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_dr_provider.demo.production import DemoProduction, flip_byte
from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget
from airflow_dr_provider.repositories.basebackup import BaseBackupRepository
from tests.integration.repositories.barman_lab import Barman, barman_lab
from tests.support.drills import QUIET

MIB = 1 << 20


@dataclass(frozen=True)
class Lab:
    """A production that has ended its work, and the facts of it."""

    folder: Path
    production: DemoProduction
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Copy:
    """A repository of one test's own."""

    folder: Path
    source: Path

    @property
    def backups(self) -> Path:
        return self.folder / "backups"

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def out(self) -> Path:
        return self.folder / "out" / "data"

    @property
    def repository(self) -> BaseBackupRepository:
        return BaseBackupRepository(SimpleNamespace(backups=Path("backups"), archive=Path("archive")), base=self.folder)

    def take(self, *names: str) -> Copy:
        """Bring some of the lab's backups into this copy; all when none is named."""
        for name in names or [entry.name for entry in (self.source / "backups").iterdir()]:
            shutil.copytree(self.source / "backups" / name, self.backups / name, symlinks=True, copy_function=os.link)
        return self

    def own(self, path: Path) -> Path:
        """Break a file's hard link, so that a test may change it."""
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        return path

    def damage(self, path: Path, offset: int = -1) -> None:
        """Flip one byte of a file of this copy."""
        flip_byte(self.own(path), offset)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file of this copy."""
        os.truncate(self.own(path), size)


def path_of(catalog: Catalog, backup: Backup | None = None) -> tuple[SegmentRange, ...]:
    """The contiguous walk on timeline 1 that begins at a backup's start or at the archive's last hole."""
    last = max((part for part in catalog.archive.ranges if part.timeline == 1), key=lambda part: part.last)
    if backup is None or backup.start_lsn is None:
        return (last,)
    first = backup.start_lsn // catalog.archive.segment_size
    return (SegmentRange(timeline=1, first=max(first, last.first), last=last.last),)


def coordinate(catalog: Catalog, name: str, lsn: Lsn) -> RestoreCoordinate:
    """A coordinate on timeline 1."""
    backup = catalog.backup(name)
    assert backup.server_version is not None
    return RestoreCoordinate(
        backup_id=name,
        chain=backup.chain,
        server_version=backup.server_version,
        target=ResolvedTarget(timeline=1, lsn=lsn, requested=RecoveryTarget()),
        wal=path_of(catalog, backup),
        segment_size=catalog.archive.segment_size,
    )


@contextmanager
def lab(major: int) -> Iterator[Lab]:
    """A production with a tablespace, backups of each kind, and every kind of record that recovery can stop at."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    try:
        with DemoProduction(folder, major=major, settings={**QUIET, "max_prepared_transactions": "2"}) as production:
            production.create(initdb=("--wal-segsize=1",))
            yield Lab(folder, production, work(production, folder / "space"))
    finally:
        shutil.rmtree(folder)


def work(production: DemoProduction, space: Path) -> dict[str, Any]:
    """Take the backups and write the records."""
    space.mkdir()
    production.account.own(space)
    production.sql(f"CREATE TABLESPACE beside LOCATION '{space}'")
    production.sql("CREATE TABLE placed (n int) TABLESPACE beside")
    production.sql("INSERT INTO placed SELECT generate_series(1, 500)")

    def backup(name: str, *arguments: str, base: str | None = None) -> None:
        moved = () if "-Ft" in arguments else ("-T", f"{space}={production.backups}/{name}.space")
        production.backup(name, *moved, *arguments, incremental_from=base)

    backup("full")
    backup("tar", "-Ft", "-z", "--manifest-checksums=SHA256")
    backup("fetched", "-Ft", "-X", "fetch")
    if production.programs.major >= 17:
        production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 7 FROM generate_series(1, 300) n")
        production.switch_wal()
        backup("step", base="full")
        production.sql("UPDATE placed SET n = n + 1 WHERE n < 50")
        production.switch_wal()
        backup("top", "--manifest-checksums=SHA512", base="step")
        backup("tar_top", "-Ft", base="step")
    if production.programs.major == 17:
        backup("lz4", "-Ft", "--compress=client-lz4")
        backup("zst", "-Ft", "--compress=client-zstd")
    if production.programs.major == 15:
        backup("unsummed", "--manifest-checksums=NONE")
    facts: dict[str, Any] = {}
    production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 8 FROM generate_series(1, 12000) n")
    facts["xid"] = production.sql("BEGIN; INSERT INTO placed VALUES (-1); SELECT txid_current(); COMMIT;")  # for its effect
    facts["xid"] = str(production.sql("SELECT xmin::text FROM placed WHERE n = -1")[0][0])
    production.sql("SELECT pg_create_restore_point('twice')")
    production.sql("INSERT INTO placed VALUES (-2)")
    facts["twice"] = production.sql("SELECT pg_create_restore_point('twice')")[0][0]
    production.sql("BEGIN; INSERT INTO placed VALUES (-3); PREPARE TRANSACTION 'later'")
    facts["prepared"] = str(production.sql("SELECT transaction::text FROM pg_prepared_xacts")[0][0])
    production.sql("INSERT INTO placed VALUES (-4)")
    production.sql("COMMIT PREPARED 'later'")
    facts["moment"] = production.sql("SELECT clock_timestamp()")[0][0]
    # One record through four segments, and in the next one that follows it the first commit after the moment.
    production.sql("SELECT pg_logical_emit_message(true, 'long', repeat('x', 3500000))")
    production.sql("INSERT INTO placed VALUES (-5)")
    facts["rows"] = production.sql("SELECT count(*) FROM placed")[0][0]
    facts["last"] = production.switch_wal()
    return facts


@pytest.fixture(scope="session")
def lab18() -> Iterator[Lab]:
    with lab(18) as made:
        yield made


@pytest.fixture(scope="session")
def lab15() -> Iterator[Lab]:
    with lab(15) as made:
        yield made


@pytest.fixture(scope="session")
def lab17() -> Iterator[Lab]:
    with lab(17) as made:
        yield made


@pytest.fixture
def labs(request: pytest.FixtureRequest) -> Callable[[int], Lab]:
    """A lab by its major version."""
    return lambda major: request.getfixturevalue(f"lab{major}")


@pytest.fixture
def copies(place: Path) -> Callable[[Lab], Copy]:
    """Copies a lab's archive; backups are taken as a test needs them."""

    def copied(source: Lab) -> Copy:
        shutil.copytree(source.folder / "archive", place / "archive", copy_function=os.link)
        (place / "backups").mkdir()
        (place / "out" / "data").mkdir(parents=True)
        (place / "out" / "wal").mkdir()
        return Copy(place, source.folder)

    return copied


@pytest.fixture
def copy(lab18: Lab, copies: Callable[[Lab], Copy]) -> Copy:
    """A copy of the archive of PostgreSQL 18, and no backup yet."""
    return copies(lab18)


@pytest.fixture(scope="session")
def barman_home() -> Iterator[Barman]:
    """A real Barman with three servers."""
    with barman_lab() as made:
        yield made


@pytest.fixture
def barman(barman_home: Barman) -> Iterator[Barman]:
    """A copy of it for one test."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    yield barman_home.copy(folder)
    shutil.rmtree(folder)
