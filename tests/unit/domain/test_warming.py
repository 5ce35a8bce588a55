from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.domain.warming import (
    File,
    Warmable,
    choose,
    heat_by_file,
    heat_by_name,
    read_autoprewarm,
    samples,
)

BLOCK = 8192


def relation(name: str, blocks: int, *, is_index: bool = False, filenode: int = 0) -> Warmable:
    return Warmable(
        database="shop", database_oid=5, oid=filenode, schema_name="public", name=name, label=f"public.{name}",
        is_index=is_index, tablespace=1663, filenode=filenode, blocks=blocks,
    )  # fmt: skip


RELATIONS = st.lists(st.builds(relation, st.text("abc", min_size=1), st.integers(1, 1000), is_index=st.booleans()), max_size=20)
HOT, BIG, INDEX = (
    relation("hot", 10, filenode=1),
    relation("big", 100, filenode=2),
    relation("index", 20, is_index=True, filenode=3),
)


def names(relations: list[Warmable], heat: dict[int, int], room: int) -> list[tuple[str, int]]:
    return [(portion.relation.name, portion.blocks) for portion in choose(relations, heat, block_size=BLOCK, room=room * BLOCK)]


def test_the_hottest_first_then_indexes_then_the_small() -> None:
    relations = [BIG, HOT, INDEX]
    assert names(relations, {}, 1000) == [("index", 20), ("hot", 10), ("big", 100)]
    assert names(relations, {0: 5, 1: 9}, 1000) == [("hot", 10), ("big", 100), ("index", 20)]
    assert names(relations, {0: 5, 1: 9}, 30) == [("hot", 10), ("big", 20)]
    assert names(relations, {}, 0) == []


@given(RELATIONS, st.dictionaries(st.integers(0, 19), st.integers(1, 9)), st.integers(0, 20_000))
def test_laws(relations: list[Warmable], heat: dict[int, int], room: int) -> None:
    chosen = choose(relations, heat, block_size=BLOCK, room=room * BLOCK)
    total = sum(portion.blocks for portion in chosen)
    assert total == min(room, sum(each.blocks for each in relations))
    assert all(0 < portion.blocks <= portion.relation.blocks for portion in chosen)
    # Only the last one may be cut.
    assert all(portion.blocks == portion.relation.blocks for portion in chosen[:-1])


def test_heat_is_found_by_name_and_by_file() -> None:
    relations = [HOT, BIG, INDEX]
    assert heat_by_name(relations, {("shop", "public.big"): 7, ("other", "public.hot"): 9, ("shop", "public.gone"): 1}) == {
        1: 7
    }
    listed = read_autoprewarm(
        ["<<5>>\n", "5,1663,2,0,0\n", "5,1663,2,0,1\n", "5,1663,3,1,0\n", "6,1663,1,0,0\n", "5,1664,1,0,0\n"]
    )
    assert heat_by_file(relations, listed) == {1: 2, 2: 1}


@given(st.lists(st.text(max_size=40)))
def test_a_list_of_something_else_is_no_list(lines: list[str]) -> None:
    for file, blocks in read_autoprewarm(lines).items():
        assert isinstance(file, File)
        assert blocks > 0


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_the_second_measurement_touches_other_blocks(blocks: int, wanted: int) -> None:
    first, second = (samples(blocks, wanted, second=which) for which in (False, True))
    assert set(first).isdisjoint(second)
    assert len(first) <= wanted
    assert len(second) <= wanted
    assert all(0 <= block < blocks for block in (*first, *second))
    assert bool(first) == (blocks > 0)
