"""The loader: every mistake named with file, line, place, and what would be right."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.target import TargetKind
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.spec.loader import (
    find_specs,
    load_spec,
    load_text,
    spec_digest,
    spec_from_snapshot,
    spec_snapshot,
)
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.schema import json_schema

EXAMPLE = Path(__file__).with_name("example.yaml")
TEXT = EXAMPLE.read_text()


def load(text: str) -> DrillSpec:
    return load_text(text, source="orders.yaml", base=Path("/srv/dr"))


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(text)
    return caught.value.message


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def test_the_example() -> None:
    spec = load_spec(EXAMPLE)
    assert spec.objectives.rpo == timedelta(hours=1)
    assert [tier.name for tier in spec.tiers] == ["primary", "secondary", "cold"]
    assert spec.tiers[2].rpo == timedelta(days=1)
    assert spec.target.recovery_target().kind is TargetKind.LATEST
    assert spec.source.repository.backups == EXAMPLE.parent / "backups"


def test_paths_start_from_the_specs_folder() -> None:
    assert str(load(TEXT.replace("./backups", "../elsewhere")).source.repository.backups) == "/srv/elsewhere"


@pytest.mark.parametrize(
    ("part", "instead", "place", "words"),
    [
        ("timeout: 10m", "timeuot: 10m", "tiers[0].timeuot", "did you mean timeout?"),
        ("kind: process, isolation: preferred", "kind: proces", "tiers[0].sandbox.kind", "did you mean process?"),
        ("role: staging", "role: stagging", "tiers[0].role", "did you mean staging?"),
        ("rpo: 1h,", "rpo: 60,", "objectives.rpo", "30m"),
        ("rto: 30m", "rto: 5h", "objectives", "mtd"),
        ('"0 3 * * *"', '"99 3 * * *"', "schedule", "cron"),
        ("recover_to: latest", 'time: "2026-03-01T04:00:00"', "target.time", "offset"),
        ("recover_to: latest", "time: 2026-03-01 04:00:00", "target.time", "offset"),
        ("recover_to: latest", "recover_to: newest", "target.recover_to", "latest"),
        ("recover_to: latest", "lsn: zero", "target.lsn", "LSN"),
        ("recover_to: latest", "lsn: 0/1, xid: 700", "target", "exactly one"),
        ("name: secondary", "name: primary", "", "twice"),
        ("name: cold", "name: ../cold", "tiers[2].name", "name"),
        ("version: 1", "version: 2", "version", "1"),
        ("production_conn_id: orders_ro", "description: x", "source.description", "no key here"),
        ("kind: basebackup", "kind: pgbackups", "source.repository.kind", "basebackup"),
        ("drill: orders", "drill: Orders!", "drill", "name"),
        ("lookback: 7d", "lookback: 0d", "selection.lookback", "longer than nothing"),
        ("retries: 1", "retries: 99", "tiers[0].retries", "10"),
    ],
)
def test_mistakes(part: str, instead: str, place: str, words: str) -> None:
    assert part in TEXT
    text = TEXT.replace(part, instead, 1)
    message = refusal(text)
    assert words in message
    assert f"orders.yaml:{line_of(text, instead)}: {place}" in message or not place or place in message, message


def test_a_missing_key_names_the_mapping_that_lacks_it() -> None:
    text = TEXT.replace("objectives: {rto: 30m, rpo: 1h, mtd: 4h}", "objectives: {rto: 30m, rpo: 1h}")
    assert refusal(text) == (
        f"orders.yaml:{line_of(text, 'objectives')}: objectives.mtd: "
        f"is missing: maximum tolerable downtime: after it, recovery is too late"
    )


def test_every_mistake_is_said_at_once() -> None:
    assert len(refusal(TEXT.replace("10m", "10").replace("role: staging", "role: x")).splitlines()) >= 3


def test_production_needs_a_connection() -> None:
    assert "production_conn_id" in refusal(TEXT.replace("  production_conn_id: orders_ro\n", ""))


def test_the_reference_by_default() -> None:
    with_connection = load(TEXT.replace("  reference: production\n", ""))
    assert with_connection.source.reference == "production"
    without = load(TEXT.replace("  reference: production\n", "").replace("  production_conn_id: orders_ro\n", ""))
    assert without.source.reference == "last_good_run"


@pytest.mark.parametrize("word", ["required", "preferred", "off"])
def test_yaml_1_2_words(word: str) -> None:
    assert load(TEXT.replace("isolation: preferred", f"isolation: {word}")).tiers[0].sandbox.isolation == word


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("- a\n", "mapping"),
        ("version: 1\nversion: 1\n", "twice"),
        ("version: !!int 1\n", "tag"),
        ("a: &x 1\nb: *x\n", "anchor"),
        ("version: 1\n---\nversion: 1\n", "second"),
        ("a: [[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]\n", "deep"),
        ("a: [\n", "no YAML"),
        ("\t- x", "no YAML"),
        ("a: " + "x" * 300_000, "KiB"),
    ],
)
def test_what_is_no_spec_at_all(text: str, words: str) -> None:
    assert words in refusal(text)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    for place, words in ((tmp_path, "folder"), (tmp_path / "none.yaml", "No such file")):
        with pytest.raises(SpecError, match=words):
            load_spec(place)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="UTF-8"):
        load_spec(tmp_path / "binary.yaml")


def test_a_snapshot_reads_back() -> None:
    spec = load_spec(EXAMPLE)
    assert spec_from_snapshot(spec_snapshot(spec)) == spec
    assert spec_digest(spec_from_snapshot(spec_snapshot(spec))) == spec_digest(spec)
    assert spec_digest(load(TEXT.replace("retries: 1", "retries: 2"))) != spec_digest(load(TEXT))


def test_folders_stand_for_their_specs(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in find_specs([tmp_path])] == ["a.yml", "b.yaml"]


def test_the_schema_agrees_with_the_loader() -> None:
    from ruamel.yaml import YAML

    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    yaml = YAML(typ="safe", pure=True)
    assert list(validator.iter_errors(yaml.load(TEXT))) == []
    for part, instead in (("timeout: 10m", "timeuot: 10m"), ("rpo: 1h,", "rpo: 60,"), ("role: staging", "role: x")):
        assert list(validator.iter_errors(yaml.load(TEXT.replace(part, instead, 1)))), instead


def test_the_schema_describes_every_key() -> None:
    def keys(node: object) -> list[str]:
        if not isinstance(node, dict):
            return []
        missing = [name for name, value in node.get("properties", {}).items() if "description" not in value]
        return missing + [name for value in node.get("$defs", {}).values() for name in keys(value)]

    assert keys(json_schema()) == []


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_spec_or_a_sentence(text: str) -> None:
    try:
        load(text)
    except SpecError as error:
        assert error.message  # noqa: PT017 - either end is right


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.integers(0, 40), st.text(max_size=8))
def test_a_mutated_spec_is_a_spec_or_a_sentence(start: int, length: int, put: str) -> None:
    try:
        load(TEXT[:start] + put + TEXT[start + length :])
    except SpecError as error:
        assert error.message.startswith("orders.yaml")  # noqa: PT017 - either end is right
