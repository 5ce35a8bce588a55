"""Manifests, labels, WAL headers and pg_waldump's lines: read right, or refused in words, whatever they hold."""

from __future__ import annotations

import hashlib
import json
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_dr_provider.domain.lsn import Lsn
from airflow_dr_provider.errors import BackupError
from airflow_dr_provider.postgresql.backup_label import parse_label
from airflow_dr_provider.postgresql.manifest import Manifest, parse_manifest, safe_path
from airflow_dr_provider.postgresql.verifybackup import parse_faults
from airflow_dr_provider.postgresql.waldump import parse_record
from airflow_dr_provider.postgresql.walheader import LENGTH, WalHeader, parse_header, record_end

FILE = {
    "Path": "base/5/1259",
    "Size": 8192,
    "Last-Modified": "2026-11-22 21:13:43 GMT",
    "Checksum-Algorithm": "CRC32C",
    "Checksum": "f97e9fbe",
}
RANGE = {"Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000120"}
LABEL = """START WAL LOCATION: 0/5000028 (file 000000010000000000000005)
CHECKPOINT LOCATION: 0/5000080
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-23 01:06:47 {zone}
LABEL: {label}
START TIMELINE: 1
INCREMENTAL FROM LSN: 0/2000028
INCREMENTAL FROM TLI: 1
"""


def manifest_text(files: Any = (FILE,), ranges: Any = (RANGE,), version: Any = 2, **more: Any) -> bytes:
    """A manifest as the server writes it, its own checksum right."""
    document = {"PostgreSQL-Backup-Manifest-Version": version, **more, "Files": list(files), "WAL-Ranges": list(ranges)}
    body = json.dumps(document)[:-1] + ",\n"
    return f'{body}"Manifest-Checksum": "{hashlib.sha256(body.encode()).hexdigest()}"}}\n'.encode()


def read_or_refused(text: bytes) -> Manifest | str:
    """The manifest, or the refusal's code; any other error is the test's."""
    try:
        return parse_manifest(text)
    except BackupError as error:
        return error.code


# -- manifest ----------------------------------------------------------------------------------------------------------
def test_a_manifest_is_read() -> None:
    read = parse_manifest(manifest_text(**{"System-Identifier": 7711151665573432339}))
    assert (read.version, read.system_identifier, read.size_bytes) == (2, 7711151665573432339, 8192)
    assert read.files[0].checksum == "f97e9fbe"
    assert read.wal_ranges[0].end == Lsn("0/2000120")
    assert read.newest == datetime(2026, 11, 22, 21, 13, 43, tzinfo=UTC)


def test_a_manifest_without_checksums_and_with_an_encoded_path() -> None:
    entry = {"Encoded-Path": b"base/\xff".hex(), "Size": 1, "Last-Modified": "2026-11-22 21:13:43 GMT"}
    read = parse_manifest(manifest_text([entry], version=1))
    assert read.algorithms == {""}
    assert read.files[0].path == "base/\udcff"


@pytest.mark.parametrize(
    "change",
    [
        {"Path": "../etc/passwd"},
        {"Path": "/etc/passwd"},
        {"Path": "base//1"},
        {"Path": ""},
        {"Path": 7},
        {"Size": -1},
        {"Size": True},
        {"Size": 1 << 70},
        {"Checksum": "f97e9f"},
        {"Checksum-Algorithm": "MD5"},
        {"Checksum-Algorithm": ["SHA256"]},
        {"Last-Modified": 0},
    ],
)
def test_an_entry_that_no_server_writes_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BackupError) as refused:
        parse_manifest(manifest_text([{**FILE, **change}]))
    assert refused.value.code == "BACKUP_MANIFEST_DAMAGED"


@pytest.mark.parametrize(
    "change", [{"Timeline": 0}, {"Timeline": "1"}, {"Start-LSN": "zero"}, {"End-LSN": "0/1"}, {"End-LSN": None}]
)
def test_a_wal_range_that_no_server_writes_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BackupError):
        parse_manifest(manifest_text(ranges=[{**RANGE, **change}]))


def test_a_file_listed_twice_is_refused() -> None:
    with pytest.raises(BackupError, match="twice"):
        parse_manifest(manifest_text([FILE, FILE]))


@pytest.mark.parametrize("version", [0, 3, "1", None, True])
def test_an_unknown_version_is_refused(version: Any) -> None:
    with pytest.raises(BackupError, match="version"):
        parse_manifest(manifest_text(version=version))


