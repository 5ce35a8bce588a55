"""WAL-G's settings from a file: ``NAME=value`` lines, as a shell or systemd would read them, and nothing that only one would.

Nothing is expanded or run. The values are secrets: no message holds one.
"""

from __future__ import annotations

import re
from pathlib import Path

from airflow_dr_provider.errors import ConfigurationError

SIZE_LIMIT = 64 * 1024
"""Bytes; a settings file is a few hundred."""

_NAME = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'[ \t]*(?:[ \t]#.*)?")
_DOUBLE = re.compile(r'"((?:[^"\\$`]|\\["\\$`])*)"[ \t]*(?:[ \t]#.*)?')
_BARE = re.compile(r"([^\s'\"\\$`;&|<>()#~][^\s'\"\\$`;&|<>()]*)?[ \t]*(?:[ \t]#.*)?")
_ESCAPE = re.compile(r'\\(["\\$`])')


def read_settings(path: Path) -> dict[str, str]:
    """Read a settings file.

    :raises ConfigurationError: when it can't be read, or a line of it isn't a setting whose meaning is plain.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigurationError(
            f"WAL-G's settings {path} can't be read: {error.strerror}. Name the file of its WALG_… variables in "
            f"source.repository.env_file, and let this account read it."
        ) from error
    if len(content) > SIZE_LIMIT:
        raise ConfigurationError(f"{path} is larger than {SIZE_LIMIT} bytes; that is no file of WAL-G's settings.")
    try:
        return parse_settings(content.decode("utf-8-sig"), path)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text; it has to be a file of NAME=value lines.") from None


def parse_settings(text: str, path: Path) -> dict[str, str]:
    """Take the lines apart.

    :param path: for messages.
    :raises ConfigurationError: with the number of the first line that can't be used.
    """
    settings: dict[str, str] = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        stripped = line.strip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        match = _NAME.fullmatch(stripped)
        if match is None:
            raise _refused(path, number, "it is no NAME=value")
        if match[1] in settings:
            raise _refused(path, number, f"{match[1]} was set before")
        settings[match[1]] = _value(match[2], path, number)
    return settings


def _value(text: str, path: Path, number: int) -> str:
    if any(ord(character) < 32 and character != "\t" for character in text):
        raise _refused(path, number, "its value holds a control character")
    if (match := _SINGLE.fullmatch(text)) is not None:
        return match[1]
    if (match := _DOUBLE.fullmatch(text)) is not None:
        return _ESCAPE.sub(r"\1", match[1])
    if (match := _BARE.fullmatch(text)) is not None:
        return match[1] or ""
    raise _refused(path, number, "programs would read its value differently; put the value in single quotes")


def _refused(path: Path, number: int, why: str) -> ConfigurationError:
    return ConfigurationError(f"{path}, line {number}: {why}. WAL-G's settings are NAME=value lines; comments start with #.")
