"""The quick way and the slow way through a document find the same, or the quick one leaves it to the other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_dr_provider.spec import loader, yaml_fast
from airflow_dr_provider.spec.loader import load_text
from airflow_dr_provider.spec.yaml_fast import NOTHING, read_value
from airflow_dr_provider.spec.yaml_nodes import DEEPEST, LARGEST, MOST, read_document

SHIPPED = (Path(__file__).parents[3] / "dags" / "orders.yaml").read_text()
# What YAML gives a meaning to, what 1.1 and 1.2 read differently, and a little of anything else.
PIECES = (
    *"{}[],:&*!|>%@`\"'#-?=~<\\/. \n\t\r_+0129abexonyEN\u00e4\u0085\u2028\u2029\ufeff\u00a0\x00\x7f",
    "\n  ", "\n- ", "- ", ": ", " #", "a: ", "? ", "---\n", "...\n", "--- ", "%YAML 1.1\n", "!!str ", "!", "&a ", "*a", "<<: ",
    "|\n  ", ">-\n  ", "|2\n   ", '"\\', '\\/"', "''", '""', "0x1F", "0o17", "017", "1_000", "1:30", "1e3", "1.5", ".inf", "-.INF",
    ".nan", "yes", "on", "No", "true", "FALSE", "null", "Null", "~", "2026-03-01", "2026-03-01T04:00:00Z", "0b101", "=", "a:b",
    "{a:1}", "[a:b]", '{"a":1}', "{a, b}", "[a: b]", "a", "b", "key: value\n", "x" * 1030,
)  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
AROUND = (
    "a: @", "a: [@]", "{a: @}", "a:\n  b: @\n  c: 1", "- @", "a: '@'", 'a: "@"', "a: |\n  @", "@: 1",
)  # fmt: skip
inside = st.builds(lambda around, text: around.replace("@", text), st.sampled_from(AROUND), texts)
mutated = st.builds(
    lambda at, length, text: SHIPPED[:at] + text + SHIPPED[at + length :],
    st.integers(0, len(SHIPPED)),
    st.integers(0, 12),
    texts,
)


def same(one: Any, other: Any) -> bool:
    """Equal, also in type: 1 is not true here, and not-a-number is itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def check(text: str) -> None:
    quick = read_value(text)
    if quick is NOTHING:
        return
    document = read_document(text)
    assert document.problems == []
    assert not document.broken
    assert same(quick, document.value)


@settings(max_examples=1500, deadline=None)
@given(texts | inside | mutated)
@example("a: 017")
@example("a: 1:30")
@example("a: yes")
@example("a: 0b101")
@example("a: =")
@example("a: 1_0")
@example("<<: {a: 1}\nb: 2")
@example("a: >#\nb: 1")
@example("a: [?:]")
@example("a: |\n  \n   #b")
def test_they_find_the_same(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2",
        "a: &x 1",
        "a: &x 1\nb: *x",
        "a: !!str 1",
        "a: !thing {}",
        "a: 1\n---\nb: 2",
        "%YAML 1.1\n---\na: yes",
        "{a: 1}: 2",
        "? [a]\n: 2",
        "a: \t1",
        "a: 'x\u2028y'",
        "\ufeffa: 1",
        "a: " + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
        "a: " + "[" * 100_000,
        "a: [" + "1," * MOST + "]",
        "a: '" + "x" * LARGEST + "'",
        "a: [",
        "",
        "# nothing\n",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_left_to_the_slow_way(text: str) -> None:
    assert read_value(text) is NOTHING


def test_sound_specs_are_read_by_the_quick_way() -> None:
    assert yaml_fast.CParser is not None, "PyYAML's wheels bring libyaml"
    assert read_value(SHIPPED) == read_document(SHIPPED).value


def test_the_spec_is_the_same_by_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = load_text(SHIPPED, source="orders.yaml", base=Path("/drills"))
    monkeypatch.setattr(loader, "read_value", lambda text: NOTHING)
    assert load_text(SHIPPED, source="orders.yaml", base=Path("/drills")) == quick


def test_the_slow_way_reads_where_there_is_no_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_fast, "CParser", None)
    assert read_value(SHIPPED) is NOTHING
    assert load_text(SHIPPED, source="orders.yaml", base=Path("/drills")).drill == "orders"
