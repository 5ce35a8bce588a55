"""Generated archives, and what is true of them: written for clarity, with sets of files and single positions.

Nothing here is shared with the package's own way of computing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from airflow_dr_provider.domain.catalog import Backup, BackupFlaw, Catalog, SegmentRange, TimelineFork, WalArchive
from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.wal import ranges_of_names
from airflow_dr_provider.repositories.compression import compression_of
from airflow_dr_provider.repositories.wal_files import ArchiveFile, ArchiveListing, sort_in

Choose = Callable[[int, int], int]
File = tuple[int, int]
"""Timeline, number."""

SIZES = tuple(megabytes << 20 for megabytes in (1, 16, 64, 128, 1024))
GRID = 4
"""Positions per segment."""
WIDTH = 12
"""Segments of a world."""


@dataclass
class World:
    """A tree of timelines, the files that an archive got of it, and backups."""

    size: int
    base: int
    parents: dict[int, int]
    begins: dict[int, int]
    files: set[File]
    flawed: set[File]
    bad: set[File]
    partial: set[File] = field(default_factory=set)
    copies: list[str] = field(default_factory=list)
    """Names of files: each segment's at least once, from whichever repository, compressed or not; and of ``.partial`` ones."""
    backups: list[Backup] = field(default_factory=list)

    # -- positions: cells of a quarter segment, counted from the start of the WAL -------------------------------------------
    def lsn(self, cell: int) -> Lsn:
        return Lsn(cell * self.size // GRID)

    def cell(self, lsn: int) -> int:
        return lsn * GRID // self.size

    def line(self, timeline: int) -> list[int]:
        """A timeline and its ancestors, youngest first."""
        return [timeline, *(self.line(self.parents[timeline]) if timeline in self.parents else [])]

    def author(self, timeline: int, cell: int) -> int:
        """Who wrote a position of the WAL that leads to a timeline."""
        return next(member for member in self.line(timeline) if self.begins[member] <= cell)

    def wanted(self, timeline: int, number: int) -> int:
        """Whose file of a segment recovery asks for first."""
        return next(member for member in self.line(timeline) if self.begins[member] // GRID <= number)

    def readable(self, timeline: int, cell: int, files: set[File]) -> bool:
        """Whether some file holds a position of the WAL that leads to a timeline, with the right content."""
        number = cell // GRID
        return any(
            (member, number) in files
            and self.begins[member] // GRID <= number
            and self.author(member, cell) == self.author(timeline, cell)
            for member in self.line(timeline)
        )

    # -- answers -----------------------------------------------------------------------------------------------------------
    def on_timeline(self, backup: Backup, timeline: int) -> bool:
        assert backup.stop_lsn is not None
        if backup.timeline not in self.line(timeline):
            return False
        younger = self.line(timeline)[: self.line(timeline).index(backup.timeline)]
        return all(self.cell(backup.stop_lsn) <= self.begins[member] for member in younger)

    def reach(self, backup: Backup, timeline: int) -> tuple[int, set[File] | None]:
        """The first cell that can't be replayed, and the first hole."""
        assert backup.start_lsn is not None
        files = (self.files - self.flawed - self.bad) | own_files(backup)
        start = cell = self.cell(backup.start_lsn)
        while self.readable(timeline, cell, files):
            cell += 1
        number = max(cell, start) // GRID
        later = any(self.readable(timeline, further, files) for further in range((number + 1) * GRID, self.end_cell))
        if not later:
            return cell, None
        owner, hole = self.wanted(timeline, number), set()
        while self.wanted(timeline, number) == owner and (owner, number) not in files:
            hole.add((owner, number))
            number += 1
        return cell, hole

    def holes(self) -> set[File]:
        files, found = self.files - self.flawed, set()
        sound = [backup for backup in self.backups if not backup.flaws]
        for timeline in self.begins:
            has_own = any((timeline, n) in files for n in range(self.begins[timeline] // GRID, self.base + WIDTH + 1))
            if not has_own and not any(backup.timeline == timeline for backup in sound):
                continue
            for backup in sound:
                if not self.on_timeline(backup, timeline):
                    continue
                assert backup.start_lsn is not None
                first = self.cell(backup.start_lsn) // GRID
                there = [c // GRID for c in range(first * GRID, self.end_cell) if self.readable(timeline, c, files)]
                way = {(self.wanted(timeline, number), number) for number in range(first, max(there, default=0))}
                found |= way - files - own_files(backup)
        return found

    @property
    def end_cell(self) -> int:
        return (self.base + WIDTH + 2) * GRID

    # -- the same, as the package's values ---------------------------------------------------------------------------------
    def names(self, files: set[File]) -> list[str]:
        per = (1 << 32) // self.size
        return [f"{timeline:08X}{number // per:08X}{number % per:08X}" for timeline, number in files]

    def archive(self) -> WalArchive:
        forks = (
            TimelineFork(timeline=timeline, parent=parent, switch_lsn=self.lsn(self.begins[timeline]))
            for timeline, parent in self.parents.items()
        )
        return WalArchive(
            segment_size=self.size,
            ranges=ranges_of_names(self.listing.segments, self.size),
            partial=ranges_of_names(self.listing.partial, self.size),
            forks=tuple(forks),
            flawed=ranges_of_names(self.names(self.flawed), self.size),
        )

    @cached_property
    def listing(self) -> ArchiveListing:
        """The archive as an adapter lists it."""
        listing = ArchiveListing(Path("world"))
        for name in self.copies:
            assert sort_in(listing, ArchiveFile(Path(name), self.size, compression_of(name)), name)
        return listing

    def bad_ranges(self) -> tuple[SegmentRange, ...]:
        return tuple(SegmentRange(timeline=timeline, first=number, last=number) for timeline, number in self.bad)

    def catalog(self) -> Catalog:
        return Catalog(identity="world", backups=tuple(self.backups), archive=self.archive())


def own_files(backup: Backup) -> set[File]:
    return files_of(backup.own_wal)


def files_of(ranges: tuple[SegmentRange, ...]) -> set[File]:
    return {(part.timeline, number) for part in ranges for number in range(part.first, part.last + 1)}


def ordered_files(ranges: tuple[SegmentRange, ...]) -> list[File]:
    return [(part.timeline, number) for part in ranges for number in range(part.first, part.last + 1)]


def make_world(choose: Choose) -> World:
    """A world: one to five timelines with forks anywhere, also within one segment and before the parent's own; each archived
    up to some point (lag), with segments lost, flawed or found bad; a parent that may go on after its child left.
    """
    size = SIZES[choose(0, len(SIZES) - 1)]
    per = (1 << 32) // size
    base = max(0, per * choose(0, 3) - choose(0, 5))  # across the border between two high halves of the names, often
    parents: dict[int, int] = {}
    begins = {1: 0}
    for timeline in range(2, choose(1, 5) + 1):
        parents[timeline] = choose(1, timeline - 1)
        begins[timeline] = base * GRID + choose(0, WIDTH * GRID)
    files: set[File] = set()
    for timeline, begin in begins.items():
        first = max(begin // GRID, base)
        last = base + choose(-1, WIDTH)
        files |= {(timeline, number) for number in range(first, last + 1)}
        for _ in range(choose(0, 2)):
            files.discard((timeline, base + choose(0, WIDTH)))
    some = sorted(files)
    flawed = {some[choose(0, len(some) - 1)]} if some and choose(0, 3) == 0 else set()
    bad = {some[choose(0, len(some) - 1)]} if some and choose(0, 3) == 0 else set()
    world = World(size, base, parents, begins, files, flawed, bad)
    _make_copies(world, choose)
    for number in range(choose(1, 3)):
        world.backups.append(_make_backup(world, number, choose))
    return world


def _make_copies(world: World, choose: Choose) -> None:
    """The files' names: up to three repositories' copies of a segment, in no order, and beginnings of what comes last."""
    for name in world.names(world.files):
        for _ in range(1 + max(0, choose(-3, 2))):
            world.copies.append(name + ("", "", ".gz", ".zst", ".lz4")[choose(0, 4)])
    lasts = {timeline: max((n for member, n in world.files if member == timeline), default=None) for timeline in world.begins}
    for timeline, last in lasts.items():
        if last is not None and choose(0, 3) == 0:
            number = last + choose(0, 1)
            world.partial.add((timeline, number))
            (name,) = world.names({(timeline, number)})
            world.copies.append(name + (".partial", ".gz.partial", ".partial.gz")[choose(0, 2)])
    if choose(0, 1):
        world.copies.reverse()


def _make_backup(world: World, number: int, choose: Choose) -> Backup:
    timeline = choose(1, len(world.begins))
    start = max(world.begins[timeline], world.base * GRID + choose(0, WIDTH * GRID - 1))
    stop = start + choose(0, 2 * GRID)
    own: tuple[SegmentRange, ...] = ()
    if choose(0, 2) == 0:
        own = (SegmentRange(timeline=timeline, first=start // GRID, last=max(stop - 1, start) // GRID),)
    return Backup(
        id=f"b{number}",
        repository="world",
        timeline=timeline,
        start_lsn=world.lsn(start),
        stop_lsn=world.lsn(stop),
        server_version=18,
        own_wal=own,
        flaws=(BackupFlaw.INCOMPLETE,) if choose(0, 5) == 0 else (),
    )


def questions(world: World) -> Iterator[tuple[Backup, int]]:
    """Every backup with every timeline."""
    for backup in world.backups:
        for timeline in world.begins:
            yield backup, timeline
