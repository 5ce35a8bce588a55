"""What a spec may not say: each value refused in words, beside one like it that is taken."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from airflow_dr_provider.checks.base import CHECKS
from airflow_dr_provider.domain.profiles import CHECK_NAMES
from airflow_dr_provider.errors import SpecError
from airflow_dr_provider.repositories.base import REPOSITORIES
from airflow_dr_provider.sandboxes.base import SANDBOXES
from airflow_dr_provider.spec.loader import find_specs, load_spec, load_text, spec_digest, spec_from_snapshot, spec_snapshot
from airflow_dr_provider.spec.models import DrillSpec
from airflow_dr_provider.spec.repository import REPOSITORY_KINDS
from airflow_dr_provider.spec.sandbox import SANDBOX_KINDS
from airflow_dr_provider.spec.schema import json_schema
from airflow_dr_provider.spec.target import TargetSpec

EXAMPLE = Path(__file__).with_name("example.yaml")
TEXT = EXAMPLE.read_text()
SANDBOX = "kind: process, isolation: preferred"


def load(text: str) -> DrillSpec:
    return load_text(text, source="orders.yaml", base=Path("/srv/dr"))


def changed(part: str, instead: str) -> str:
    assert part in TEXT
    return TEXT.replace(part, instead, 1)


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(text)
    return caught.value.message


@pytest.mark.parametrize(
    ("part", "refused", "words", "taken"),
    [
        ("drill: orders", "drill: 0123", 'put it in quotes: "0123"', 'drill: "0123"'),
        ("drill: orders", "drill:", "drill: is empty", "drill: o"),
        ("drill: orders", "drill: ../orders", "lower-case letters", "drill: a-b_c"),
        ("rto: 30m", "rto: 45", "45 has no unit; write 45m", "rto: 45m"),
        ("rto: 30m", "rto: 4000d", "ten years", "rto: PT1H"),
        ("rto: 30m", 'rto: "1:30"', "is no duration", "rto: 1h30m"),
        ("version: 1", "version: true", "the number 1", "version: 1"),
        ("version: 1", "version: 1.0", "the number 1", "version: 1 # x"),
        ("version: 1", "version: 1\noverlap: yes", "write true", "version: 1\noverlap: true"),
        ("version: 1", "version: 1\noverlap: off", "write false", "version: 1\noverlap: false"),
        ("version: 1", "version: 1\noverlap: 1", "neither true nor false", "version: 1\nrow_drop: 100"),
        ("version: 1", "version: 1\nrow_drop: 101", "100 or less", "version: 1\nrow_drop: 0"),
        ("version: 1", "version: 1\ndatabases: []", "at least one", "version: 1\ndatabases: [a]"),
        ("version: 1", "version: 1\ndatabases: [2024]", 'put it in quotes: "2024"', 'version: 1\ndatabases: ["2024"]'),
        ("{lookback: 7d}", '{candidates: "3"}', "without quotes", "{candidates: 3}"),
        ("{lookback: 7d}", "{candidates: true}", "true is no whole number", "{candidates: 16}"),
        ("{lookback: 7d}", "{candidates: 17}", "16 or less", "{candidates: 1}"),
        ('"0 3 * * *"', '"0 0 30 2 *"', "never comes", '"0 0 29 2 *"'),
        ('"0 3 * * *"', '"R 3 * * *"', "at random", '"@daily"'),
        ('"0 3 * * *"', '"0 3 * * * *"', "no cron expression", '"*/5 3 * * mon-fri"'),
        ('"0 3 * * *"', '"@reboot"', "known: @hourly", "null"),
        ("./backups", '""', "is no path", "/x"),
        ("./backups", '"a\\0b"', "is no path", "~/x"),
        ("./backups", "5", "in quotes", '"5"'),
        (SANDBOX, "kind: process, libraries: [../evil]", "without a folder", "kind: process, libraries: [timescaledb-2.14.2]"),
        (SANDBOX, "kind: process, account: a b", "an account", "kind: process, account: _postgres"),
        (SANDBOX, "isolation: off", "kind: is missing: the kind of sandbox", "kind: process, isolation: off"),
        ("reference: production", "reference: prod", "production, last_good_run or {file:", "reference: last_good_run"),
        ("reference: production", "reference: {fil: x}", "did you mean file?", "reference: {file: ./reference.json}"),
        ("public.dr_heartbeat", "a.b.c", "schema.table", "dr_heartbeat"),
        ("public.dr_heartbeat", '"x; DROP TABLE y"', "schema.table", "a.b"),
        ("profile: full", "exclude_checks: [chksum]", "chksum: no such check", "exclude_checks: [checksum]"),
        ("triage: {response_timeout: 8h}", "triage:", "triage: is empty", "triage: {}"),
        ("triage: {response_timeout: 8h}", "triage: 8h", "no mapping", "tags: [a]"),
    ],
)
def test_values(part: str, refused: str, words: str, taken: str) -> None:
    message = refusal(changed(part, refused))
    assert words in message
    assert len(message.splitlines()) <= 2, message
    load(changed(part, taken))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("time: 2026-03-01", "is no time"),
        ("time: 2026-03-01 04:00:00", "write it like 2026-03-01T04:00:00+00:00"),
        ('time: "2026-03-01T04:00:00.1234567Z"', "at most microseconds"),
        ('time: "2026-02-30T04:00:00Z"', "that exists"),
        ('time: "0001-01-01T00:00:00+14:00"', "that exists"),
        ("lsn: 12345", "LSN"),
        ("xid: 2", "from 3 on"),
        ("xid: true", "no transaction id"),
        ("xid: 18446744073709551616", "no transaction id"),
        ('restore_point: "a\\nb"', "printable"),
        ("restore_point: " + "x" * 64, "63"),
        ("timeline: current", "exactly one"),
        ("recover_to: latest, timeline: 0", "a timeline is"),
        ("recover_to: latest, timeline: true", "a timeline is"),
        ('recover_to: latest, timeline: "2"', "a timeline is"),
        ("recover_to: latest, time: 2026-03-01T04:00:00Z", "exactly one"),
    ],
)
def test_targets_that_are_none(form: str, words: str) -> None:
    message = refusal(changed("recover_to: latest", form))
    assert words in message
    assert len(message.splitlines()) == 1, message


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("time: 2026-03-01 04:00:00 +02:00", "2026-03-01T02:00:00+00:00"),
        ("time: 2026-03-01t04:00:00.000001z", "2026-03-01T04:00:00.000001+00:00"),
        ("time: 2026-03-01T04:00-0530", "2026-03-01T09:30:00+00:00"),
        ("lsn: 16/b374d848", "16/B374D848"),
        ("xid: 700", "700"),
        ('xid: "700"', "700"),
        ("restore_point: before release", "before release"),
    ],
)
def test_targets(form: str, value: str) -> None:
    """No moment is shifted: YAML's own timestamps would drop the offset."""
    spec = load(changed("recover_to: latest", form))
    assert spec.target.recovery_target().value == value
    assert spec_from_snapshot(spec_snapshot(spec)) == spec


