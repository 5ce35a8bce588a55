"""Servers that were really recovered: to the target that was asked for, and past it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_dr_provider.checks.recovery_target import RecoveryTargetCheck
from airflow_dr_provider.checks.system_identifier import SystemIdentifierCheck
from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import Recovery
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget, TargetKind
from airflow_dr_provider.domain.verdicts import Verdict
from airflow_dr_provider.errors import DrillError
from tests.integration.checks.conftest import Cluster
from tests.integration.checks.restoring import restored
from tests.unit.checks.contexts import coordinate, outcome

pytestmark = pytest.mark.postgres

PASSED, FAILED, UNKNOWN = Verdict.PASSED, Verdict.FAILED, Verdict.COULD_NOT_VERIFY
SCHEMA = "CREATE TABLE t (x int); INSERT INTO t VALUES (0)"
SETTINGS = {"max_prepared_transactions": "5"}


@dataclass
class Line:
    """A production's WAL after a backup: a row, a prepared transaction, a restore point, a transaction, and two rows more."""

    production: DemoProduction
    point: Lsn = field(init=False)
    transaction: int = field(init=False)
    commit: Lsn = field(init=False)
    time: datetime = field(init=False)
    after_time: Lsn = field(init=False)
    switch: Lsn = field(init=False)

    def write(self) -> None:
        sql = self.production.sql
        sql("INSERT INTO t VALUES (1)")
        sql("BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'twice'")
        sql("COMMIT PREPARED 'twice'")
        self.point = Lsn(self._position())
        sql("SELECT pg_create_restore_point('here')")
        self.time = sql("SELECT clock_timestamp()")[0][0]
        self.transaction, self.commit = self._transaction(3)
        _, self.after_time = self._transaction(4)
        sql("INSERT INTO t VALUES (5)")
        ((switched,),) = sql("SELECT pg_switch_wal()::text")
        self.switch = Lsn(Lsn(switched) - 24)  # a record's header is all there is of it
        sql("INSERT INTO t VALUES (6)")
        self.production.switch_wal()

    def _position(self) -> str:
        return str(self.production.sql("SELECT pg_current_wal_insert_lsn()::text")[0][0])

    def _transaction(self, value: int) -> tuple[int, Lsn]:
        """A transaction's id, and where its commit record begins: what was written before it took its place."""
        with self.production.connect() as connection:
            connection.execute("BEGIN")
            connection.execute("INSERT INTO t VALUES (%s)", (value,))
            row = connection.execute("SELECT txid_current(), pg_current_wal_insert_lsn()::text").fetchone()
            connection.execute("COMMIT")
        assert row is not None
        return int(row[0]), Lsn(row[1])


@pytest.fixture(scope="module", params=[15, 17, 18])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp(prefix="dr-"))
    folder.chmod(0o755)
    try:
        production = DemoProduction(folder, major=request.param, settings=SETTINGS)
    except DrillError as error:
        pytest.skip(str(error))
    with production:
        production.create(schema=SCHEMA)
        production.backup("base")
        made = Line(production)
        made.write()
        yield made
    shutil.rmtree(folder)


def resolved(kind: TargetKind, value: str, lsn: Lsn, *, inclusive: bool = True) -> ResolvedTarget:
    return ResolvedTarget(timeline=1, lsn=lsn, inclusive=inclusive, requested=RecoveryTarget(kind=kind, value=value))


def targets(line: Line) -> dict[str, ResolvedTarget]:
    """What was asked for, by kind, as a run resolves it."""
    return {
        "lsn": resolved(TargetKind.LSN, str(line.point), line.point),
        "restore point": resolved(TargetKind.RESTORE_POINT, "here", line.point),
        "latest": resolved(TargetKind.LATEST, "", line.point),
        "xid": resolved(TargetKind.XID, str(line.transaction), line.commit),
        "a segment's end": resolved(TargetKind.LATEST, "", line.switch),
        # The first transaction that ended after the time, not replayed.
        "time": resolved(TargetKind.TIME, line.time.isoformat(), line.commit, inclusive=False),
    }


