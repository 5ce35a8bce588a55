"""What continuity and selection cost for a large archive, beside plain Python on the same names in the same run.

1,000 backups and 1,000,000 WAL names, then 5,600,000: time as a multiple of what it takes to turn the names into integers and
sort them, and memory over the interpreter's own. Each measurement is a process of its own; names are made as they are read, so
that neither side pays for holding them. Ends with 1 when a promise is broken.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_dr_provider.domain.catalog import Backup, Catalog, SegmentRange, TimelineFork, WalArchive
from airflow_dr_provider.domain.continuity import holes, latest_timeline
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.selection import SelectionInputs, select
from airflow_dr_provider.domain.target import RecoveryTarget, ResolvedTarget
from airflow_dr_provider.domain.wal import ranges_of_names

PROMISED_RATIO = 2.5
PROMISED_MIB = 64
PROMISED_GROWTH = 1.25
"""How much more a name may cost in the largest archive than in the smaller one."""

BACKUPS = 1_000
SIZES = (1_000_000, 5_600_000)
ORDERS = ("rising", "scattered")
ROUNDS = 3
SEGMENT = 16 << 20
TIMELINES = 3
HOLES = 50
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def names(count: int, order: str) -> Iterator[str]:
    """An archive's names: three timelines one after the other, holes now and then, some names twice, files of other kinds.

    :param order: ``rising`` as a sorted listing gives them, or ``scattered`` as a file system's folder does.
    """
    per, hole = (1 << 32) // SEGMENT, count // HOLES
    for position, index in enumerate(range(count) if order == "rising" else jumping(count)):
        number = 1 + index + (index + hole - hole // 2) // hole
        name = f"{1 + index * TIMELINES // count:08X}{number // per:08X}{number % per:08X}"
        yield name
        if position % 1_000 == 0:
            yield name
            yield f"{name}.00000028.backup"


def jumping(count: int) -> Iterator[int]:
    """Every number below a bound once, in no order, and none of them kept: a linear congruential generator of full period."""
    period = 1 << (count - 1).bit_length()
    number = 7
    for _ in range(period):
        number = (number * 1_664_525 + 1_013_904_223) % period
        if number < count:
            yield number


def plain(listing: list[str]) -> list[int]:
    """Plain Python: integers, sorted. The listing's other files are passed over by their length."""
    return sorted(int(name, 16) for name in listing if len(name) == 24)


def judge(listing: Iterable[str], count: int) -> None:
    """Names to ranges, holes, and the choice among a thousand backups."""
    ranges = ranges_of_names(listing, SEGMENT)
    ends = [max(part.last for part in ranges if part.timeline == timeline) for timeline in range(1, TIMELINES + 1)]
    catalog = Catalog(identity="bench:/", backups=backups(ends), archive=archive(ranges, ends))
    target = ResolvedTarget(
        timeline=latest_timeline(catalog), lsn=Lsn(ends[-1] * SEGMENT + 99), time=NOON, requested=RecoveryTarget()
    )
    missing = holes(catalog)
    table = select(
        SelectionInputs(catalog=catalog, target=target, moment=NOON, rpo_seconds=3600.0, lookback_seconds=7 * 86400.0)
    )
    if table.chosen is None or table.chosen.backup_id != f"backup{BACKUPS - 1:04}" or len(missing) != HOLES:
        raise RuntimeError(f"the wrong answer for {count:,} names: {table.detail} {len(missing)} holes")


def archive(ranges: tuple[SegmentRange, ...], ends: list[int]) -> WalArchive:
    """The archive of those ranges; each timeline goes on where the one before ended."""
    forks = tuple(
        TimelineFork(timeline=timeline + 1, parent=timeline, switch_lsn=Lsn((ends[timeline - 1] + 1) * SEGMENT))
        for timeline in range(1, TIMELINES)
    )
    return WalArchive(segment_size=SEGMENT, ranges=ranges, forks=forks)


def backups(ends: list[int]) -> tuple[Backup, ...]:
    """A thousand backups all along the archive, a full one and six incremental ones in turn."""
    made = []
    for index in range(BACKUPS):
        start = 2 + index * (ends[-1] - 4) // BACKUPS
        made.append(
            Backup(
                id=f"backup{index:04}",
                repository="bench",
                chain=() if index % 7 == 0 else (f"backup{index - index % 7:04}",),
                system_identifier=7,
                server_version=18,
                timeline=1 + sum(start > end for end in ends[:-1]),
                start_lsn=Lsn(start * SEGMENT + 40),
                stop_lsn=Lsn(start * SEGMENT + 4096),
                stop_time=NOON - timedelta(minutes=BACKUPS - index),
            )
        )
    return tuple(made)


def seconds(work: Callable[[], object]) -> float:
    """How long a call keeps the processor: what else the machine does counts for neither side."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def times(count: int, order: str) -> dict[str, float]:
    """Both sides in one process, in turns, so that whatever else the machine does falls on both."""
    listing = list(names(count, order))
    rounds = [(seconds(lambda: plain(listing)), seconds(lambda: judge(listing, count))) for _ in range(ROUNDS)]
    theirs, mine = (statistics.median(side) for side in zip(*rounds, strict=True))
    return {"plain": theirs, "ours": mine, "ratio": statistics.median(ours / plain for plain, ours in rounds)}


def resident(count: int, order: str) -> float:
    """The most memory that the system gave this process, in MiB; of a bare interpreter for no names at all."""
    judge(names(count, order), count)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def traced(count: int, order: str) -> float:
    """The most memory that Python held at once, in MiB."""
    tracemalloc.start()
    judge(names(count, order), count)
    return tracemalloc.get_traced_memory()[1] / (1 << 20)


MEASURES: dict[str, Callable[[int, str], object]] = {"times": times, "resident": resident, "traced": traced}
BARE = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"


def child(*arguments: str) -> Any:
    """What a process of its own prints."""
    return json.loads(subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Measure, print, judge."""
    bare = child("-c", BARE)
    print(f"{'names':>10}  {'order':10}{'plain':>8}{'ours':>8}{'ratio':>7}{'resident':>10}{'traced':>8}")
    broken: list[str] = []
    costs: dict[str, list[float]] = {}
    for count, order in ((count, order) for order in ORDERS for count in SIZES):
        took = child(__file__, "times", str(count), order)
        used = child(__file__, "resident", str(count), order) - bare
        # Tracing takes a minute for the larger archive, and what the system gave says the same.
        held = child(__file__, "traced", str(count), order) if count == SIZES[0] else 0.0
        costs.setdefault(order, []).append(took["ours"] / count)
        print(
            f"{count:>10,}  {order:10}{took['plain']:>8.3f}{took['ours']:>8.3f}{took['ratio']:>7.2f}{used:>10.1f}{held:>8.1f}",
            flush=True,
        )
        if took["ratio"] > PROMISED_RATIO:
            broken.append(f"{count:,} {order} names: {took['ratio']:.2f} times plain Python, more than {PROMISED_RATIO}")
        if max(used, held) > PROMISED_MIB:
            broken.append(f"{count:,} {order} names: {max(used, held):.1f} MiB, more than {PROMISED_MIB}")
    print(f"seconds of processor time, medians of {ROUNDS}; MiB over a bare interpreter's {bare:.0f}")
    for order, (small, large) in costs.items():
        if large > small * PROMISED_GROWTH:
            broken.append(f"not linear: a {order} name costs {large / small:.2f} times as much among {SIZES[-1]:,}")
    for line in broken:
        print(line)
    return int(bool(broken))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(MEASURES[sys.argv[1]](int(sys.argv[2]), sys.argv[3])))
    else:
        sys.exit(main())
