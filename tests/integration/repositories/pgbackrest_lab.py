"""Real stanzas of pgBackRest on PostgreSQL 15, made once a session; each test gets a copy made of hard links."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_dr_provider.demo.production import DemoProduction, flip_byte
from airflow_dr_provider.domain.catalog import Backup, Catalog
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget
from airflow_dr_provider.postgresql.command import environment
from airflow_dr_provider.repositories.pgbackrest import PgBackRestRepository
from airflow_dr_provider.spec.repository import PgBackRestSpec
from tests.integration.repositories.conftest import path_of
from tests.support.drills import QUIET

STANZA = "main"


@dataclass
class Stanza:
    """A production whose WAL and backups go to a stanza.

    :param config: pgBackRest's configuration file.
    :param labels: of the backups, by what the tests call them.
    """

    folder: Path
    production: DemoProduction
    config: Path
    labels: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def backrest(self, *arguments: str) -> str:
        """Call pgBackRest as production's account does."""
        return backrest(self.config, *arguments, account=self.production.account.as_subprocess)

    def backup(self, name: str, kind: str, *arguments: str, repo: int = 1) -> str:
        """Take a backup; its label."""
        self.backrest(f"--type={kind}", f"--repo={repo}", *arguments, "backup")
        document = json.loads(self.backrest("--output=json", "info"))
        labels = [entry["label"] for entry in document[0]["backup"] if entry["database"]["repo-key"] == repo]
        self.labels[name] = labels[-1]
        return labels[-1]

    def switch(self) -> str:
        """End the segment and wait until the archive has it; its name."""
        self.production.sql("SELECT pg_logical_emit_message(false, 'dr', 'switch')")
        name = str(self.production.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0])
        deadline = time.monotonic() + 60
        while True:
            archived = self.production.sql("SELECT last_archived_wal FROM pg_stat_archiver")[0][0]
            if archived is not None and str(archived)[:24] >= name:
                return name
            assert time.monotonic() < deadline, self.production.log.read_text()[-2000:]
            time.sleep(0.02)


def backrest(config: Path, *arguments: str, account: dict[str, Any] | None = None, check: bool = True) -> str:
    """What pgBackRest prints."""
    done = subprocess.run(
        ["pgbackrest", f"--config={config}", f"--stanza={STANZA}", *arguments],
        env=environment(), cwd="/", capture_output=True, text=True, check=False, timeout=120, **(account or {}),
    )  # fmt: skip
    assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write_config(path: Path, repositories: str, production: DemoProduction | None = None) -> Path:
    """A configuration file; without a production only for reading and restoring."""
    folder = path.parent
    lines = [
        "[global]", repositories.strip(), f"log-path={folder}", f"lock-path={folder}/lock", f"spool-path={folder}/spool",
        "log-level-file=off", "start-fast=y", "compress-level=1", "io-timeout=2", f"[{STANZA}]",
    ]  # fmt: skip
    if production is not None:
        lines += [f"pg1-path={production.data}", f"pg1-port={production.port}", f"pg1-socket-path={production.socket}"]
        lines += ["pg1-user=postgres"]
    path.write_text("\n".join([*lines, ""]))
    return path


def posix(*roots: Path) -> str:
    """Configuration of repositories that are folders; every one but the first is encrypted."""
    lines = []
    for key, root in enumerate(roots, start=1):
        lines += [f"repo{key}-path={root}", f"repo{key}-retention-full=9"]
        if key > 1:
            lines += [f"repo{key}-cipher-type=aes-256-cbc", f"repo{key}-cipher-pass=of-no-production"]
    return "\n".join(lines)


