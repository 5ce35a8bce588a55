"""Labels, manifests and histories that were cut, reordered, overgrown or made up: read as what they are, or refused."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.domain.wal import parse_history
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.backup_label import parse_label
from airflow_dr_provider.postgresql.controlfile import system_identifier
from airflow_dr_provider.postgresql.manifest import DIGITS, parse_manifest, parse_time
from airflow_dr_provider.postgresql.verifybackup import parse_faults
from tests.unit.repositories.test_parsers import FILE, LABEL, RANGE, manifest_text

POSITIONS = st.integers(0, (1 << 64) - 1).map(Lsn)
HISTORY_FILE = """START WAL LOCATION: 12/5000028 (file 000000130000001200000005)
STOP WAL LOCATION: 12/5000120 (file 000000130000001200000005)
CHECKPOINT LOCATION: 12/5000080
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-23 01:06:47 UTC
LABEL: nightly
START TIMELINE: 19
STOP TIME: 2026-11-23 01:06:52 UTC
STOP TIMELINE: 19
"""


# -- labels ------------------------------------------------------------------------------------------------------------
@given(st.integers(0, len(HISTORY_FILE)))
def test_a_label_that_was_cut_off_never_starts_elsewhere(length: int) -> None:
    whole = parse_label(HISTORY_FILE)
    try:
        label = parse_label(HISTORY_FILE[:length])
    except ValueError:
        return
    assert (label.start_lsn, label.start_segment, label.timeline) == (whole.start_lsn, whole.start_segment, whole.timeline)
    assert label.stop_lsn in (None, whole.stop_lsn)


@given(st.randoms(use_true_random=False))
def test_the_order_of_a_label_s_lines_changes_nothing(chance: random.Random) -> None:
    lines = HISTORY_FILE.splitlines()
    assert parse_label("\n".join(chance.sample(lines, len(lines)))) == parse_label(HISTORY_FILE)


@given(
    start=POSITIONS,
    timeline=st.integers(0, 1 << 33),
    of_file=st.integers(0, (1 << 32) - 1),
    base=POSITIONS | st.text(max_size=20),
)
def test_a_label_s_numbers_agree_or_it_is_refused(start: Lsn, timeline: int, of_file: int, base: Lsn | str) -> None:
    text = (
        f"START WAL LOCATION: {start} (file {of_file:08X}0000000000000005)\nSTART TIMELINE: {timeline}\n"
        f"INCREMENTAL FROM LSN: {base}\nINCREMENTAL FROM TLI: 1\n"
    )
    try:
        label = parse_label(text)
    except ValueError:
        assert timeline not in (of_file, 0) or of_file == 0 or not isinstance(base, Lsn)
        return
    assert (label.start_lsn, label.timeline) == (start, of_file)


@pytest.mark.parametrize(
    "line",
    [
        "START WAL LOCATION: 0/5000028",
        "START WAL LOCATION: 0/5000028 (file 00000001000000000000000G)",
        "START WAL LOCATION: 0/5000028 (file 000000000000000000000005)",
        "START WAL LOCATION: 123456789/5000028 (file 000000010000000000000005)",
        "start wal location: 0/5000028 (file 000000010000000000000005)",
        "START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\nSTART TIMELINE: 2",
        "START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\nSTART TIMELINE: \u0661",
        "START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\nSTART TIMELINE: 99999999999",
    ],
)
def test_a_label_that_no_server_writes_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_label(line)


def test_a_label_s_own_text_of_a_million_lines_changes_nothing() -> None:
    text = LABEL.format(zone="UTC", label="x" + "\nSTART WAL LOCATION: 9/9" * 1_000_000)
    assert parse_label(text).start_lsn == Lsn("0/5000028")


# -- manifests ---------------------------------------------------------------------------------------------------------
def files(count: int) -> list[dict[str, Any]]:
    """Entries of a manifest, of each kind of checksum."""
    kinds = sorted(DIGITS)
    return [
        {**FILE, "Path": f"base/{number}", "Size": number, "Checksum-Algorithm": kind, "Checksum": "0" * DIGITS[kind]}
        for number, kind in enumerate(kinds[number % len(kinds)] for number in range(count))
    ]


@given(st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_a_manifest_changes_nothing(chance: random.Random) -> None:
    entries = files(12)
    whole = parse_manifest(manifest_text(entries, (RANGE, {**RANGE, "Timeline": 2})))
    mixed = [dict(chance.sample(list(entry.items()), len(entry))) for entry in chance.sample(entries, len(entries))]
    read = parse_manifest(manifest_text(mixed, ({**RANGE, "Timeline": 2}, RANGE)))
    assert sorted(read.files) == sorted(whole.files)
    assert sorted(read.wal_ranges) == sorted(whole.wal_ranges)
    assert (read.size_bytes, read.newest, read.algorithms) == (whole.size_bytes, whole.newest, whole.algorithms)


@given(st.sampled_from(["Files", "WAL-Ranges", "PostgreSQL-Backup-Manifest-Version"]))
def test_a_key_that_stands_twice_is_read_once_or_refused(key: str) -> None:
    """The last one counts, as in PostgreSQL's own readers of JSON; what both say can't be had at once."""
    document = {"PostgreSQL-Backup-Manifest-Version": 2, "Files": [FILE], "WAL-Ranges": [RANGE]}
    value = {"Files": [], "WAL-Ranges": [], "PostgreSQL-Backup-Manifest-Version": 1}[key]
    body = f'{json.dumps(document)[:-1]}, "{key}": {json.dumps(value)},\n'
    text = f'{body}"Manifest-Checksum": "{hashlib.sha256(body.encode()).hexdigest()}"}}\n'.encode()
    try:
        read = parse_manifest(text)
    except BackupError:
        return
    seen = {"Files": list(read.files), "WAL-Ranges": list(read.wal_ranges), "PostgreSQL-Backup-Manifest-Version": read.version}
    assert seen[key] == value


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = parse_time(text)
    assert found is None or found.tzinfo is not None


# -- histories ---------------------------------------------------------------------------------------------------------
@st.composite
def ancestries(draw: st.DrawFn) -> tuple[int, list[tuple[int, Lsn]]]:
    """A timeline, and where each of its ancestors was left."""
    parents = sorted(draw(st.sets(st.integers(1, 1 << 20), min_size=1, max_size=8)))
    return parents[-1] + draw(st.integers(1, 9)), [(parent, draw(POSITIONS)) for parent in parents]


@given(ancestries(), st.sampled_from(["\t", " ", "   \t"]), st.sampled_from(["\n", "\r\n", "\n\n", "\n# comment\n"]))
def test_a_written_history_comes_back(made: tuple[int, list[tuple[int, Lsn]]], blank: str, end: str) -> None:
    timeline, parents = made
    text = "".join(f"{parent}{blank}{switch}{blank}no recovery target specified{end}" for parent, switch in parents)
    forks = parse_history(timeline, text)
    assert [(fork.parent, fork.switch_lsn) for fork in forks] == parents
    assert [fork.timeline for fork in forks] == [parent for parent, _ in parents[1:]] + [timeline]


@given(ancestries(), st.data())
def test_a_history_that_was_cut_or_reordered_is_refused_or_says_less(
    made: tuple[int, list[tuple[int, Lsn]]], data: st.DataObject
) -> None:
    timeline, parents = made
    lines = [f"{parent}\t{switch}\tbefore 2026-11-23 01:06:47+00" for parent, switch in parents]
    text = "\n".join(lines) + "\n"
    cut = text[: data.draw(st.integers(0, len(text)))]
    mixed = "\n".join(data.draw(st.permutations(lines))) + "\n"
    for damaged in (cut, mixed):
        try:
            forks = parse_history(timeline, damaged)
        except ValueError:
            continue
        assert len(forks) <= len(parents)
        # A line that is whole says what it said; of the last one the position may have lost its end.
        assert [(fork.parent, fork.switch_lsn) for fork in forks][:-1] == parents[: max(0, len(forks) - 1)]


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "1\t",
        "x\t0/1\n",
        "1\t0/1\n1\t0/2\n",
        "2\t0/1\n1\t0/2\n",
        "9\t0/1\n",
        "0\t0/1\n",
        "1\t0/G\n",
        "1\t123456789/0\n",
        "\u0661\t0/1\n",
        "-1\t0/1\n",
        "1\t0/1,\n",
    ],
)
def test_a_history_that_no_server_writes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="00000009"):
        parse_history(9, text)


def test_a_history_of_a_hundred_thousand_timelines_is_read() -> None:
    text = "".join(f"{number}\t0/{number:X}\n" for number in range(1, 100_001))
    assert len(parse_history(100_001, text)) == 100_000


# -- the others --------------------------------------------------------------------------------------------------------
@given(st.binary(max_size=20))
def test_any_control_file_has_an_identifier_or_none(content: bytes) -> None:
    found = system_identifier(content)
    assert (found is None) == (len(content) < 8)
    assert found is None or 0 <= found < 1 << 64


@given(st.text() | st.lists(st.text(max_size=30).map('pg_verifybackup: error: "{}" is present on disk'.format)).map("\n".join))
def test_any_words_of_pg_verifybackup_are_faults_or_nothing(said: str) -> None:
    for fault in parse_faults(said):
        assert fault.code.startswith("BACKUP_")
