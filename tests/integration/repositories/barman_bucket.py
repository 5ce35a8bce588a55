"""A bucket that the barman-cloud programs filled, on a real S3 server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.repositories.barman import BarmanRepository
from tests.integration.repositories.s3_server import S3Server, s3_server
from tests.support.drills import remove

BIN = Path(sys.executable).parent
SERVER = "cloudy"
BUCKET = "drilled"


@dataclass(frozen=True)
class FilledBucket:
    """A folder of a bucket, and what made it."""

    server: S3Server
    production: DemoProduction
    folder: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.folder}"

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One of the barman-cloud programs."""
        path = os.pathsep.join((str(self.production.programs.bin), os.environ["PATH"]))
        done = subprocess.run(
            [BIN / program, "--endpoint-url", self.server.endpoint, *arguments],
            env={**os.environ, **self.server.environment, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            timeout=120,
        )
        assert not check or done.returncode == 0, f"{program}: {done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        return done

    def backup(self, *arguments: str) -> None:
        address = ("--immediate-checkpoint", "-h", str(self.production.socket), "-U", "postgres")
        self.run("barman-cloud-backup", *address, *arguments, self.url, SERVER)

    def archive(self, path: Path, *arguments: str) -> None:
        self.run("barman-cloud-wal-archive", *arguments, self.url, SERVER, str(path))

    def keys(self, inside: str = "") -> list[str]:
        pages = (
            self.server.client()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=BUCKET, Prefix=f"{self.folder}/{SERVER}/{inside}")
        )
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def content(self, key: str) -> bytes:
        content: bytes = self.server.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content

    def put(self, key: str, content: bytes) -> None:
        self.server.client().put_object(Bucket=BUCKET, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.server.client().delete_object(Bucket=BUCKET, Key=key)

    def copy(self, folder: str) -> FilledBucket:
        """The same in another folder, which a test may damage."""
        client = self.server.client()
        for key in self.keys():
            target = folder + key.removeprefix(self.folder)
            client.copy_object(Bucket=BUCKET, Key=target, CopySource={"Bucket": BUCKET, "Key": key})
        return FilledBucket(self.server, self.production, folder, self.facts)

    def repository(self, **options: Any) -> BarmanRepository:
        cloud = SimpleNamespace(url=self.url, provider="aws-s3", endpoint_url=self.server.endpoint)
        settings = {"server": SERVER, "config": None, "bin": BIN, "cloud": cloud, **options}
        return BarmanRepository(SimpleNamespace(**settings), base=Path("/"))


@contextlib.contextmanager
def filled_bucket() -> Iterator[FilledBucket]:
    """PostgreSQL 18 with a tablespace, two backups, in several tar files and compressed, and WAL in several compressions."""
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    with s3_server() as server, DemoProduction(folder) as production:
        production.create(initdb=("--wal-segsize=1",))
        server.client().create_bucket(Bucket=BUCKET)
        made = FilledBucket(server, production, "some/path")
        space = folder / "space"
        space.mkdir()
        production.account.own(space)
        production.sql(f"CREATE TABLESPACE beside LOCATION '{space}'")
        production.sql("CREATE TABLE placed (n int) TABLESPACE beside; INSERT INTO placed SELECT generate_series(1, 500)")
        made.backup("--max-archive-size", "10MB")
        production.sql("INSERT INTO placed VALUES (-1)")
        made.facts["between"] = production.switch_wal()
        made.backup("--gzip")
        production.beat()
        made.facts["heartbeat"] = production.sql("SELECT beat_at FROM dr_heartbeat")[0][0]
        made.facts["last"] = production.switch_wal()
        made.facts["split"], made.facts["packed"] = sorted({key.split("/")[-2] for key in made.keys("base/")})
        _archive(made)
        yield made
    remove(folder)


def _archive(made: FilledBucket) -> None:
    files = sorted(made.production.archive.iterdir())
    segments = [path for path in files if len(path.name) == 24][-5:]
    options = dict(zip(segments, ((), ("--gzip",), ("--zstd",), ("--lz4",), ("--xz",)), strict=True))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda path: made.archive(path, *options[path]), segments))
    for path in files:
        if path not in options:
            made.put(f"{made.folder}/{SERVER}/wals/{path.name[:16]}/{path.name}", path.read_bytes())
