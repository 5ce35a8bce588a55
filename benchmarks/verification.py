"""What a second verification of a repository costs, beside the tools that keep no memory of the first.

A production makes a repository of base backups and WAL, and pgBackRest, where it is installed, a smaller one of the same data. Each
figure is the wall time of a whole process on files that are not in memory, as those of a repository seldom are. Starting Python and
its libraries takes half a second, whatever there is to do, so a repository has to be some gigabytes for a share of it to show: this
one takes 20 GB of the temporary folder. Ends with 1 when a promise is broken.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.errors import ConfigurationError
from airflow_dr_provider.postgresql.command import environment
from airflow_dr_provider.postgresql.programs import find_programs
from airflow_dr_provider.repositories.transfer import forget_pages

PROMISED_UNCHANGED = 0.05
PROMISED_ONE_INCREMENTAL = 0.10
LEAST_BYTES = 1_500_000_000
LEAST_SEGMENTS = 100
PGBACKREST_MAJOR = 15
"""The newest version that every pgBackRest since 2.45 knows."""

SETTINGS = {"max_wal_size": "8GB", "shared_buffers": "256MB", "autovacuum": "off", "checkpoint_timeout": "1h"}
SPEC = """\
version: 1
drill: bench
objectives: {rto: 30m, rpo: 1h, mtd: 4h}
source: {repository: {kind: basebackup, backups: ./backups, archive: ./archive}}
tiers: [{name: only, role: staging, sandbox: {kind: process}, timeout: 5m}]
"""
ROWS = 400_000
FILL = f"""
CREATE TABLE filler (id int PRIMARY KEY, hits int NOT NULL DEFAULT 0, body text NOT NULL) WITH (fillfactor = 80);
INSERT INTO filler (id, body) SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, {ROWS}) n
"""
# After a checkpoint each page goes into the WAL whole, as it does all day on a busy server.
CHURN = ("CHECKPOINT", "UPDATE filler SET hits = hits + 1 WHERE id % 6 = 0", "VACUUM filler")
ROUNDS = 40


def main() -> int:
    """Make the repositories, measure, judge."""
    folder = Path(tempfile.mkdtemp(prefix="dr-bench-"))
    folder.chmod(0o755)
    try:
        broken = basebackup(folder)
        pgbackrest(folder)
    finally:
        shutil.rmtree(folder)
    return int(broken)


# -- measuring ---------------------------------------------------------------------------------------------------------
def forget(folder: Path) -> None:
    """Let the kernel drop what it has of a repository's files in memory."""
    os.sync()
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                forget_pages(path)


def seconds(command: Sequence[str], *, cold: Path, **options: object) -> float:
    """Wall time of a process that has to succeed.

    :param cold: the folder that it reads.
    """
    forget(cold)
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    taken = time.perf_counter() - begun
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}")
    return taken


def median(measured: Callable[[], float], times: int = 3) -> float:
    """The median of several."""
    return statistics.median(measured() for _ in range(times))


def show(name: str, first: float, second: float, third: float | None = None) -> None:
    """One line of the table."""
    more = f"{third:9.2f} s{third / first:8.1%}" if third is not None else ""
    print(f"{name:38}{first:9.2f} s{second:9.2f} s{second / first:8.1%}{more}", flush=True)