@contextmanager
def stanza(repositories: Callable[[Path], str]) -> Iterator[Stanza]:
    """A production with a stanza and no backup yet."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    try:
        # Without a command the archiver waits for one; after three failures it would wait for a minute.
        with DemoProduction(folder, major=15, settings={**QUIET, "archive_command": ""}) as production:
            config = write_config(folder / "pgbackrest.conf", repositories(folder), production)
            production.account.own(folder)
            production.create(initdb=("--wal-segsize=1",))
            made = Stanza(folder, production, config)
            made.backrest("stanza-create")
            push = f"pgbackrest --config={config} --stanza={STANZA} --compress-type=zst archive-push %p"
            production.sql(f"ALTER SYSTEM SET archive_command = '{push}'")
            production.sql("SELECT pg_reload_conf()")
            yield made
    finally:
        shutil.rmtree(folder)


def work(made: Stanza) -> None:
    """Backups of each kind, rows between them, and a fork at the end; ``before`` keeps the repositories from before it."""
    production, space = made.production, made.folder / "space"
    space.mkdir()
    production.account.own(space)
    production.sql(f"CREATE TABLESPACE beside LOCATION '{space}'")
    production.sql("CREATE TABLE placed (n int) TABLESPACE beside; INSERT INTO placed SELECT generate_series(1, 500)")
    made.backup("full", "full")
    made.backup("elsewhere", "full", "--repo2-bundle", "--compress-type=zst", repo=2)
    production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 7 FROM generate_series(1, 300) n")
    made.facts["early"] = made.switch()
    made.backup("diff", "diff", "--repo1-bundle")
    production.sql("UPDATE placed SET n = n + 1 WHERE n < 50")
    made.backup("incr", "incr")
    made.facts["between"] = made.switch()
    made.backup("elsewhere_incr", "incr", "--repo2-bundle", repo=2)
    made.backup("newest", "full", "--repo1-bundle", "--compress-type=zst")
    made.facts["after"] = made.switch()
    production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 8 FROM generate_series(1, 500) n")
    production.sql("SELECT pg_create_restore_point('agreed')")
    production.beat()
    made.facts["filler"] = made.switch()
    production.beat()
    made.facts["last"] = made.switch()
    made.facts["moment"] = datetime.datetime.now(datetime.UTC)
    link_tree(made, "before")
    production.stop()
    (production.data / "standby.signal").touch()
    production.account.own(production.data / "standby.signal")
    with (production.data / "postgresql.auto.conf").open("a") as file:
        file.write(f"restore_command = 'pgbackrest --config={made.config} --stanza={STANZA} archive-get %f \"%p\"'\n")
    production.start()
    production.sql("SELECT pg_promote()")
    production.beat()
    made.facts["forked"] = made.switch()
    made.facts["fork_moment"] = datetime.datetime.now(datetime.UTC)
    link_tree(made, "forked")


def link_tree(made: Stanza, name: str) -> None:
    """Keep the repositories as they are now: pgBackRest writes new files and never into old ones."""
    place = made.folder / name
    place.mkdir()
    for repository in made.folder.glob("repo[0-9]"):
        subprocess.run(["cp", "-al", str(repository), str(place / repository.name)], check=True)


@pytest.fixture(scope="session")
def posix_stanza() -> Iterator[Stanza]:
    """Two repositories in folders: the first one plain, the second one bundled, zstd and encrypted."""
    with stanza(lambda folder: posix(folder / "repo1", folder / "repo2")) as made:
        work(made)
        yield made


@pytest.fixture(scope="session")
def s3_stanza() -> Iterator[Stanza]:
    """A bucket over TLS, with a sound backup, and one that was taken of a cluster with a damaged page."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    try:
        with bucket(folder) as place, stanza(lambda _: place.options()) as made:
            production = made.production
            production.sql("CREATE TABLE spoilt AS SELECT n FROM generate_series(1, 5000) n")
            made.backup("full", "full")
            production.sql("INSERT INTO orders (customer_id, amount) SELECT 1 + n % 2000, 7 FROM generate_series(1, 300) n")
            production.sql("UPDATE spoilt SET n = n + 1; CHECKPOINT")
            flip_byte(production.data / str(production.sql("SELECT pg_relation_filepath('spoilt')")[0][0]), 8192 + 5000)
            made.backup("flagged", "incr")
            production.sql("DROP TABLE spoilt")
            production.beat()
            made.facts["last"] = made.switch()
            made.facts["moment"] = datetime.datetime.now(datetime.UTC)
            made.facts["port"] = place.port
            yield made
    finally:
        shutil.rmtree(folder)


# -- copies ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class StanzaCopy:
    """A stanza's repositories of one test's own."""

    folder: Path
    source: Stanza
    config: Path

    @property
    def out(self) -> Path:
        return self.folder / "out" / "data"

    def repository(self, repo: int | None = 1) -> PgBackRestRepository:
        """The adapter, as a spec makes it."""
        settings = PgBackRestSpec(kind="pgbackrest", stanza=STANZA, config=self.config, repo=repo)
        return PgBackRestRepository(settings, base=Path("/"))

    def label(self, name: str) -> str:
        return self.source.labels[name]

    def files(self, name: str, pattern: str, *, repo: int = 1) -> list[Path]:
        """Stored files of a backup, the largest first."""
        place = self.folder / f"repo{repo}" / "backup" / STANZA / self.label(name)
        found = [path for path in place.rglob(pattern) if path.is_file()]
        return sorted(found, key=lambda path: (-path.stat().st_size, path.name))

    def manifest(self, name: str, *, repo: int = 1) -> Path:
        return self.folder / f"repo{repo}" / "backup" / STANZA / self.label(name) / "backup.manifest"

    def segment(self, name: str, *, repo: int = 1) -> Path:
        (found,) = (self.folder / f"repo{repo}" / "archive" / STANZA).rglob(f"{name}-*")
        return found

    def own(self, path: Path) -> Path:
        """Break a file's hard link, so that a test may change it."""
        content, status = path.read_bytes(), path.stat()
        path.unlink()
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return path

    def damage(self, path: Path, offset: int = -1) -> Path:
        """Flip one byte."""
        flip_byte(self.own(path), offset)
        return path


