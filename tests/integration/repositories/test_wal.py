"""Stopping points are where a real server stops; WAL that can't be replayed is found before a server starts."""

from __future__ import annotations

import gzip
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_dr_provider.demo.production import DemoProduction
from airflow_dr_provider.domain.catalog import Catalog, SegmentRange
from airflow_dr_provider.domain.coordinate import RestoreCoordinate
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.reports import WalReport
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget, StoppingPoint, TargetKind
from airflow_dr_provider.domain.wal import segment_name
from airflow_dr_provider.errors import ArchiveError
from airflow_dr_provider.postgresql.command import environment
from tests.integration.repositories.conftest import MIB, Copy, Lab, coordinate, path_of

pytestmark = pytest.mark.postgres


class Server:
    """A server on a restored copy, paused at its target."""

    def __init__(self, production: DemoProduction, data: Path) -> None:
        self.production, self.data = production, data

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask it."""
        with psycopg.connect(host=str(self.data.parent), user="postgres", dbname="postgres", autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def wait(self, statement: str) -> None:
        """Wait until a query answers true."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if self.sql(statement)[0][0]:
                    return
            except psycopg.OperationalError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"{statement}: {(self.data.parent / 'log').read_text()[-1500:]}")


@contextmanager
def recovering(source: Lab, copy: Copy, lsn: Lsn, *, inclusive: bool = True, **more: str) -> Iterator[Server]:
    """Start a server on what was restored and fetched."""
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(copy.out.parent),
        "archive_mode": "off",
        "fsync": "off",
        "shared_buffers": "16MB",
        "restore_command": f'cp "{copy.out.parent}/wal/%f" "%p"',
        "recovery_target_lsn": str(lsn),
        "recovery_target_inclusive": "on" if inclusive else "off",
        "recovery_target_action": "pause",
        **more,
    }
    (copy.out / "postgresql.conf").write_text(
        "".join(f"{name} = '{value}'\n" for name, value in settings.items()) + "max_prepared_transactions = 2\n"
    )
    (copy.out / "recovery.signal").touch()
    account = source.production.account
    account.own_tree(copy.out.parent)
    copy.out.chmod(0o700)
    with (copy.out.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [source.production.programs.path("postgres"), "-D", str(copy.out)],
            stdout=log,
            stderr=log,
            env=environment(),
            cwd="/",
            **account.as_subprocess,
        )
    try:
        yield Server(source.production, copy.out)
    finally:
        process.terminate() if process.poll() is None else None
        process.send_signal(3) if process.poll() is None else None  # SIGQUIT: nothing of it is kept
        process.wait(30)


async def restored(copy: Copy, catalog: Catalog, made: RestoreCoordinate) -> None:
    """Restore and fetch, both sound."""
    assert (await copy.repository.restore(catalog, made, copy.out)).faults == ()
    report = await copy.repository.fetch_wal(catalog, made, copy.out.parent / "wal")
    assert (report.missing, report.damaged) == ((), ()), report.detail


async def target(copy: Copy, catalog: Catalog, kind: TargetKind, value: str) -> tuple[StoppingPoint, bool] | None:
    """Look a target up on the way from the full backup."""
    path = path_of(catalog, catalog.backup("full"))
    return await copy.repository.find_target(catalog, path, RecoveryTarget(kind=kind, value=value))