@given(st.data())
def test_a_changed_or_cut_manifest_never_passes(data: st.DataObject) -> None:
    whole = manifest_text()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = whole[:place]
    else:
        damaged = bytes([*whole[:place], whole[place] ^ data.draw(st.integers(1, 255)), *whole[place + 1 :]])
    # Only what its checksum doesn't cover may differ: the letters' case in the checksum itself, blanks in the last line.
    assert read_or_refused(damaged) in ("BACKUP_MANIFEST_DAMAGED", parse_manifest(whole))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    files=st.lists(max_size=3, elements=JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(FILE, JSON))),
    ranges=st.lists(JSON, max_size=3),
    version=JSON,
)
@settings(max_examples=60)
def test_any_content_with_a_right_checksum_is_read_or_refused(files: list[Any], ranges: list[Any], version: Any) -> None:
    for text in (manifest_text(files, ranges, 1), manifest_text((FILE,), (RANGE,), version), manifest_text(files, (RANGE,), 2)):
        read = read_or_refused(text)
        if isinstance(read, Manifest):
            assert all(safe_path(file.path) and file.size >= 0 for file in read.files)
        else:
            assert read == "BACKUP_MANIFEST_DAMAGED"


@given(st.binary())
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(BackupError):
        parse_manifest(content)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(BackupError):
        parse_manifest(b"[" * 100_000 + b"\n")


def test_fifty_thousand_files_are_read() -> None:
    read = parse_manifest(manifest_text({**FILE, "Path": f"base/{number}"} for number in range(50_000)))
    assert len(read.files) == 50_000


# -- label -------------------------------------------------------------------------------------------------------------
def test_a_label_is_read() -> None:
    label = parse_label(LABEL.format(zone="UTC", label="pg_basebackup base backup"))
    assert (label.start_lsn, label.timeline, label.label) == (Lsn("0/5000028"), 1, "pg_basebackup base backup")
    assert (label.incremental_from, label.incremental_timeline) == (Lsn("0/2000028"), 1)
    assert label.start_time is not None
    assert label.start_time.in_utc() == datetime(2026, 11, 23, 1, 6, 47, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "written", "expected"),
    [
        ("CET", datetime(2026, 11, 23, 0, 6, 52, tzinfo=UTC), datetime(2026, 11, 23, 0, 6, 47, tzinfo=UTC)),
        ("EST", datetime(2026, 11, 23, 6, 8, 0, tzinfo=UTC), datetime(2026, 11, 23, 6, 6, 47, tzinfo=UTC)),
        ("NPT", datetime(2026, 11, 22, 19, 21, 47, tzinfo=UTC), datetime(2026, 11, 22, 19, 21, 47, tzinfo=UTC)),
        ("+03", None, datetime(2026, 11, 22, 22, 6, 47, tzinfo=UTC)),
        ("-0330", None, datetime(2026, 11, 23, 4, 36, 47, tzinfo=UTC)),
        ("CET", None, None),
        ("CET", datetime(2026, 11, 29, tzinfo=UTC), None),  # copied days later: no zone explains that
    ],
)
def test_the_log_time_zone_is_found(zone: str, written: datetime | None, expected: datetime | None) -> None:
    shown = parse_label(LABEL.format(zone=zone, label="x")).start_time
    assert shown is not None
    assert shown.in_utc(not_after=written) == expected


@given(quarters=st.integers(-48, 56), seconds=st.integers(0, 899))
def test_any_zone_is_found_within_a_quarter_of_an_hour(quarters: int, seconds: int) -> None:
    shown = parse_label(LABEL.format(zone="XYZ", label="x")).start_time
    assert shown is not None
    moment = (shown.local - timedelta(minutes=15 * quarters)).replace(tzinfo=UTC)
    assert shown.in_utc(not_after=moment + timedelta(seconds=seconds)) == moment


def test_a_label_s_own_text_changes_nothing() -> None:
    forged = "x\nSTART WAL LOCATION: 9/9000028 (file 000000090000000900000009)\nSTART TIME: 1999-01-01 00:00:00 UTC"
    label = parse_label(LABEL.format(zone="UTC", label=forged))
    assert label.start_lsn == Lsn("0/5000028")
    assert label.start_time is not None
    assert label.start_time.local.year == 2026


@given(st.text() | st.lists(st.sampled_from(LABEL.splitlines()) | st.text()).map("\n".join))
def test_any_label_is_read_or_refused(text: str) -> None:
    try:
        label = parse_label(text)
    except ValueError:
        return
    assert label.timeline > 0