def facts(server: DemoProduction) -> Recovery:
    ((lsn, commit, following),) = server.sql(
        "SELECT pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp(),"
        " pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    )
    return Recovery(reached=True, replayed_lsn=Lsn(lsn), last_commit=commit, timeline=1, next_transaction=following)


async def check(server: DemoProduction, target: ResolvedTarget, **changes: Any) -> Any:
    context = Cluster(server).context(
        "postgres", coordinate=coordinate(target=target), recovery=facts(server).model_copy(update=changes)
    )
    return await RecoveryTargetCheck().run(context)


def settings_of(target: ResolvedTarget) -> dict[str, str]:
    """What a sandbox tells the server: always a position."""
    return {"recovery_target_lsn": str(target.lsn), "recovery_target_inclusive": "on" if target.inclusive else "off"}


@pytest.mark.parametrize("kind", ["lsn", "restore point", "latest", "a segment's end", "xid", "time"])
async def test_a_recovery_to_its_target_passes(line: Line, place: Path, kind: str) -> None:
    target = targets(line)[kind]
    with closing(restored(line.production, line.production.backups / "base", place / "copy", **settings_of(target))) as server:
        (result,) = await check(server, target)
        rows = {x for (x,) in server.sql("SELECT x FROM t")}
    assert rows == {0, 1, 2} | {"xid": {3}, "a segment's end": {3, 4, 5}}.get(kind, set())
    assert result.verdict is PASSED, (result.detail, result.facts)
    assert result.facts["records_at_or_after_target"] == (1 if target.inclusive else 0)
    # The insert, and the prepared one under its own id; the target's own.
    assert result.facts["transactions_before_target"] >= 2


async def test_a_recovery_past_its_target_fails_for_every_kind(line: Line, place: Path) -> None:
    beyond = {"recovery_target_lsn": str(line.after_time)}
    with closing(restored(line.production, line.production.backups / "base", place / "copy", **beyond)) as server:
        for kind, target in targets(line).items():
            if kind == "a segment's end":
                continue
            assert outcome(await check(server, target)) == (FAILED, "RECOVERY_OVERRAN"), kind
        # The server's own time of its last commit says so too, where the WAL can't be asked.
        at = targets(line)["time"].model_copy(update={"lsn": line.after_time, "inclusive": True})
        assert outcome(await check(server, at)) == (FAILED, "RECOVERY_OVERRAN")
        # And it is no wrong answer for the target that was meant.
        assert outcome(await check(server, resolved(TargetKind.LSN, "", line.after_time))) == (PASSED, None)


async def test_a_recovery_that_stopped_before_its_target_fails(line: Line, place: Path) -> None:
    early = settings_of(targets(line)["restore point"])
    with closing(restored(line.production, line.production.backups / "base", place / "copy", **early)) as server:
        for kind in ("xid", "a segment's end"):
            assert outcome(await check(server, targets(line)[kind])) == (FAILED, "RECOVERY_ENDED_EARLY"), kind
        later = resolved(TargetKind.LSN, str(line.after_time), line.after_time)
        assert outcome(await check(server, later)) == (FAILED, "RECOVERY_ENDED_EARLY")
        # Without any WAL to read, the transaction that was asked for is still unknown to the copy.
        assert outcome(await check(server, targets(line)["lsn"], reached=False)) == (FAILED, "RECOVERY_ENDED_EARLY")


async def test_the_system_is_the_one_that_is_named(line: Line) -> None:
    cluster = Cluster(line.production)
    ((identifier,),) = line.production.sql("SELECT system_identifier FROM pg_control_system()")
    reference = await cluster.reference("postgres")
    for named, kept, expected in (
        (identifier, reference, (PASSED, None)),
        (identifier, None, (PASSED, None)),
        (None, reference, (PASSED, None)),
        (identifier + 1, reference, (FAILED, "SYSTEM_MISMATCH")),
        (identifier, reference.model_copy(update={"system_identifier": 7}), (FAILED, "SYSTEM_MISMATCH")),
        (None, None, (UNKNOWN, "NO_REFERENCE")),
    ):
        context = cluster.context("postgres", coordinate=coordinate(system_identifier=named), reference=kept)
        (result,) = await SystemIdentifierCheck().run(context)
        assert outcome((result,)) == expected
        assert result.required is (expected[0] is not UNKNOWN)
