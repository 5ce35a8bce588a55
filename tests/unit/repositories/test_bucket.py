"""An object's checksum: what was stored passes, whatever its parts; one changed byte does not."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.repositories.bucket import Bucket, StoredObject, _Reading, checkable, is_checksum


class Parts(Bucket):
    """A bucket of one object, in memory."""

    def __init__(self, parts: list[bytes]) -> None:
        self._name = "bucket"
        self._errors = ()
        self.parts = parts

    def part(self, stored: StoredObject, number: int) -> Any:
        return {"Body": io.BytesIO(b"".join(self.parts) if number == 0 else self.parts[number - 1])}


def stored(parts: list[bytes], *, whole: bool = False) -> StoredObject:
    """The object as S3 would list it: sent in parts, or whole."""
    content = b"".join(parts)
    etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if not whole:
        digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
        etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
    return StoredObject("base/data.tar", len(content), etag, datetime(2026, 1, 1, tzinfo=UTC))


def opened(parts: list[bytes], expected: StoredObject, *, check: bool = True) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(_Reading(Parts(parts), expected, check=check), 64))


PARTS = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5)


@given(PARTS, st.booleans())
def test_what_was_stored_is_read(parts: list[bytes], whole: bool) -> None:
    assert opened(parts, stored(parts, whole=whole)).read() == b"".join(parts)


@given(PARTS, st.booleans(), st.data())
def test_a_changed_byte_is_found(parts: list[bytes], whole: bool, data: st.DataObject) -> None:
    expected = stored(parts, whole=whole)
    number = data.draw(st.integers(0, len(parts) - 1))
    place = data.draw(st.integers(0, len(parts[number]) - 1))
    changed = bytearray(parts[number])
    changed[place] ^= data.draw(st.integers(1, 255))
    damaged = [*parts[:number], bytes(changed), *parts[number + 1 :]]
    with pytest.raises(BackupError) as refused:
        opened(damaged, expected).read()
    assert refused.value.code == "BACKUP_CHECKSUM_MISMATCH"
    assert opened(damaged, expected, check=False).read() == b"".join(damaged)


@given(PARTS, st.data())
def test_a_cut_object_is_found(parts: list[bytes], data: st.DataObject) -> None:
    expected = stored(parts)
    cut = [*parts[:-1], parts[-1][: data.draw(st.integers(0, len(parts[-1]) - 1))]]
    with pytest.raises(BackupError):
        opened(cut, expected).read()


@pytest.mark.parametrize(("etag", "expected"), [("0" * 32, True), ("0" * 32 + "-12", True), ("random-id", False), ("", False)])
def test_an_etag_that_is_no_checksum_is_told_by_its_form(etag: str, expected: bool) -> None:
    entry = StoredObject("k", 1, etag, datetime(2026, 1, 1, tzinfo=UTC))
    assert checkable(entry) is expected
    assert opened([b"x"], entry, check=not expected).read() == b"x"
    assert not is_checksum(entry, b"x")
