"""What an error of a restored server means: damaged data, or something else; and how it may be told to a person."""

from __future__ import annotations

import re

import psycopg

# Manual, appendix *PostgreSQL Error Codes*: data_corrupted and index_corrupted.
_CORRUPT = frozenset({"XX001", "XX002"})
# io_error and undefined_file are damage when they are about a file of the data directory. A library that this machine doesn't
# have ("could not access file "$libdir/pgcrypto"") carries the same code and says nothing about the backup.
_FILE = frozenset({"58030", "58P01"})
_DATA_FILE = re.compile(r"\b(?:base|global|pg_tblspc|pg_xact|pg_multixact|pg_subtrans|pg_commit_ts)/")
_SECRET = re.compile(r"(?i)(password|passwd|pwd|secret|token)\s*[=:]\s*(?:'[^']*'|\"[^\"]*\"|\S+)")
_USER_INFO = re.compile(r"(\w+://)[^/@\s]*@")
_LIMIT = 300


def is_corruption(error: psycopg.Error, *, internal: bool = False) -> bool:
    """Whether the server says by this error that the data it read are damaged.

    :param internal: count ``internal_error`` (XX000) too: right where only statements of our own ran, which never cause one
        on sound data; wrong for statements of a user, which may call anything.
    """
    code = error.sqlstate
    if code in _CORRUPT:
        return True
    if code in _FILE:
        return _DATA_FILE.search(error.diag.message_primary or "") is not None
    return internal and code == "XX000"


def mask(text: str) -> str:
    """One line of bounded length, without what looks like a password."""
    line = " ".join(text.split())
    return _USER_INFO.sub(r"\1***@", _SECRET.sub(r"\1=***", line))[:_LIMIT]


def describe(error: BaseException) -> str:
    """An error's type and message for a record: of the server's message the first line only, as DETAIL may hold rows."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return mask(f"{type(error).__name__} ({error.sqlstate}): {error.diag.message_primary or ''}")
    return mask(f"{type(error).__name__}: {error}")


def condition(error: psycopg.Error) -> str:
    """An error's name and code without its message, which may quote a value of a row (``invalid input syntax … "value"``)."""
    return f"{type(error).__name__} ({error.sqlstate or 'no SQLSTATE'})"