def test_a_target_made_in_python_obeys_the_same_rules() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        TargetSpec()


def test_mistakes_of_every_kind_are_said_together() -> None:
    text = changed("drill: orders", "drill: orders\ndrill: again\nfoo: 1").replace("rpo: 1d", "rpo: !!str 1d, nam: x")
    message = refusal(text)
    assert [line.split(":")[1] for line in message.splitlines()] == ["3", "4", "17", "17"]
    for words in ("drill: the key drill is there twice", "foo: is no key here", "tag", "did you mean name?"):
        assert words in message


def test_problems_are_facts_too() -> None:
    with pytest.raises(SpecError) as caught:
        load(changed("role: staging", "role: stage"))
    assert caught.value.code == "SPEC_INVALID"
    (problem,) = caught.value.facts["problems"]
    assert (problem["line"], problem["path"]) == (13, "tiers[0].role")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 262_000,
        "{" * 262_000,
        "- " * 131_000,
        "? " * 131_000,
        "[" + "1," * 131_000 + "]",
        "{" + "a," * 131_000 + "}",
        "\n".join(f"sourc{number}: b" for number in range(18_000)),
        "tiers: [{" + ",".join(f"nam{number}: 1" for number in range(4_900)) + "}]",
        "drill: " + "9" * 200_000,
        "drill: " + "x " * 130_000,
        "# x\n" * 65_000,
        "&a [" * 60_000,
        "!x " * 80_000,
        'a: "\\UFFFFFFFF"',
        'drill: "\\ud800"',
        "%YAML 1.1\n---\nversion: 1",
        "%TAG ! tag:x:\n---\nversion: 1",
        "version: 1\n...\n---\n",
        "<<: {version: 1}",
        "? [a, b]\n: 1",
        "\x00",
        "null",
        "--- |\n text",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_hostile_text_is_refused_soon(text: str) -> None:
    start = time.process_time()
    message = refusal(text)
    # Processor time of this process: the machine's load doesn't count. Measured: 1 s at worst.
    assert time.process_time() - start < 6
    assert len(message) < 60_000