# -- where recovery stops ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("major", [15, 17, 18])
async def test_latest_is_the_last_record_and_a_server_stops_there(
    major: int, labs: Callable[[int], Lab], copies: Callable[[Lab], Copy]
) -> None:
    source = labs(major)
    copy = copies(source).take("full")
    catalog = await copy.repository.catalog()
    point = await copy.repository.last_record(catalog, path_of(catalog, catalog.backup("full")))
    assert point is not None
    assert segment_name(1, point.lsn // MIB, MIB) == source.facts["last"]
    assert point.end_lsn % MIB == 0  # the segment switch, which takes the rest of its segment
    await restored(copy, catalog, coordinate(catalog, "full", point.lsn))
    with recovering(source, copy, point.lsn) as server:
        server.wait("SELECT pg_get_wal_replay_pause_state() = 'paused'")
        replayed, commit = server.sql("SELECT pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()")[0]
        assert (Lsn(replayed), commit) == (point.end_lsn, point.time)
        assert server.sql("SELECT count(*) FROM placed")[0][0] == source.facts["rows"]


@pytest.mark.parametrize("kind", ["time", "xid", "prepared", "restore_point", "long"])
async def test_a_server_stops_at_each_target(copy: Copy, lab18: Lab, kind: str) -> None:
    facts = lab18.facts
    # What PostgreSQL would be told, what we look up, and which of the marked rows are then there.
    by_time = {"recovery_target_time": facts["moment"].isoformat(sep=" ")}
    wanted: tuple[TargetKind, str, set[int]] = {
        "time": (TargetKind.TIME, facts["moment"].isoformat(), {-1, -2, -3, -4}),
        "xid": (TargetKind.XID, facts["xid"], {-1}),
        "prepared": (TargetKind.XID, facts["prepared"], {-1, -2, -3, -4}),
        "restore_point": (TargetKind.RESTORE_POINT, "twice", {-1, -2}),
        "long": (TargetKind.TIME, (facts["moment"] + timedelta(microseconds=1)).isoformat(), {-1, -2, -3, -4}),
    }[kind]
    copy.take("full")
    catalog = await copy.repository.catalog()
    found = await target(copy, catalog, wanted[0], wanted[1])
    assert found is not None
    point, inclusive = found
    assert inclusive is (wanted[0] is not TargetKind.TIME)
    if kind == "restore_point":
        assert point.end_lsn == Lsn(facts["twice"])
    await restored(copy, catalog, coordinate(catalog, "full", point.lsn))
    with recovering(lab18, copy, point.lsn, inclusive=inclusive) as server:
        server.wait("SELECT pg_get_wal_replay_pause_state() = 'paused'")
        rows = {row[0] for row in server.sql("SELECT n FROM placed WHERE n < 0")}
        commit = server.sql("SELECT pg_last_xact_replay_timestamp()")[0][0]
        replayed = Lsn(server.sql("SELECT pg_last_wal_replay_lsn()")[0][0])
        assert rows == wanted[2]
        # At a commit that is itself the target PostgreSQL stops before it notes that commit's time (``recoveryStopsAfter``).
        assert commit < point.time if wanted[0] is TargetKind.XID else commit == point.time
        assert replayed == (point.end_lsn if inclusive else replayed)
    if kind == "time":
        # Told the time itself, PostgreSQL stops at the very same place.
        await restored(copy, catalog, coordinate(catalog, "full", point.lsn))
        with recovering(lab18, copy, point.lsn, **{"recovery_target_lsn": "", **by_time}) as server:
            server.wait("SELECT pg_get_wal_replay_pause_state() = 'paused'")
            assert Lsn(server.sql("SELECT pg_last_wal_replay_lsn()")[0][0]) == replayed


async def test_targets_that_are_nowhere(copy: Copy, lab18: Lab) -> None:
    copy.take("full")
    catalog = await copy.repository.catalog()
    later = datetime.fromisoformat("2999-01-01T00:00:00+00:00").isoformat()
    assert await target(copy, catalog, TargetKind.TIME, later) is None
    assert await target(copy, catalog, TargetKind.XID, "4000000000") is None
    assert await target(copy, catalog, TargetKind.RESTORE_POINT, "twic") is None
    earlier = await target(copy, catalog, TargetKind.TIME, "2000-01-01T00:00:00Z")
    assert earlier is not None
    start = catalog.backup("full").start_lsn
    assert start is not None
    assert earlier[0].lsn < start + 8 * MIB


async def test_the_last_record_where_the_archive_ends_at_any_segment(copy: Copy, lab18: Lab) -> None:
    """A record that runs over into a segment that isn't there is not whole; one through several segments may be."""
    copy.take("full")
    catalog = await copy.repository.catalog()
    whole = path_of(catalog, catalog.backup("full"))[0]
    waldump = [lab18.production.programs.path("pg_waldump")]
    names = [segment_name(1, number, MIB) for number in range(whole.first, whole.last + 1)]
    text = subprocess.run(
        [*waldump, str(copy.archive / names[0]), str(copy.archive / names[-1])],
        capture_output=True,
        text=True,
        env=environment(),
    ).stdout
    starts = [Lsn(line.split("lsn: ")[1].split(",")[0]) for line in text.splitlines() if "lsn: " in line]
    ends = [*starts[1:], Lsn((whole.last + 1) * MIB)]
    for last in range(whole.last - 4, whole.last + 1):
        part = SegmentRange(timeline=1, first=whole.first, last=last)
        point = await copy.repository.last_record(catalog, [part])
        limit = (last + 1) * MIB
        # The next record's start tells a record's end but for the header of the page or segment that the next one opens.
        expected = [start for start, end in zip(starts, ends, strict=True) if end <= limit + 40]
        assert point is not None
        assert point.lsn == expected[-1], last
        assert limit - MIB * 5 < point.end_lsn <= limit


async def test_compressed_archives_tell_the_same(copy: Copy, lab18: Lab) -> None:
    copy.take("full")
    catalog = await copy.repository.catalog()
    path = path_of(catalog, catalog.backup("full"))
    plain = await copy.repository.last_record(catalog, path)
    for file in copy.archive.iterdir():
        if len(file.name) == 24:
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes(), 1))
            file.unlink()
    assert plain is not None
    assert await copy.repository.last_record(catalog, path) == plain
    await restored(copy, catalog, coordinate(catalog, "full", plain.lsn))


