"""What of a restored server to read into the caches first, and how much fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from airflow_dr_provider.domain.value import Value


class Warmable(Value):
    """A relation of the restored server.

    :param label: its name as statistics and references say it: schema and name, each quoted where it has to be.
    :param tablespace: oid of the tablespace that it lies in, with the database's and *filenode* its file's name.
    """

    database: str
    database_oid: int
    oid: int
    schema_name: str
    name: str
    label: str
    is_index: bool
    tablespace: int
    filenode: int
    blocks: int


class Portion(Value):
    """The first blocks of a relation, all of them where they fit."""

    relation: Warmable
    blocks: int


class File(NamedTuple):
    """A relation's file as autoprewarm names it."""

    database: int
    tablespace: int
    filenode: int


def heat_by_name(relations: Sequence[Warmable], touched: Mapping[tuple[str, str], int]) -> dict[int, int]:
    """How hot relations are by production's statistics.

    :param touched: blocks read or found in the cache, by database and label.
    :return: by position in *relations*; the cold ones are left out.
    """
    return {
        index: touched[relation.database, relation.label]
        for index, relation in enumerate(relations)
        if touched.get((relation.database, relation.label))
    }


def heat_by_file(relations: Sequence[Warmable], cached: Mapping[File, int]) -> dict[int, int]:
    """How hot relations are by what lay in production's shared buffers when autoprewarm last wrote its list."""
    found = {}
    for index, relation in enumerate(relations):
        blocks = cached.get(File(relation.database_oid, relation.tablespace, relation.filenode))
        if blocks:
            found[index] = blocks
    return found


def read_autoprewarm(lines: Iterable[str]) -> dict[File, int]:
    """Blocks of each file in an ``autoprewarm.blocks``: a line ``<<number>>``, then ``database,tablespace,filenode,fork,block``.

    Lines that are something else are passed over: the list is advice, and may come from any version.
    """
    counted: Counter[File] = Counter()
    for line in lines:
        parts = line.strip().split(",")
        if len(parts) == 5 and all(part.isascii() and part.isdigit() for part in parts):
            counted[File(*(int(part) for part in parts[:3]))] += 1
    return dict(counted)


def choose(relations: Sequence[Warmable], heat: Mapping[int, int], *, block_size: int, room: int) -> tuple[Portion, ...]:
    """What to read, in order, until the room is full: the hottest first, then indexes, then the small before the large.

    A lookup that finds its index warm costs one read instead of many. The last portion is cut to what is left.

    :param heat: by position in *relations*.
    :param room: bytes.
    """
    left = room // block_size
    chosen: list[Portion] = []
    order = sorted(
        range(len(relations)),
        key=lambda index: (-heat.get(index, 0), not relations[index].is_index, relations[index].blocks, index),
    )
    for index in order:
        blocks = min(relations[index].blocks, left)
        if blocks > 0:
            chosen.append(Portion(relation=relations[index], blocks=blocks))
            left -= blocks
    return tuple(chosen)


def samples(blocks: int, wanted: int, *, second: bool) -> tuple[int, ...]:
    """Blocks spread over a relation, to be touched by a measurement; the second one's are others than the first one's."""
    step = max(2, blocks // max(1, wanted))
    return tuple(range(1 if second else 0, blocks, step))[:wanted]