# -- base backups ------------------------------------------------------------------------------------------------------
def basebackup(folder: Path) -> bool:
    """Verify base backups and WAL with the ledger, and the same backups with pg_verifybackup. Whether a promise is broken."""
    with DemoProduction(folder, settings=SETTINGS) as production:
        production.create()
        production.sql(FILL)
        production.backup("first")
        churn(production, ROUNDS // 2)
        production.backup("second", "--manifest-checksums=SHA256")
        churn(production, ROUNDS // 2)
        production.backup("third")
        production.switch_wal()
        size, segments = weighed(folder)
        print(f"{len(list((folder / 'backups').iterdir()))} backups, {segments} WAL segments, {size / 1e9:.2f} GB")
        if size < LEAST_BYTES or segments < LEAST_SEGMENTS:
            raise SystemExit("the repository is too small for an honest figure")
        print(f"{'':38}{'first':>11}{'second':>11}{'':>8}{'with one new incremental':>19}")
        programs = production.programs

        def files_only() -> float:
            each = [programs.path("pg_verifybackup"), "-n"]
            return sum(seconds([*each, str(place)], cold=place, env=environment()) for place in (folder / "backups").iterdir())

        memoryless = files_only(), files_only()
        (folder / "bench.yaml").write_text(SPEC)
        verify = [sys.executable, "-m", "airflow_dr_provider.cli.main", "verify", str(folder / "bench.yaml")]
        state = {**os.environ, "AIRFLOW_DR_STATE": f"sqlite:///{folder}/state.db"}

        def ledger() -> float:
            return seconds(verify, cold=folder, env=state)

        first, unchanged = ledger(), median(ledger)
        production.sql(f"UPDATE filler SET body = 'changed' WHERE id <= {ROWS // 100}")
        production.backup("incremental", incremental_from="third")
        production.switch_wal()
        grown = ledger()
        show("airflow-dr verify (files and WAL)", first, unchanged, grown)
        show("pg_verifybackup (files alone)", *memoryless, files_only())
    missed = [
        f"{name}: {taken / first:.1%}, promised {promised:.0%}"
        for name, taken, promised in (
            ("second verify", unchanged, PROMISED_UNCHANGED),
            ("after one new incremental", grown, PROMISED_ONE_INCREMENTAL),
        )
        if taken / first > promised
    ]
    for line in missed:
        print(f"missed: {line}")
    return bool(missed)


def churn(production: DemoProduction, rounds: int) -> None:
    """Write WAL."""
    for _ in range(rounds):
        for statement in CHURN:
            production.sql(statement)


def weighed(folder: Path) -> tuple[int, int]:
    """Bytes of all backups' files, and how many segments are archived."""
    size = sum(path.stat().st_size for path in (folder / "backups").rglob("*") if path.is_file())
    return size, sum(len(entry.name) == 24 for entry in (folder / "archive").iterdir())


# -- pgBackRest --------------------------------------------------------------------------------------------------------
def pgbackrest(folder: Path) -> None:
    """Verify a pgBackRest repository twice, where that can be had."""
    program = shutil.which("pgbackrest")
    try:
        find_programs(PGBACKREST_MAJOR)
    except ConfigurationError:
        program = None
    if program is None:
        print(f"pgbackrest verify: not measured; it needs pgBackRest and PostgreSQL {PGBACKREST_MAJOR}")
        return
    place = folder / "pgbackrest"
    place.mkdir(mode=0o755)
    config = place / "pgbackrest.conf"
    archive = {"archive_command": f"{program} --config={config} --stanza=bench archive-push %p"}
    with DemoProduction(place, major=PGBACKREST_MAJOR, settings={**SETTINGS, **archive}) as production:
        for name in ("repository", "log", "lock"):
            (place / name).mkdir()
            production.account.own(place / name)
        config.write_text(
            f"[global]\nrepo1-path={place}/repository\nlog-path={place}/log\nlock-path={place}/lock\nlog-level-console=off\n"
            f"compress-type=none\nprocess-max=2\nstart-fast=y\n"
            f"[bench]\npg1-path={production.data}\npg1-socket-path={production.socket}\npg1-user=postgres\n"
        )

        def call(*arguments: str) -> float:
            return seconds(
                [program, f"--config={config}", "--stanza=bench", *arguments],
                cold=place / "repository",
                env=environment(),
                cwd="/",
                **production.account.as_subprocess,
            )

        production.create(schema="")
        call("stanza-create")
        production.sql(FILL)
        call("backup", "--type=full")
        churn(production, 1)
        call("backup", "--type=full")
        first = call("verify")
        unchanged = call("verify")
        production.sql(f"UPDATE filler SET body = 'changed' WHERE id <= {ROWS // 100}")
        call("backup", "--type=incr")
        show("pgbackrest verify (files and WAL)", first, unchanged, call("verify"))


if __name__ == "__main__":
    sys.exit(main())
