"""WAL-G's settings file: read in the one way that every program reads it, or refused by line, and never said aloud."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.errors import ConfigurationError
from airflow_dr_provider.repositories.walg_settings import SIZE_LIMIT, parse_settings, read_settings

HERE = Path("walg.env")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("export NAME=value", "value"),
        ("  NAME=value  ", "value"),
        ("NAME=", ""),
        ("NAME=''", ""),
        ("NAME=s3://bucket/path#1", "s3://bucket/path#1"),
        ("NAME=value # why", "value"),
        ("NAME='a b $HOME \"c\" # d'", 'a b $HOME "c" # d'),
        ("NAME='a b'  # why", "a b"),
        ('NAME="a b # c"', "a b # c"),
        (r'NAME="a \"b\" \$c \\ \`"', r'a "b" $c \ `'),
        ('NAME="it\'s"', "it's"),
        ("NAME=a=b==", "a=b=="),
    ],
)
def test_what_a_line_says(line: str, value: str) -> None:
    assert parse_settings(f"# first\n\n{line}\r\n", HERE) == {"NAME": value}
    shown = subprocess.run(["sh", "-c", f'{line}\nprintf %s "$NAME"'], capture_output=True, text=True, check=True)
    assert shown.stdout == value  # a shell reads it in the same way


@pytest.mark.parametrize(
    "line",
    [
        "NAME",
        "=secret",
        "NAME =secret",
        "1NAME=secret",
        "declare NAME=secret",
        "NAME=sec ret",
        "NAME=$secret",
        'NAME="$secret"',
        'NAME="`secret`"',
        "NAME=`secret`",
        r"NAME=sec\ret",
        r'NAME="sec\ret"',
        "NAME='secret",
        'NAME="secret',
        "NAME='sec'ret",
        "NAME='sec'ret'",
        "NAME=sec'ret'",
        "NAME=secret;id",
        "NAME=secret&x=1",
        "NAME=~/secret",
        "NAME=secret\x00",
        "NAME='secret\x1b'",
    ],
)
def test_what_programs_read_differently_is_refused_by_line_and_never_shown(line: str) -> None:
    with pytest.raises(ConfigurationError, match="line 2") as refused:
        parse_settings(f"OTHER=1\n{line}\n", HERE)
    assert "sec" not in refused.value.message


def test_a_second_value_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="line 2: NAME was set before") as refused:
        parse_settings("NAME=secret1\nNAME=secret2", HERE)
    assert "secret" not in refused.value.message


def test_a_file_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"source\.repository\.env_file"):
        read_settings(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"source\.repository\.env_file"):
        read_settings(tmp_path)
    (tmp_path / "binary").write_bytes(b"NAME=\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        read_settings(tmp_path / "binary")
    (tmp_path / "large").write_bytes(b"#" * (SIZE_LIMIT + 1))
    with pytest.raises(ConfigurationError, match="larger"):
        read_settings(tmp_path / "large")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfNAME=value\n")
    assert read_settings(tmp_path / "file") == {"NAME": "value"}


VALUE = st.text(st.characters(min_codepoint=32, blacklist_characters="'", blacklist_categories=["Cs", "Cc"]), max_size=30)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True), VALUE, max_size=6))
def test_quoted_values_come_back(values: dict[str, str]) -> None:
    assert parse_settings("".join(f"{name}='{value}'\n" for name, value in values.items()), HERE) == values


@given(st.text() | st.lists(st.text("ABab=='\"\\$`# \t\n", max_size=12)).map("\n".join))
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_settings(text, HERE)
    except ConfigurationError:
        return
    assert all(name and "\n" not in value for name, value in found.items())