# -- a change of timeline ----------------------------------------------------------------------------------------------
async def test_a_way_over_two_timelines(copy: Copy, lab18: Lab, copies: Callable[[Lab], Copy]) -> None:
    copy.take("full")
    catalog = await copy.repository.catalog()
    found = await target(copy, catalog, TargetKind.RESTORE_POINT, "twice")
    assert found is not None
    await restored(copy, catalog, coordinate(catalog, "full", found[0].lsn))
    lab18.production.account.own(copy.archive)
    archiving = {
        "recovery_target_action": "promote",
        "archive_mode": "on",
        "archive_command": f'test ! -f "{copy.archive}/%f" && cp "%p" "{copy.archive}/%f"',
    }
    with recovering(lab18, copy, found[0].lsn, **archiving) as server:
        server.wait("SELECT NOT pg_is_in_recovery()")
        server.sql("INSERT INTO placed VALUES (-100)")
        last = server.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
        server.wait(f"SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver")
    catalog = await copy.repository.catalog()
    assert [(fork.timeline, fork.parent) for fork in catalog.archive.forks] == [(2, 1)]
    fork = catalog.archive.forks[0].switch_lsn // MIB
    second = [part for part in catalog.archive.ranges if part.timeline == 2]
    assert second[0].first == fork
    start = catalog.backup("full").start_lsn
    assert start is not None
    way = (SegmentRange(timeline=1, first=start // MIB, last=fork - 1), *second)
    point = await copy.repository.last_record(catalog, way)
    assert point is not None
    assert point.timeline == 2
    goal = ResolvedTarget(timeline=2, lsn=point.lsn, requested=RecoveryTarget())
    made = coordinate(catalog, "full", point.lsn).model_copy(update={"wal": way, "histories": (2,), "target": goal})
    await restored(copy, catalog, made)
    with recovering(lab18, copy, point.lsn, recovery_target_timeline="2") as server:
        server.wait("SELECT pg_get_wal_replay_pause_state() = 'paused'")
        assert {row[0] for row in server.sql("SELECT n FROM placed WHERE n < 0")} == {-1, -2, -100}
    (copy.archive / "00000002.history").unlink()
    with pytest.raises(ArchiveError, match=r"00000002\.history"):
        await copy.repository.fetch_wal(catalog, made, copy.out.parent / "wal")


# -- WAL that can't be replayed ----------------------------------------------------------------------------------------
async def fetched(copy: Copy, *, until: Lsn | None = None) -> tuple[Catalog, WalReport]:
    """Fetch the way from the full backup to the archive's end, or to a position."""
    catalog = await copy.repository.catalog()
    path = path_of(catalog, catalog.backup("full"))
    point = await copy.repository.last_record(catalog, path)
    assert point is not None
    made = coordinate(catalog, "full", until or point.lsn)
    return catalog, await copy.repository.fetch_wal(catalog, made, copy.out.parent / "wal")


def boundaries(copy: Copy, catalog: Catalog, source: Lab) -> list[tuple[int, Lsn]]:
    """Segments that end in the middle of a record, and where that record begins."""
    found = []
    part = path_of(catalog, catalog.backup("full"))[0]
    for number in range(part.first, part.last):
        text = subprocess.run(
            [source.production.programs.path("pg_waldump"), "--stats", str(copy.archive / segment_name(1, number, MIB))],
            capture_output=True,
            text=True,
            env=environment(),
        ).stdout
        if text.startswith("WAL statistics"):
            end = Lsn(text.split("\n")[0].split(" and ")[1].rstrip(":"))
            if end < (number + 1) * MIB - 64:
                found.append((number, end))
    return found


async def test_whole_wal_is_whole_and_fetching_again_changes_nothing(copy: Copy) -> None:
    copy.take("full")
    catalog, report = await fetched(copy)
    assert (report.missing, report.damaged) == ((), ()), report.detail
    part = path_of(catalog, catalog.backup("full"))[0]
    assert report.segments == part.last - part.first + 1
    wal = copy.out.parent / "wal"
    first = wal / segment_name(1, part.first, MIB)
    first.unlink()
    _, again = await fetched(copy)
    assert (again.missing, again.damaged) == ((), ())
    assert {entry.name for entry in wal.iterdir()} == {
        segment_name(1, number, MIB) for number in range(part.first, part.last + 1)
    }


@pytest.mark.parametrize("where", ["middle", "running over", "continued", "long"])
async def test_a_flipped_byte_is_found_wherever_it_is(copy: Copy, lab18: Lab, where: str) -> None:
    copy.take("full")
    catalog = await copy.repository.catalog()
    part = path_of(catalog, catalog.backup("full"))[0]
    over = boundaries(copy, catalog, lab18)
    assert over
    long = next((number, start) for number, start in over if (number + 1) * MIB - start > 64 << 10)
    number, offset = {
        "middle": (over[0][0], MIB // 2),
        "running over": (over[0][0], MIB - 12),  # the beginning of a record that goes on in the next segment
        "continued": (over[0][0] + 1, 44),  # its end, behind the next segment's header
        "long": (long[0] + 1, MIB // 2),  # a segment in which no record begins
    }[where]
    copy.damage(copy.archive / segment_name(1, number, MIB), offset)
    point = await copy.repository.last_record(catalog, [part])
    assert point is not None
    report = await copy.repository.fetch_wal(catalog, coordinate(catalog, "full", point.lsn), copy.out.parent / "wal")
    assert report.missing == ()
    damaged = [number for span in report.damaged for number in range(span.first, span.last + 1)]
    assert {number, number - 1} & set(damaged), (report, number)
    assert len(damaged) <= 4
    assert report.detail


async def test_damage_behind_the_target_does_not_matter(copy: Copy, lab18: Lab) -> None:
    copy.take("full")
    catalog = await copy.repository.catalog()
    found = await target(copy, catalog, TargetKind.XID, lab18.facts["xid"])
    assert found is not None
    number = found[0].lsn // MIB
    copy.damage(copy.archive / segment_name(1, number + 2, MIB), MIB // 2)
    _, report = await fetched(copy, until=found[0].lsn)
    assert (report.missing, report.damaged) == ((), ()), report.detail


async def test_a_segment_that_goes_away_is_missing(copy: Copy) -> None:
    copy.take("full")
    catalog = await copy.repository.catalog()
    part = path_of(catalog, catalog.backup("full"))[0]
    point = await copy.repository.last_record(catalog, [part])
    assert point is not None
    made = coordinate(catalog, "full", point.lsn)
    (copy.archive / segment_name(1, part.first + 2, MIB)).unlink()
    report = await copy.repository.fetch_wal(catalog, made, copy.out.parent / "wal")
    assert report.missing == (SegmentRange(timeline=1, first=part.first + 2, last=part.first + 2),)


@pytest.mark.parametrize("how", ["cut", "cut gzip", "zeros", "old"])
async def test_a_segment_that_is_none_is_damaged(copy: Copy, how: str) -> None:
    copy.take("full")
    catalog = await copy.repository.catalog()
    part = path_of(catalog, catalog.backup("full"))[0]
    point = await copy.repository.last_record(catalog, [part])
    assert point is not None
    file = copy.archive / segment_name(1, part.first + 2, MIB)
    content = file.read_bytes()
    file.unlink()
    if how == "cut gzip":
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(content)[:-100])
    else:
        other = (copy.archive / segment_name(1, part.first + 3, MIB)).read_bytes()
        file.write_bytes({"cut": content[: MIB // 2], "zeros": bytes(MIB), "old": other}[how])
    made = coordinate(catalog, "full", point.lsn)
    report = await copy.repository.fetch_wal(catalog, made, copy.out.parent / "wal")
    damaged = {number for span in report.damaged for number in range(span.first, span.last + 1)}
    assert part.first + 2 in damaged, report