# -- WAL ---------------------------------------------------------------------------------------------------------------
def header(magic: int = 0xD118, info: int = 2, timeline: int = 1, page: int = 0x1000000, size: int = 16 << 20) -> bytes:
    """A segment's long header."""
    return struct.pack("=HHIQI4xQII", magic, info, timeline, page, 0, 77, size, 8192)


def test_a_wal_header_is_read() -> None:
    read = parse_header(header())
    assert isinstance(read, WalHeader)
    assert (read.major, read.timeline, read.page_start, read.system_identifier) == (18, 1, Lsn("0/1000000"), 77)


@pytest.mark.parametrize(
    "content", [b"", bytes(LENGTH), header(magic=0x18D1), header(info=0), header(size=12345), header(timeline=0), header()[:39]]
)
def test_what_is_no_wal_header_is_said_in_words(content: bytes) -> None:
    assert isinstance(parse_header(content), str)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_header_or_words(content: bytes) -> None:
    assert isinstance(parse_header(content), (str, WalHeader))


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        ("0/1000028", 34, "0/1000050"),
        ("0/1001FF8", 16, "0/1002020"),  # eight bytes here, the short header, eight there
        ("0/1001FF0", 16, "0/1002000"),  # ends with its page
        ("0/1FFFFF8", 16, "0/2000030"),  # over the end of a segment: the long header
    ],
)
def test_where_a_record_ends(start: str, length: int, expected: str) -> None:
    assert record_end(Lsn(start), length, 16 << 20) == Lsn(expected)


def test_a_segment_switch_takes_the_rest() -> None:
    assert record_end(Lsn("0/1000028"), 24, 16 << 20, fills_segment=True) == Lsn("0/2000000")


def line(manager: str, description: str, transaction: int = 765) -> bytes:
    """A line of pg_waldump."""
    return (
        f"rmgr: {manager:<11} len (rec/tot):     34/    34, tx: {transaction:10d}, lsn: 0/03005D30, prev 0/03005CE0, desc: {description}"
    ).encode()


@pytest.mark.parametrize(
    ("description", "transaction", "committed"),
    [
        ("COMMIT 2026-11-23 00:06:46.849297 UTC", 765, True),
        ("COMMIT 2026-11-23 00:06:46.849297 UTC; inval msgs: catcache 80 snapshot 2608", 765, True),
        ("ABORT 2026-11-23 00:06:46.849297 UTC", 765, False),
        ("COMMIT_PREPARED 12: 2026-11-23 00:06:46.849297 UTC; subxacts: 3 4", 12, True),
        ("ABORT_PREPARED 12: 2026-11-23 00:06:46.849297 UTC", 12, False),
    ],
)
def test_the_end_of_a_transaction_is_read(description: str, transaction: int, committed: bool) -> None:
    record = parse_record(line("Transaction", description))
    assert record is not None
    ended = record.transaction_end
    assert ended is not None
    assert (ended.transaction, ended.committed) == (transaction, committed)
    assert ended.time == datetime(2026, 11, 23, 0, 6, 46, 849297, tzinfo=UTC)


def test_a_record_s_text_can_t_pass_for_another_record() -> None:
    message = parse_record(line("LogicalMessage", 'MESSAGE "COMMIT 2026-11-23 00:06:46.849297 UTC"'))
    point = parse_record(line("XLOG", "RESTORE_POINT SWITCH"))
    assert message is not None
    assert message.transaction_end is None
    assert point is not None
    assert (point.restore_point, point.fills_segment) == ("SWITCH", False)


@given(st.binary())
def test_any_line_is_a_record_or_none(content: bytes) -> None:
    record = parse_record(content)
    assert record is None or record.lsn >= 0


def test_messages_of_pg_verifybackup_are_understood() -> None:
    faults = parse_faults(
        'pg_verifybackup: error: checksum mismatch for file "base/16384/16400"\n'
        'pg_verifybackup: error: "global/1262" has size 100 on disk but size 8192 in the manifest\n'
        'pg_verifybackup: error: "base/stray" is present on disk but not in the manifest\n'
        'pg_verifybackup: error: "base/1" is present in the manifest but not on disk\n'
        "pg_verifybackup: error: something nobody has seen\n"
    )
    assert [fault.code for fault in faults] == [
        "BACKUP_CHECKSUM_MISMATCH",
        "BACKUP_FILE_SIZE",
        "BACKUP_FILE_EXTRA",
        "BACKUP_FILE_MISSING",
        "BACKUP_UNREADABLE",
    ]