def test_an_alias_bomb_is_not_unfolded() -> None:
    levels = "\n".join(f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]" for level in range(1, 20))
    assert "anchors" in refusal("l0: &l0 x\n" + levels)


def test_files_that_would_never_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for place in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(SpecError, match="pipe, socket or device") as caught:
            load_spec(place)
        assert caught.value.facts["problems"][0]["line"] == 0
    with pytest.raises(SpecError, match="no file's name"):
        load_spec(Path("a\0b"))


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "orders.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert load_spec(file).drill == "orders"


def test_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    """As a mounted ConfigMap has them: every file is there twice, once through a link."""
    (tmp_path / "..2026_03_01").mkdir()
    (tmp_path / "..2026_03_01" / "a.yaml").write_text(TEXT)
    (tmp_path / "..data").symlink_to("..2026_03_01")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert find_specs([tmp_path, tmp_path / "a.yaml"]) == [tmp_path / "a.yaml"]


def test_the_digest_is_the_same_in_every_process() -> None:
    script = (
        "import sys; from pathlib import Path; from airflow_dr_provider.spec.loader import load_spec, spec_digest; "
        "print(spec_digest(load_spec(Path(sys.argv[1]))))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, str(EXAMPLE)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {spec_digest(load_spec(EXAMPLE))}


def test_whatever_is_registered_can_be_named() -> None:
    """One registration in the spec for each in the adapters' rooms, which the spec can't import."""
    assert set(SANDBOX_KINDS) == set(SANDBOXES)
    assert set(REPOSITORY_KINDS) == set(REPOSITORIES)
    assert set(CHECK_NAMES) == set(CHECKS)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("version: 1", "version: 2"),
        ("drill: orders", "drill: Orders!"),
        ("rto: 30m", "rto: 30"),
        ("mtd: 4h", "mtd: four"),
        ("recover_to: latest", "recover_to: latest, lsn: 0/1"),
        ("recover_to: latest", "timeline: latest"),
        (SANDBOX, "kind: proces"),
        ("archive: ./archive", "archives: ./archive"),
        ("kind: basebackup", "kind: pgbackups"),
        ("reference: production", "reference: prod"),
        ("retries: 1", "retries: 11"),
        ("tiers:", "tiers: []\ntags:"),
        ("name: cold", "name: ../cold"),
        ("public.dr_heartbeat", "a.b.c"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(part: str, instead: str) -> None:
    yaml = YAML(typ="safe", pure=True)
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(yaml.load(TEXT))
    assert not validator.is_valid(yaml.load(changed(part, instead)))
    refusal(changed(part, instead))


LINES = TEXT.splitlines()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from([*LINES, "- x", "a: &b", "c: [", "? {", "\t", "d: 1e999"]))
    )
)
def test_shuffled_lines_end_in_a_spec_or_a_sentence(swaps: list[tuple[int, str]]) -> None:
    lines = list(LINES)
    for place, line in swaps:
        lines[place] = line
    try:
        spec = load("\n".join(lines))
    except SpecError as error:
        assert all(line.startswith("orders.yaml") for line in error.message.splitlines())  # noqa: PT017 - either end is right
    else:
        assert spec_from_snapshot(spec_snapshot(spec)) == spec


REPOSITORIES_REFUSED = [
    ("{kind: pgbackrest}", "source.repository.stanza: is missing"),
    (
        "{kind: pgbackrest, stanza: main, archive: ./a}",
        "source.repository.archive: is no key here; known: kind, stanza, config",
    ),
    ("{kind: pgbackrest, stanza: ../main}", 'source.repository.stanza: "../main" can\'t be used here'),
    ("{kind: barman, server: main, cloud: {}}", "source.repository.cloud.url: is missing: where it is"),
    ("{kind: barman, server: main, cloud: {url: s3://b, profider: x}}", "(did you mean provider?)"),
    ("{kind: walg}", "source.repository.env_file: is missing"),
    ("{stanza: main}", "source.repository.kind: is missing: the kind of repository; known: basebackup, pgbackrest"),
]


@pytest.mark.parametrize(("repository", "words"), REPOSITORIES_REFUSED)
def test_each_kind_of_repository_has_its_own_keys(repository: str, words: str) -> None:
    message = refusal(changed("{kind: basebackup, backups: ./backups, archive: ./archive}", repository))
    assert words in message
    assert len(message.splitlines()) == 1


def test_acknowledged_holes_are_in_order() -> None:
    first, other = "000000010000000000000003", "000000020000000000000004"
    hole = f"{{first: '{first}', last: '{other}', reason: lost}}"
    assert "last is a segment of first's timeline" in refusal(changed("selection: {", f"selection: {{acknowledged: [{hole}], "))