@pytest.fixture
def stanza_copy(posix_stanza: Stanza, place: Path) -> StanzaCopy:
    """A copy from before the fork."""
    return copy_stanza(posix_stanza, place)


def copy_stanza(source: Stanza, place: Path, state: str = "before") -> StanzaCopy:
    """The repositories as they were once, and a configuration that names them."""
    roots = []
    for repository in sorted((source.folder / state).iterdir()):
        subprocess.run(["cp", "-al", str(repository), str(place / repository.name)], check=True)
        roots.append(place / repository.name)
    (place / "out" / "data").mkdir(parents=True)
    (place / "out" / "wal").mkdir()
    return StanzaCopy(place, source, write_config(place / "pgbackrest.conf", posix(*roots)))


def coordinate(catalog: Catalog, backup: Backup, lsn: int = 0) -> RestoreCoordinate:
    """A coordinate on timeline 1."""
    assert backup.server_version is not None
    return RestoreCoordinate(
        backup_id=backup.id,
        chain=backup.chain,
        server_version=backup.server_version,
        target=ResolvedTarget(timeline=1, lsn=Lsn(lsn), requested=RecoveryTarget()),
        wal=path_of(catalog, backup),
        segment_size=catalog.archive.segment_size,
    )


# -- S3 ----------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Bucket:
    """An S3 server of our own with one bucket; it speaks TLS."""

    port: int
    authority: Path
    stop: Callable[[], None]

    def options(self) -> str:
        """pgBackRest's configuration for it."""
        return "\n".join([
            "repo1-type=s3", "repo1-path=/drill", "repo1-s3-bucket=backups", "repo1-s3-endpoint=localhost",
            "repo1-s3-key=drill", "repo1-s3-key-secret=of-no-production", "repo1-s3-region=us-east-1",
            "repo1-s3-uri-style=path", "repo1-storage-host=localhost", f"repo1-storage-port={self.port}",
            f"repo1-storage-ca-file={self.authority}", "repo1-retention-full=9", "repo1-bundle=y",
        ])  # fmt: skip


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def bucket(folder: Path) -> Iterator[Bucket]:
    """Start SeaweedFS, make a bucket, end it with the block."""
    public, private = certificate(folder)
    public.chmod(0o644)
    ports = dict(
        zip(
            ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
             "s3.port", "s3.port.grpc", "s3.port.https"),
            free_ports(9), strict=True,
        )
    )  # fmt: skip
    identity = {
        "name": "drill",
        "credentials": [{"accessKey": "drill", "secretKey": "of-no-production"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    options = [f"-{name}={port}" for name, port in ports.items()]
    program = Path(sys.executable).with_name("weed")
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), "server", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", *options,
             f"-s3.cert.file={public}", f"-s3.key.file={private}", f"-s3.config={folder}/s3.json", "-s3.port.iceberg=0",
             "-s3.port.lance=0", "-master.telemetry=false", "-volume.max=20", f"-filer.localSocket={folder}/filer.sock",
             f"-s3.localSocket={folder}/s3.sock"],
            stdout=log, stderr=log, cwd=folder,
        )  # fmt: skip

    def stop() -> None:
        process.kill()
        process.wait(30)
        # It makes some sockets in /tmp whatever it is told.
        for path in (path for port in ports.values() for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")):
            path.unlink()

    try:
        await_bucket(process, ports["filer.port"], ports["s3.port.https"], folder / "weed.log")
        yield Bucket(ports["s3.port.https"], public, stop)
    finally:
        stop()


def await_bucket(process: subprocess.Popen[bytes], filer: int, port: int, log: Path) -> None:
    """Make the bucket as soon as the server takes it."""
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{filer}/buckets/backups/", method="POST")
            with suppress(urllib.error.HTTPError):  # it is there since the last try
                urllib.request.urlopen(request, timeout=5).close()
            urllib.request.urlopen(f"http://127.0.0.1:{filer}/buckets/backups/", timeout=5).close()
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)
        else:
            return
